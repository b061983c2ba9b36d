"""Small trees in memory, from entries or from a text that reads like ``ls -l``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from formats.core.entry import Entry, Kind
from formats.core.origin import Origin
from formats.core.source import BytesLike
from formats.core.tree import TreeInfo, walk_order

_KINDS = {
    "d": Kind.FOLDER,
    "f": Kind.FILE,
    "l": Kind.SYMLINK,
    "h": Kind.HARDLINK,
    "c": Kind.CHARACTER_DEVICE,
    "b": Kind.BLOCK_DEVICE,
    "p": Kind.FIFO,
    "s": Kind.SOCKET,
}


class MemoryTree:
    """A tree whose content is in memory, and which records what it was asked.

    :param entries: in the order of :class:`~formats.core.tree.Tree`; the root is made if missing.
    :param contents: bytes of each file, by path; a missing one is empty.
    :param chunk_bytes: the pieces in which content is given.
    :ivar announced: each batch of :meth:`will_read`, as paths.
    :ivar was_read: the paths that were read, in order.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        contents: Mapping[bytes, bytes] | None = None,
        *,
        chunk_bytes: int = 1 << 16,
        name: str = "memory",
    ) -> None:
        has_root = bool(entries) and not entries[0].path
        root = [] if has_root else [Entry(b"", Kind.FOLDER, 0o755)]
        self._entries = [*root, *entries]
        self._contents = dict(contents or {})
        self._chunk_bytes = chunk_bytes
        self.origin = Origin((name,))
        self.info = TreeInfo("memory")
        self.announced: list[list[bytes]] = []
        self.was_read: list[bytes] = []

    def entries(self) -> Iterator[Entry]:
        return iter(self._entries)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        path = entry.path
        if entry.kind is Kind.HARDLINK and entry.target is not None:
            path = entry.target
        self.was_read.append(path)
        content = memoryview(self._contents.get(path, b""))
        for start in range(0, len(content), self._chunk_bytes):
            yield content[start : start + self._chunk_bytes]

    def will_read(self, entries: Sequence[Entry]) -> None:
        self.announced.append([entry.path for entry in entries])


def memory_tree(text: str, *, chunk_bytes: int = 1 << 16) -> MemoryTree:
    r"""Return the tree that ``text`` describes, a line for each path, in any order.

    ::

        d 755 0:0 etc
        f 644 0:0 etc/hostname  vm1\n        content, with Python's escapes
        f 644 0:0 etc/big       *70000       so many bytes that are not all the same
        l 777 0:0 bin           usr/bin
        h etc/name              etc/hostname    metadata is the target's
        c 666 0:0 dev/null      1:3
        p 644 0:0 run/pipe
        s 755 0:0 run/socket
        m 1700000000.5 etc/hostname             mtime in seconds, for a path above
        x etc/hostname user.a   value           an xattr, for a path above

    Names and values take Python's escapes (``\xff``, ``\x20``). Folders that are not named are
    made, 755 and root's. Every path has mtime 0 unless ``m`` says otherwise.
    """
    entries: dict[bytes, Entry] = {b"": Entry(b"", Kind.FOLDER, 0o755)}
    contents: dict[bytes, bytes] = {}
    for line in text.splitlines():
        if words := line.split():
            _take_line(words, entries, contents)
    for path in list(entries):
        while path := path.rpartition(b"/")[0]:
            entries.setdefault(path, Entry(path, Kind.FOLDER, 0o755))
    numbered = [
        replace(entries[path], node=number) for number, path in enumerate(walk_order(entries), 1)
    ]
    return MemoryTree(_linked(numbered), contents, chunk_bytes=chunk_bytes)


def _take_line(words: list[str], entries: dict[bytes, Entry], contents: dict[bytes, bytes]) -> None:
    letter, *rest = words
    if letter == "m":
        seconds, _, fraction = rest[0].partition(".")
        path = _bytes(rest[1])
        mtime_ns = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        entries[path] = replace(entries[path], mtime_ns=mtime_ns)
        return
    if letter == "x":
        path = _bytes(rest[0])
        value = _bytes(rest[2]) if len(rest) > 2 else b""
        xattrs = (*entries[path].xattrs, (_bytes(rest[1]), value))
        entries[path] = replace(entries[path], xattrs=tuple(sorted(xattrs)))
        return
    if letter == "h":
        path = _bytes(rest[0])
        entries[path] = Entry(path, Kind.HARDLINK, 0, target=_bytes(rest[1]))
        return
    uid, gid = (int(number) for number in rest[1].split(":"))
    entry = Entry(_bytes(rest[2]), _KINDS[letter], int(rest[0], 8), uid, gid)
    detail = rest[3] if len(rest) > 3 else ""
    if letter == "f":
        content = _content(detail)
        contents[entry.path] = content
        entry = replace(entry, size=len(content))
    elif letter == "l":
        entry = replace(entry, target=_bytes(detail))
    elif letter in "cb":
        major, minor = (int(number) for number in detail.split(":"))
        entry = replace(entry, device=(major, minor))
    entries[entry.path] = entry


def _linked(entries: list[Entry]) -> list[Entry]:
    """Give each hard link what its target has."""
    by_path = {entry.path: entry for entry in entries}
    linked = []
    for entry in entries:
        if entry.kind is Kind.HARDLINK:
            target = by_path[entry.target or b""]
            linked.append(replace(target, path=entry.path, kind=Kind.HARDLINK, target=target.path))
        else:
            linked.append(entry)
    return linked


def _bytes(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def _content(detail: str) -> bytes:
    if detail.startswith("*"):
        return varied(int(detail[1:]))
    return _bytes(detail)


def varied(length: int, seed: int = 0) -> bytes:
    """Return bytes in which every 64 differ from their neighbours; compresses somewhat."""
    lines = (
        b"%08d line of seed %016d and some filling to round it off\n" % (n, seed)
        for n in range(length // 64 + 1)
    )
    return b"".join(line[:64] for line in lines)[:length]
