"""Taking out of a machine's tree what a container does not need, by the rules of a profile.

Nothing is dropped or changed without a finding. A finding stands for one path; what was dropped
below a folder is counted in the finding of the folder, and more than a few files of one folder that
one rule drops are counted in one finding of that folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from convert.options import Profile
from convert.rules.globs import PatternSet, State
from convert.rules.places import Places
from convert.rules.table import Rule, Verb, all_rules, rules_of
from convert.trees import Decision, FilteredTree, Replacement
from formats.core.entry import Entry, Kind
from formats.core.errors import UsageError, quoted
from formats.core.finding import Action, Finding
from formats.core.tree import Tree, TreeIndex

DROP_OPTION = "drop"
"""What findings call the patterns of ``--drop``."""

_FINDINGS_OF_A_FOLDER = 16
"""More paths of one folder than this, that one rule treats alike, have one finding together."""

_ACTIONS = {
    Verb.DROP: Action.DROPPED,
    Verb.DROP_FILES: Action.DROPPED,
    Verb.DROP_LINKS: Action.DROPPED,
    Verb.EMPTY: Action.EMPTIED,
    Verb.REPLACE: Action.CHANGED,
    Verb.REMOVE_LINES: Action.CHANGED,
}
_FILES = frozenset({Kind.FILE, Kind.HARDLINK})
_APPLIES_TO: dict[Verb, frozenset[Kind]] = {
    Verb.DROP: frozenset(Kind),
    Verb.DROP_FILES: frozenset(Kind),
    Verb.DROP_LINKS: frozenset({Kind.SYMLINK}),
    Verb.EMPTY: _FILES | {Kind.FOLDER},
    Verb.REPLACE: _FILES | {Kind.SYMLINK},
    Verb.REMOVE_LINES: _FILES,
}
"""To a folder, ``drop-files`` and ``empty`` do nothing; what they do below it is told there."""
_NEW_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Normalised:
    """A tree without what the rules take out, and what that was."""

    tree: Tree
    findings: tuple[Finding, ...]


def normalise(
    index: TreeIndex, *, profile: Profile, keep: Sequence[str] = (), drop: Sequence[str] = ()
) -> Normalised:
    """Apply the rules of a profile to a tree.

    :param keep: ids of rules that are not applied.
    :param drop: further patterns to drop, see :mod:`convert.rules.globs`; they come first.
    :raises UsageError: for an unknown rule, or a pattern that is none.
    """
    _check_keep(keep)
    rules = [rule for rule in rules_of(profile) if rule.id not in keep]
    run = _Run(index, rules, drop)
    tree = FilteredTree(index.tree, run.decide)
    findings = tuple(run.findings())
    return Normalised(tree if run.has_effect else index.tree, findings)


def _check_keep(keep: Iterable[str]) -> None:
    known = [rule.id for rule in all_rules()]
    for rule in keep:
        if rule not in known:
            raise UsageError(f"there is no rule '{rule}'", hint=f"rules: {', '.join(known)}")


class _Treatment(NamedTuple):
    """What a pattern asks for; the lowest rank that applies to a path is done."""

    rank: int
    rule: str
    why: str
    verb: Verb
    content: bytes = b""
    starting: tuple[bytes, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What is told of one path, and of those below it that were treated like it.

    :ivar is_own: whether the path itself was treated.
    """

    path: bytes
    treatment: _Treatment
    is_own: bool
    paths: int = 0
    content_bytes: int = 0


@dataclass(slots=True)
class _Below:
    """What holds for the paths in one folder."""

    state: State[_Treatment]
    dropped: _Treatment | None = None
    """The folder itself is dropped by this, and so is all that is in it."""
    tally: _Tally | None = None


@dataclass(slots=True)
class _Run:
    """One pass over a tree."""

    index: TreeIndex
    rules: Sequence[Rule]
    drop: Sequence[str]
    has_effect: bool = False
    _folders: dict[bytes, _Below] = field(default_factory=dict)
    """Only those in which a pattern can match."""
    _tallies: list[_Tally] = field(default_factory=list)
    _patterns: PatternSet[_Treatment] = field(default_factory=PatternSet)
    _unused: dict[str, None] = field(default_factory=dict)
    """Patterns of ``drop`` that have matched nothing yet."""

    def __post_init__(self) -> None:
        places = Places(self.index)
        for rank, (pattern, treatment) in enumerate(self._treatments()):
            ranked = treatment._replace(rank=rank)
            for names in places.expanded(pattern):
                self._patterns.add(names, ranked)
        self._unused = dict.fromkeys(self.drop)
        self._folders[b""] = _Below(self._patterns.start())

    def _treatments(self) -> Iterator[tuple[str, _Treatment]]:
        for pattern in self.drop:
            yield pattern, _Treatment(0, DROP_OPTION, pattern, Verb.DROP)
        for rule in self.rules:
            for verb, pattern in rule.plain_patterns():
                yield pattern, _Treatment(0, rule.id, rule.why, verb)
            for item in rule.replace:
                content = item.content.lstrip("\n").encode()
                yield item.path, _Treatment(0, rule.id, rule.why, Verb.REPLACE, content)
            for lines in rule.remove_lines:
                words = tuple(word.encode() for word in lines.starting)
                for pattern in lines.paths:
                    treatment = _Treatment(0, rule.id, rule.why, Verb.REMOVE_LINES)
                    yield pattern, treatment._replace(starting=words)

    def decide(self, entry: Entry) -> Decision:
        """Decide about one path; its folder was decided about before."""
        folder, _, name = entry.path.rpartition(b"/")
        around = self._folders.get(folder)
        if around is None or not name:
            return entry
        treatment = around.dropped or self._treatment(around.state, name, entry)
        if entry.kind is Kind.FOLDER:
            return self._decide_folder(entry, around, name, treatment)
        if treatment is None:
            return entry
        decision = self._treated(entry, treatment)
        if decision is not entry:
            self._tell(entry, around, treatment)
        return decision

    def _treatment(self, state: State[_Treatment], name: bytes, entry: Entry) -> _Treatment | None:
        found = self._patterns.values(state, name)
        applying = (item for item in found if entry.kind in _APPLIES_TO[item.verb])
        return min(applying, default=None)

    def _decide_folder(
        self, entry: Entry, around: _Below, name: bytes, treatment: _Treatment | None
    ) -> Entry | None:
        state = self._patterns.step(around.state, name)
        if treatment is None:
            if state:
                self._folders[entry.path] = _Below(state)
            return entry
        if treatment.verb is Verb.DROP:
            told = self._tell(entry, around, treatment)
            self._folders[entry.path] = _Below(state, treatment, told)
            return None
        tally = around.tally
        if tally is None or _likeness(tally.treatment) != _likeness(treatment):
            tally = _Tally(entry.path, treatment, is_own=False)
            self._tallies.append(tally)
        self._folders[entry.path] = _Below(state, tally=tally)
        return entry

    def _treated(self, entry: Entry, treatment: _Treatment) -> Decision:
        verb = treatment.verb
        if verb is Verb.EMPTY:
            return Replacement(entry) if entry.size else entry
        if verb is Verb.REPLACE:
            return self._replaced(entry, treatment.content)
        if verb is Verb.REMOVE_LINES:
            return self._replaced(entry, _without_lines(self._content(entry), treatment.starting))
        return None

    def _replaced(self, entry: Entry, content: bytes) -> Decision:
        if entry.kind is Kind.SYMLINK:
            file = replace(entry, kind=Kind.FILE, mode=_NEW_FILE_MODE, target=None)
            return Replacement(file, content)
        is_same = entry.size == len(content) and self._content(entry) == content
        return entry if is_same else Replacement(entry, content)

    def _content(self, entry: Entry) -> bytes:
        return self.index.content(entry.path) or b""

    def _tell(self, entry: Entry, around: _Below, treatment: _Treatment) -> _Tally:
        """Count a path that was treated, with its folder if that was treated alike."""
        self.has_effect = True
        if treatment.rule == DROP_OPTION:
            self._unused.pop(treatment.why, None)
        tally = around.tally
        if tally is None or _likeness(tally.treatment) != _likeness(treatment):
            tally = _Tally(entry.path, treatment, is_own=True)
            self._tallies.append(tally)
        else:
            tally.paths += 1
        tally.content_bytes += entry.size if entry.kind is Kind.FILE else 0
        return tally

    def findings(self) -> Iterator[Finding]:
        """Yield what was done, in the order of the tree, and what was asked for in vain."""
        groups: dict[tuple[bytes, tuple[str, Action, str]], list[_Tally]] = {}
        for tally in self._tallies:
            if tally.is_own or tally.paths:
                folder = tally.path.rpartition(b"/")[0]
                groups.setdefault((folder, _likeness(tally.treatment)), []).append(tally)
        for (folder, _), alike in groups.items():
            if folder and len(alike) > _FINDINGS_OF_A_FOLDER:
                yield _together(folder, alike)
            else:
                yield from map(_finding, alike)
        for pattern in self._unused:
            yield Finding(DROP_OPTION, b"", Action.REPORTED, f"{pattern} matches no path")


def _likeness(treatment: _Treatment) -> tuple[str, Action, str]:
    return treatment.rule, _ACTIONS[treatment.verb], treatment.why


def _finding(tally: _Tally) -> Finding:
    treatment = tally.treatment
    evidence = treatment.why
    if tally.paths:
        evidence += f"; {_amount(tally.paths, tally.content_bytes)} below it"
        evidence += "" if tally.is_own else ", the folders stay"
    return Finding(treatment.rule, tally.path, _ACTIONS[treatment.verb], evidence)


def _together(folder: bytes, alike: Sequence[_Tally]) -> Finding:
    treatment = alike[0].treatment
    paths = sum(tally.paths + tally.is_own for tally in alike)
    size = sum(tally.content_bytes for tally in alike)
    first = quoted(alike[0].path.rpartition(b"/")[2])
    evidence = f"{treatment.why}; {_amount(paths, size)} in it, {first} is the first"
    return Finding(treatment.rule, folder, _ACTIONS[treatment.verb], evidence)


def _amount(paths: int, content_bytes: int) -> str:
    return f"{_counted(paths, 'path')} with {_counted(content_bytes, 'byte')}"


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _without_lines(content: bytes, starting: tuple[bytes, ...]) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.lstrip().startswith(starting))
