"""Taking out of a machine's tree what a container does not need, by the rules of a profile.

Nothing is dropped or changed without a finding; :mod:`convert.rules.ledger` says which paths have
one together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from convert.options import Profile
from convert.rules.globs import PatternSet, State, components
from convert.rules.ledger import Deed, Ledger, Treated
from convert.rules.places import Places
from convert.rules.stopped import SYSTEMD, Additions, reported, start_links
from convert.rules.table import Rule, Verb, all_rules, rules_of
from convert.secrets.kinds import secret_rules
from convert.trees import Decision, FilteredTree, Replacement
from formats.core.entry import Entry, Kind
from formats.core.errors import UsageError
from formats.core.finding import Action, Finding
from formats.core.tree import Tree, TreeIndex

DROP_OPTION = "drop"
"""What findings call the patterns of ``--drop``."""

_ACTIONS = {
    Verb.DROP: Action.DROPPED,
    Verb.DROP_FILES: Action.DROPPED,
    Verb.DROP_LINKS: Action.DROPPED,
    Verb.EMPTY: Action.EMPTIED,
    Verb.REPLACE: Action.CHANGED,
    Verb.REMOVE_LINES: Action.CHANGED,
}
_FILES = (Kind.FILE, Kind.HARDLINK)
_APPLIES_TO: dict[Verb, tuple[Kind, ...]] = {
    Verb.DROP: tuple(Kind),
    Verb.DROP_FILES: tuple(Kind),
    Verb.DROP_LINKS: (Kind.SYMLINK,),
    Verb.EMPTY: (*_FILES, Kind.FOLDER),
    Verb.REPLACE: (*_FILES, Kind.SYMLINK),
    Verb.REMOVE_LINES: _FILES,
}
"""To a folder, ``drop-files`` and ``empty`` do nothing; what they do below it is told there."""
_NEW_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Normalised:
    """A tree without what the rules take out, and what that was.

    :ivar treated: every path that was dropped or changed; a finding may stand for many.
    :ivar notes: what was noticed, and left as it is.
    """

    tree: Tree
    findings: tuple[Finding, ...]
    treated: tuple[Treated, ...] = ()
    notes: tuple[Finding, ...] = ()


def normalise(
    index: TreeIndex,
    *,
    profile: Profile,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    mount_points: Sequence[bytes] = (),
    init: str | None = None,
) -> Normalised:
    """Apply the rules of a profile to a tree.

    :param keep: ids of rules that are not applied.
    :param drop: further patterns to drop, see :mod:`convert.rules.globs`; they come first.
    :param mount_points: folders that are volumes of their own.
    :param init: the init system that starts in the container; None where none does.
    :raises UsageError: for an unknown rule, or a pattern that is none.
    """
    _check_keep(keep)
    rules = [rule for rule in rules_of(profile) if rule.id not in keep]
    if init is None:
        rules = [rule for rule in rules if not rule.with_init]
    run = _Run(index, rules, drop, mount_points, with_init=init is not None)
    tree: Tree = FilteredTree(index.tree, run.decide)
    if not run.ledger:
        tree = index.tree
    findings = tuple(run.findings())
    treated = tuple(run.ledger.treated)
    if init is None:
        return Normalised(tree, findings, treated, tuple(reported(index, rules)))
    additions = _additions(index, tree, rules, init)
    return Normalised(
        additions.tree(),
        (*findings, *additions.findings()),
        (*treated, *additions.treated),
    )


def _additions(index: TreeIndex, tree: Tree, rules: Sequence[Rule], init: str) -> Additions:
    """Return what keeps an init system that stays from what it has no use for."""
    additions = Additions(index, tree)
    for rule in rules:
        if init == SYSTEMD:
            additions.mask(rule)
        for file in rule.create:
            additions.create(rule, file)
    return additions


def _check_keep(keep: Iterable[str]) -> None:
    known = [rule.id for rule in all_rules()]
    for rule in keep:
        if rule not in known and rule not in secret_rules():
            raise UsageError(
                f"there is no rule '{rule}'",
                hint=f"rules: {', '.join(known)}; and secret-KIND, as findings have it",
            )


class _Treatment(NamedTuple):
    """What a pattern asks for; the lowest rank that applies to a path is done."""

    rank: int
    verb: Verb
    kinds: tuple[Kind, ...]
    deed: Deed
    content: bytes = b""
    starting: tuple[bytes, ...] = ()
    containing: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Below:
    """What holds for the paths in one folder.

    :ivar state: which patterns can still match.
    :ivar dropped: the folder itself is dropped by this, and so is all that is in it.
    :ivar top: the folder that is told of what this deed does here; None where each path is.
    """

    state: State[_Treatment] | None
    dropped: _Treatment | None = None
    deed: Deed | None = None
    top: bytes = b""


class _Run:
    """One pass over a tree."""

    def __init__(
        self,
        index: TreeIndex,
        rules: Sequence[Rule],
        drop: Sequence[str],
        mount_points: Sequence[bytes],
        *,
        with_init: bool,
    ) -> None:
        self._index = index
        self._spared = {
            (rule.id, point)
            for rule in rules
            for folder in rule.spare_mounts_below
            for point in mount_points
            if point.startswith(folder.strip("/").encode() + b"/")
        }
        self._folders: dict[bytes, _Below] = {}
        """Only those in which something can happen."""
        self._unused = dict.fromkeys(drop)
        """Patterns of ``--drop`` that have matched nothing yet."""
        self.ledger = Ledger()
        places = Places(index)
        patterns: PatternSet[_Treatment] = PatternSet()
        for pattern in drop:
            treatment = _treatment(Verb.DROP, DROP_OPTION, pattern)
            patterns.add(places.followed(components(pattern)), treatment)
        for rank, (pattern, treatment) in enumerate(
            _treatments(rules, with_init=with_init), start=1
        ):
            for names in places.expanded(pattern):
                patterns.add(names, treatment._replace(rank=rank))
        start = patterns.start()
        if start is not None:
            self._folders[b""] = _Below(start)

    def decide(self, entry: Entry) -> Decision:
        """Decide about one path; its folder was decided about before."""
        folder, _, name = entry.path.rpartition(b"/")
        around = self._folders.get(folder)
        if around is None or not name:
            return entry
        treatment = around.dropped or _lowest(around.state, name, entry.kind)
        if entry.kind is Kind.FOLDER:
            return self._decide_folder(entry, around, name, treatment)
        if treatment is None:
            return entry
        decision = self._treated(entry, treatment)
        if decision is not entry:
            self._record(entry, around, treatment)
        return decision

    def _decide_folder(
        self, entry: Entry, around: _Below, name: bytes, treatment: _Treatment | None
    ) -> Entry | None:
        state = around.state.step(name) if around.state is not None else None
        if treatment is None or (treatment.deed.rule, entry.path) in self._spared:
            if state is not None:
                self._folders[entry.path] = _Below(state)
            return entry
        top = around.top if around.deed == treatment.deed else entry.path
        is_dropped = treatment.verb is Verb.DROP
        dropped = treatment if is_dropped else None
        self._folders[entry.path] = _Below(state, dropped, treatment.deed, top)
        if not is_dropped:
            return entry
        self._record(entry, around, treatment)
        return None

    def _treated(self, entry: Entry, treatment: _Treatment) -> Decision:
        verb = treatment.verb
        if verb is Verb.EMPTY:
            return Replacement(entry) if entry.size else entry
        if verb is Verb.REPLACE:
            return self._replaced(entry, treatment.content)
        if verb is Verb.REMOVE_LINES:
            return self._replaced(entry, _without_lines(self._content(entry), treatment))
        return None

    def _replaced(self, entry: Entry, content: bytes) -> Decision:
        if entry.kind is Kind.SYMLINK:
            file = replace(entry, kind=Kind.FILE, mode=_NEW_FILE_MODE, target=None)
            return Replacement(file, content)
        is_same = entry.size == len(content) and self._content(entry) == content
        return entry if is_same else Replacement(entry, content)

    def _content(self, entry: Entry) -> bytes:
        return self._index.content(entry.path) or b""

    def _record(self, entry: Entry, around: _Below, treatment: _Treatment) -> None:
        deed = treatment.deed
        if deed.rule == DROP_OPTION:
            self._unused.pop(deed.why, None)
        self.ledger.record(entry, deed, around.top if around.deed == deed else entry.path)

    def findings(self) -> Iterator[Finding]:
        """Yield what was done, in the order of the tree, and what was asked for in vain."""
        yield from self.ledger.findings()
        for pattern in self._unused:
            yield Finding(
                DROP_OPTION, b"", Action.REPORTED, f"{pattern} matches nothing that is left to drop"
            )


def _treatments(rules: Sequence[Rule], *, with_init: bool) -> Iterator[tuple[str, _Treatment]]:
    """Yield each pattern and what it asks for, in the order that counts."""
    for rule in rules:
        for pattern in start_links(rule) if with_init else ():
            yield pattern, _treatment(Verb.DROP_LINKS, rule.id, rule.why)
        for verb, pattern in rule.plain_patterns():
            yield pattern, _treatment(verb, rule.id, rule.why)
        for item in rule.replace:
            content = item.content.lstrip("\n").encode()
            yield item.path, _treatment(Verb.REPLACE, rule.id, rule.why)._replace(content=content)
        for lines in rule.remove_lines:
            treatment = _treatment(Verb.REMOVE_LINES, rule.id, rule.why)._replace(
                starting=tuple(word.encode() for word in lines.starting),
                containing=tuple(word.encode() for word in lines.containing),
            )
            for pattern in lines.paths:
                yield pattern, treatment


def _treatment(verb: Verb, rule: str, why: str) -> _Treatment:
    return _Treatment(0, verb, _APPLIES_TO[verb], Deed(rule, _ACTIONS[verb], why))


def _lowest(state: State[_Treatment] | None, name: bytes, kind: Kind) -> _Treatment | None:
    """Return what is done to a path, of all that patterns ask for."""
    best: _Treatment | None = None
    for treatment in state.values(name) if state is not None else ():
        is_better = best is None or treatment.rank < best.rank
        if is_better and kind in treatment.kinds:
            best = treatment
    return best


def _without_lines(content: bytes, treatment: _Treatment) -> bytes:
    """Return a content without the lines that a rule does not want; comments tell nothing."""

    def is_unwanted(line: bytes) -> bool:
        return line.startswith(treatment.starting) or (
            not line.startswith(b"#") and any(word in line for word in treatment.containing)
        )

    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if not is_unwanted(line.lstrip()))
