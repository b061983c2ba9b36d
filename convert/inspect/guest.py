"""The guest's files as inspection reads them: small texts and patterns, within a budget.

A guest must not stop its own conversion: no file is so large, and no folder so full, that reading
what it says of itself takes long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from formats.core.entry import Entry, Kind, join
from formats.core.finding import Action, Finding
from formats.core.limits import MIB
from formats.core.tree import TreeIndex

NOT_READ = "text-not-read"
NAMES_NOT_READ = "names-not-read"

TEXT_MAX_BYTES = MIB
"""Of one file; no configuration is ever near it."""

_TEXTS_MAX_BYTES = 8 * MIB
_NAMES_MAX = 500_000
"""Of all files, and of all names looked at for patterns; a large server needs a tenth."""


class Guest:
    """A tree whose files are read as text, with line numbers, whatever their bytes are.

    :param not_read: the rule of findings about files that are not read.
    :ivar index: for everything else.
    :ivar findings: files that were not read because they are too large.
    """

    def __init__(self, index: TreeIndex, not_read: str = NOT_READ) -> None:
        self.index = index
        self._not_read = not_read
        self.findings: list[Finding] = []
        self._bytes_left = _TEXTS_MAX_BYTES
        self._names_left = _NAMES_MAX

    def text(self, path: bytes) -> str | None:
        """Return a file as text; bytes that are not UTF-8 become lone surrogates (PEP 383).

        None where there is no such file, or where it is not read.
        """
        entry = self.index.resolve(path)
        if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
            return None
        if entry.size > min(TEXT_MAX_BYTES, self._bytes_left):
            reason = f"{entry.size:,} bytes are too many for what it says to be read"
            self.findings.append(Finding(self._not_read, entry.path, Action.REPORTED, reason))
            return None
        self._bytes_left -= entry.size
        content = self.index.content(entry.path, TEXT_MAX_BYTES) or b""
        return content.decode("utf-8", "surrogateescape")

    def lines(self, path: bytes) -> Iterator[tuple[int, str]]:
        """Yield (number, line) of a file, counted from 1; nothing if there is no such file."""
        text = self.text(path)
        if text is not None:
            yield from enumerate(text.split("\n"), start=1)

    def children(self, path: bytes) -> list[Entry]:
        """Return what is in the folder that ``path`` resolves to, sorted; empty if none."""
        if self._names_left < 0:
            return []
        found = self.index.children(path)
        self._names_left -= len(found)
        if self._names_left < 0:
            reason = "looking for services ended here, after too many names"
            self.findings.append(Finding(NAMES_NOT_READ, path, Action.REPORTED, reason))
        return found

    def glob(self, pattern: bytes) -> Iterator[Entry]:
        """Yield the entries whose path matches, sorted; ``*``, ``?``, ``[]`` in any component.

        Links to folders are followed on the way, as a shell in the guest would; the yielded path
        may therefore be another spelling of the pattern.
        """
        *components, last = [part for part in pattern.split(b"/") if part] or [b""]
        folders = [b""]
        for component in components:
            found = (self.index.resolve(child.path) for child in self._matching(folders, component))
            folders = list(dict.fromkeys(entry.path for entry in found if entry is not None))
        yield from self._matching(folders, last)

    def _matching(self, folders: list[bytes], pattern: bytes) -> Iterator[Entry]:
        """Yield the children that match of folders, which are given by their real paths."""
        is_plain = not re.search(rb"[*?\[]", pattern)
        for folder in folders:
            if is_plain:
                found = self.index.get(join(folder, pattern))
                if found is not None:
                    yield found
                continue
            for child in self.children(folder):
                if fnmatchcase(child.name.decode("latin-1"), pattern.decode("latin-1")):
                    yield child
