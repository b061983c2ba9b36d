"""Looking for secrets in a tree: one pass over its names, and over the files that can hold one.

What is found is told by path, line and kind. Values are only handed on to be masked wherever else
they would show up, see :mod:`convert.secrets.masking`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convert.secrets.candidates import Candidate, NamePatterns, candidates
from convert.secrets.kinds import SecretKind, all_kinds, expression, text_files
from formats.core.entry import Entry
from formats.core.finding import Action, Finding
from formats.core.limits import KIB, MIB
from formats.core.tree import Tree, first_bytes

NOT_LOOKED_RULE = "secrets-not-looked-for"

_HEAD_BYTES = MIB
"""Of a file that a kind names; what is said of a longer one is said of its beginning."""

_BINARY_BYTES = KIB
"""A NUL in so many bytes makes a file binary, as diff(1) has it."""

_LINES_MAX = 8
"""Findings of one kind in one file."""

_FINDINGS_MAX = 1_000
_VALUES_MAX = 2_000


class _Hit(NamedTuple):
    """A secret in a file.

    :ivar offset: of its kind's pattern; None where the whole file is one.
    """

    kind: SecretKind
    offset: int | None
    values: tuple[bytes, ...] = ()


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
    look = _Look(kinds)
    tree.will_read([candidate.entry for candidate in chosen.files])
    findings: list[Finding] = []
    values: set[str] = set()
    untold = 0
    for candidate in chosen.files:
        content = first_bytes(tree, candidate.entry, _HEAD_BYTES)
        hits = sorted(look.into(candidate, content), key=lambda hit: hit.offset or 0)
        if len(values) < _VALUES_MAX:
            values.update(value.decode("utf-8", "replace") for hit in hits for value in hit.values)
        told = list(_findings(candidate.entry, content, hits))
        untold += max(0, len(findings) + len(told) - _FINDINGS_MAX)
        findings += told[: max(0, _FINDINGS_MAX - len(findings))]
    findings += _not_told(chosen.left_out, untold)
    return Found(tuple(findings), frozenset(values))


class _Look:
    """What is looked for, by the names of files and in all of them."""

    def __init__(self, kinds: Sequence[SecretKind]) -> None:
        self._everywhere = [kind for kind in kinds if kind.everywhere]
        self._among = NamePatterns((pattern, kind) for kind in kinds for pattern in kind.among)
        self._order = {kind.id: number for number, kind in enumerate(kinds)}

    def into(self, candidate: Candidate, content: bytes) -> Iterator[_Hit]:
        """Yield the secrets of a file; of several at one place, that of the first kind."""
        if b"\0" in content[:_BINARY_BYTES]:
            yield from _of_binary(candidate.kinds, content)
            return
        folder, _, name = candidate.entry.path.rpartition(b"/")
        named = (
            *candidate.kinds,
            *self._among.of_name(folder, name),
            *self._among.of_folder(folder),
        )
        kinds = {kind.id: kind for kind in (*named, *self._everywhere)}
        taken: list[tuple[int, int]] = []
        for kind in sorted(kinds.values(), key=lambda item: self._order[item.id]):
            for start, end, hit in _of_text(kind, content):
                if not any(start < other_end and other < end for other, other_end in taken):
                    taken.append((start, end))
                    yield hit


def _of_binary(kinds: Sequence[SecretKind], content: bytes) -> Iterator[_Hit]:
    for kind in kinds:
        pattern = expression(kind.id) if kind.pattern is None else None
        if kind.pattern is None and (pattern is None or pattern.match(content)):
            yield _Hit(kind, None)
            return


def _of_text(kind: SecretKind, content: bytes) -> Iterator[tuple[int, int, _Hit]]:
    """Yield the secrets of one kind, with the bytes that each takes."""
    pattern = expression(kind.id)
    if pattern is None:
        yield 0, len(content), _Hit(kind, None)
        return
    if kind.hints and not any(hint.encode() in content for hint in kind.hints):
        return
    for match in pattern.finditer(content):
        values = tuple(value for value in match.groupdict().values() if value)
        if kind.not_values and _is_no_secret(kind, match, values):
            continue
        offset = match.start() if kind.pattern is not None else None
        yield match.start(), match.end(), _Hit(kind, offset, values)


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
            line = None if hit.offset is None else content.count(b"\n", 0, hit.offset) + 1
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
