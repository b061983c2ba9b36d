"""What a pattern of a rule stands for in one guest: homes, swap files, files of keys, links."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import takewhile

from convert.rules.globs import components, escaped, is_literal
from convert.select.fstab import MountKind, fstab_of
from formats.core.entry import Kind
from formats.core.tree import TreeIndex

_PASSWD = b"etc/passwd"
_PLACEHOLDER = re.compile(r"\{([a-z-]+)\}/?(.*)")
_KEY_FILES = (b"/authorized_keys", b"/authorized_keys2")
_KEY_FOLDER = b"/authorized_keys/"
_WHOLE_CONTENT = frozenset({b"*", b"**"})


class Places:
    """One guest's tree, asked what patterns mean in it."""

    def __init__(self, index: TreeIndex) -> None:
        self._index = index
        self._known: dict[str, tuple[bytes, ...]] = {}

    def expanded(self, pattern: str) -> Iterator[tuple[bytes, ...]]:
        """Yield the names of each pattern that a rule's ``pattern`` stands for."""
        match = _PLACEHOLDER.fullmatch(pattern)
        if match is None:
            yield self.followed(components(pattern))
            return
        rest = components(match[2]) if match[2] else ()
        for path in self._places(match[1]):
            yield self.followed((*escaped(path), *rest))

    def _places(self, name: str) -> tuple[bytes, ...]:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = tuple(sorted(set(_PLACEHOLDERS[name](self._index))))
        return known

    def followed(self, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return the pattern with links that lead to what it means followed, inside the tree.

        The folder whose whole content is meant (``/mnt/**``) must really be there: if it is a
        link, whatever it leads to has another name, and stays.
        """
        literal = len(tuple(takewhile(is_literal, names)))
        means_all = literal < len(names) and names[literal] in _WHOLE_CONTENT
        on_the_way = max(literal - 1, 0) if means_all or literal == len(names) else literal
        folder = self._index.resolve(b"/".join(names[:on_the_way]))
        if folder is None or folder.kind is not Kind.FOLDER:
            return names
        return (*escaped(folder.path), *names[on_the_way:])


def _homes(index: TreeIndex) -> Iterator[bytes]:
    """Yield the home of each user, passwd(5)."""
    for line in (index.content(_PASSWD) or b"").split(b"\n"):
        fields = line.split(b":")
        if len(fields) == 7 and fields[5].startswith(b"/"):
            home = index.resolve(fields[5])
            if home is not None and home.kind is Kind.FOLDER:
                yield home.path


def _swap_files(index: TreeIndex) -> Iterator[bytes]:
    """Yield the files that fstab swaps to; devices are none."""
    for line in fstab_of(index):
        if line.kind is MountKind.SWAP and line.spec.startswith(b"/"):
            entry = index.resolve(line.spec)
            if entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK}:
                yield entry.path


def _authorized_keys(index: TreeIndex) -> Iterator[bytes]:
    """Yield the files of keys that may log in, sshd(8), wherever they are."""
    for entry in index.entries():
        if entry.path.endswith(_KEY_FILES) or _KEY_FOLDER in entry.path:
            yield entry.path


_PLACEHOLDERS: dict[str, Callable[[TreeIndex], Iterator[bytes]]] = {
    "authorized-keys": _authorized_keys,
    "home": _homes,
    "swap-file": _swap_files,
}
