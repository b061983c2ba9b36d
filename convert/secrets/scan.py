"""Looking for secrets in a tree: one pass over its names, and over the files that can hold one.

What is found is told by path, line and kind. Values are only handed on to be masked wherever else
they would show up, see :mod:`convert.secrets.masking`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from convert.secrets.candidates import HEAD_BYTES, Candidate, NamePatterns, candidates
from convert.secrets.kinds import Look, SecretKind, all_kinds, all_looks, any_of, text_files
from formats.core.entry import Entry
from formats.core.finding import Action, Finding
from formats.core.limits import KIB
from formats.core.tree import Tree, first_bytes

NOT_LOOKED_RULE = "secrets-not-looked-for"

_BINARY_BYTES = KIB
"""A NUL in so many bytes makes a file binary, as diff(1) has it."""

_LINES_MAX = 8
"""Findings of one kind in one file."""

_FINDINGS_MAX = 1_000
_VALUES_MAX = 2_000


class _Hit(NamedTuple):
    """A secret in a file, and the bytes it takes.

    :ivar is_whole: the file is one, and no line of it.
    """

    start: int
    end: int
    kind: SecretKind
    values: tuple[bytes, ...] = ()
    is_whole: bool = False


_START = attrgetter("start")


@dataclass(frozen=True, slots=True)
class Found:
    """The secrets of a tree.

    :ivar findings: one for each place, in the order of the tree, without any value.
    :ivar values: what must not be shown; never to be printed or written.
    """

    findings: tuple[Finding, ...] = ()
    values: frozenset[str] = frozenset()


def find_secrets(tree: Tree, accepted: Sequence[str] = ()) -> Found:
    """Return the secrets of a tree.

    :param accepted: rules of kinds that are not looked for.
    :raises formats.core.errors.CorruptError: where a file cannot be read.
    """
    kinds = [kind for kind in all_kinds() if kind.rule not in accepted]
    chosen = candidates(tree.entries(), kinds, text_files())
    search = _Search(kinds)
    tree.will_read([candidate.entry for candidate in chosen.files])
    findings: list[Finding] = []
    values: set[str] = set()
    untold = 0
    for candidate in chosen.files:
        content = first_bytes(tree, candidate.entry, HEAD_BYTES)
        hits = search.into(candidate, content)
        if len(values) < _VALUES_MAX:
            values.update(value.decode("utf-8", "replace") for hit in hits for value in hit.values)
        told = list(_findings(candidate.entry, content, hits))
        untold += max(0, len(findings) + len(told) - _FINDINGS_MAX)
        findings += told[: max(0, _FINDINGS_MAX - len(findings))]
    findings += _not_told(chosen.left_out, untold)
    return Found(tuple(findings), frozenset(values))


class _Search:
    """What is looked for, by the names of files and in all of them."""

    def __init__(self, kinds: Sequence[SecretKind]) -> None:
        wanted = {kind.id for kind in kinds}
        self._looks = {look.kind.id: look for look in all_looks() if look.kind.id in wanted}
        self._everywhere = [look for look in self._looks.values() if look.kind.everywhere]
        self._hint = any_of(hint for look in self._everywhere for hint in look.kind.hints)
        self._among = NamePatterns((pattern, kind) for kind in kinds for pattern in kind.among)

    def into(self, candidate: Candidate, content: bytes) -> Sequence[_Hit]:
        """Return the secrets of a file in their order; of several at one place, the first."""
        if b"\0" in content[:_BINARY_BYTES]:
            return _of_binary([self._looks[kind.id] for kind in candidate.kinds], content)
        folder, _, name = candidate.entry.path.rpartition(b"/")
        among = (*self._among.of_name(folder, name), *self._among.of_folder(folder))
        hits: list[_Hit] = []
        for look in self._asked_for((*candidate.kinds, *among), content):
            before = sorted(hits, key=_START)
            hits += (hit for hit in _of_text(look, content) if not _overlaps(hit, before))
        return sorted(hits, key=_START)

    def _asked_for(self, named: Sequence[SecretKind], content: bytes) -> Iterable[Look]:
        """Return what to look for: what the name asks for, and what counts in all files."""
        is_hinted = self._hint.search(content) is not None
        if not named:
            return self._everywhere if is_hinted else ()
        ids = {kind.id for kind in named}
        return [
            look
            for look in self._looks.values()
            if look.kind.id in ids or (is_hinted and look.kind.everywhere)
        ]


def _overlaps(hit: _Hit, others: Sequence[_Hit]) -> bool:
    """Tell whether a hit takes bytes that one of others takes, which are sorted and apart."""
    after = bisect_left(others, hit.end, key=_START)
    return after > 0 and others[after - 1].end > hit.start


def _of_binary(looks: Sequence[Look], content: bytes) -> list[_Hit]:
    for look in looks:
        is_whole = look.kind.pattern is None
        if is_whole and (look.pattern is None or look.pattern.match(content)):
            return [_Hit(0, len(content), look.kind, is_whole=True)]
    return []


def _of_text(look: Look, content: bytes) -> Iterator[_Hit]:
    """Yield the secrets of one kind, with the bytes that each takes."""
    if look.hint is not None:
        text = content.lower() if look.any_case else content
        if look.hint.search(text) is None:
            return
    if look.pattern is None:
        yield _Hit(0, len(content), look.kind, is_whole=True)
        return
    for match in look.pattern.finditer(content):
        values = tuple(value for value in match.groupdict().values() if value)
        if not (look.kind.not_values and _is_no_secret(look.kind, match, values)):
            is_whole = look.kind.pattern is None
            yield _Hit(match.start(), match.end(), look.kind, values, is_whole=is_whole)


def _is_no_secret(kind: SecretKind, match: re.Match[bytes], values: Sequence[bytes]) -> bool:
    """Tell whether a setting only looks like one: a comment, or a word that says how or whether."""
    line = match.string[match.string.rfind(b"\n", 0, match.start()) + 1 : match.start()]
    if line.lstrip().startswith((b"#", b";", b"//")):
        return True
    return all(value.decode("utf-8", "replace").lower() in kind.not_values for value in values)


def _findings(entry: Entry, content: bytes, hits: Sequence[_Hit]) -> Iterator[Finding]:
    """Yield what is told of a file: the first places of each kind, and how many more there are."""
    places: dict[str, list[_Hit]] = {}
    for hit in hits:
        places.setdefault(hit.kind.id, []).append(hit)
    for same in places.values():
        shown = same[:_LINES_MAX]
        for number, hit in enumerate(shown, start=1):
            line = None if hit.is_whole else content.count(b"\n", 0, hit.start) + 1
            evidence = hit.kind.evidence
            if number == len(shown) < len(same):
                evidence += f"; {len(same) - number:,} more of them follow"
            yield Finding(hit.kind.rule, entry.path, Action.REPORTED, evidence, line)


def _not_told(left_out: int, untold: int) -> Iterator[Finding]:
    if left_out:
        evidence = f"{left_out:,} files were too many to be looked into"
        yield Finding(NOT_LOOKED_RULE, b"", Action.REPORTED, evidence)
    if untold:
        evidence = f"{untold:,} more secrets were found than are listed"
        yield Finding(NOT_LOOKED_RULE, b"", Action.REPORTED, evidence)
