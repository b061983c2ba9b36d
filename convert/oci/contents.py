"""What an image's layers hold when they are laid over each other, and whether each is sound.

Rules: image-spec layer.md, and what clients were seen to need beyond it. In a layer every path is
there once, relative and clean; its folders are there before it; the target of a hard link is there
before it, under the same owner and mode; a whiteout hides something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from convert.oci.problems import Code, Problems
from convert.oci.tarstream import TarMember, TarReader
from formats.core.entry import Kind
from formats.core.errors import LimitError, quoted
from formats.core.limits import GIB, Limits
from formats.core.origin import printable

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_MEMORY_BYTES = 3 * GIB // 2
"""What all paths may take. Two million entries of a usual kind take less."""
_ENTRY_BYTES = 480
"""About what a path takes apart from its names and xattrs; measured."""


class ImageContents:
    """The paths of an image, layer upon layer.

    :param with_digests: hash every file's content.
    :ivar paths: those that are visible when all layers lie on each other.
    :ivar digests: SHA-256 of each file in them, if asked for.
    :ivar entry_count: tar members of all layers.
    """

    def __init__(self, problems: Problems, limits: Limits, *, with_digests: bool) -> None:
        self.paths: dict[bytes, TarMember] = {}
        self.digests: dict[bytes, bytes] = {}
        self.entry_count = 0
        self._problems = problems
        self._limits = limits
        self._with_digests = with_digests
        self._memory_bytes = 0

    def add_layer(self, name: str, reader: TarReader) -> None:
        """Read the next layer to its end and lay it over those before.

        :param name: for messages.
        :raises CorruptError: if it is no tar.
        :raises LimitError: if the image has too many entries, or too long ones.
        """
        layer = _Layer(name, self._problems, self._limits)
        for member in reader:
            self._count(member)
            path = layer.add(member)
            if self._with_digests and path is not None and member.kind is Kind.FILE:
                self.digests[path] = _digest(reader)
        layer.check_whiteouts(self.paths)
        self.paths = {**layer.visible(self.paths), **layer.paths}

    def _count(self, member: TarMember) -> None:
        self.entry_count += 1
        self._memory_bytes += _ENTRY_BYTES + len(member.name) + len(member.target or b"")
        self._memory_bytes += sum(len(name) + len(value) for name, value in member.xattrs)
        if self.entry_count > self._limits.entries:
            raise LimitError(
                f"the image has more than {self._limits.entries:,} entries",
                hint="raise the limit on entries if the image is trusted",
            )
        if self._memory_bytes > _MEMORY_BYTES:
            raise LimitError(
                f"the paths and xattrs of the image take more than {_MEMORY_BYTES:,} bytes"
            )


def _digest(reader: TarReader) -> bytes:
    sha256 = hashlib.sha256()
    for piece in reader.content():
        sha256.update(piece)
    return sha256.digest()


class _Layer:
    """The paths of one layer."""

    def __init__(self, name: str, problems: Problems, limits: Limits) -> None:
        self.paths: dict[bytes, TarMember] = {}
        self._hidden: set[bytes] = set()
        self._opaque: set[bytes] = set()
        self._name = name
        self._problems = problems
        self._limits = limits

    def _bad(self, code: Code, path: bytes, message: str) -> None:
        self._problems.add(code, f"{self._name}, {printable(path) or '/'}", message)

    def add(self, member: TarMember) -> bytes | None:
        """Take a member, noting what is wrong with it; return its path if it has one."""
        path = _clean(member.name, member.kind)
        if path is None:
            self._bad(Code.PATH, member.name, "is not a clean relative path")
            return None
        if self._is_too_long(path):
            self._bad(Code.PATH, path, "is longer or deeper than paths may be")
            return None
        if path in self.paths:
            self._bad(Code.REPEATED_PATH, path, "is there twice")
        folder, _, name = path.rpartition(b"/")
        parent = self.paths.get(folder) if folder else None
        if folder and (parent is None or parent.kind is not Kind.FOLDER):
            self._bad(Code.NO_FOLDER, path, "comes before the folder it is in, or without it")
        if name.startswith(_WHITEOUT):
            self._add_whiteout(folder, name)
            return None
        if member.kind is Kind.HARDLINK:
            self._check_link(path, member)
        self.paths[path] = member
        return path

    def _is_too_long(self, path: bytes) -> bool:
        limits = self._limits
        return (
            len(path) > limits.path_bytes
            or path.count(b"/") >= limits.depth
            or any(len(name) > limits.name_bytes for name in path.split(b"/"))
        )

    def _check_link(self, path: bytes, member: TarMember) -> None:
        target = self.paths.get(member.target or b"")
        name = quoted(member.target or b"")
        if target is None:
            self._bad(Code.HARD_LINK, path, f"is a hard link to {name}, which is not before it")
            return
        if target.kind in {Kind.FOLDER, Kind.HARDLINK}:
            self._bad(Code.HARD_LINK, path, f"is a hard link to {name}, a {target.kind.value}")
        # Clients set what the link's header says, on the one file that both are names of.
        if _attributes(target) != _attributes(member):
            self._bad(Code.HARD_LINK, path, f"has another mode, owner or time than {name}")

    def _add_whiteout(self, folder: bytes, name: bytes) -> None:
        if name == _OPAQUE:
            self._opaque.add(folder)
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in {b"", b".", b".."} or hidden.startswith(_WHITEOUT):
            self._bad(Code.WHITEOUT, name, "is not a whiteout that clients agree on")
            return
        self._hidden.add(folder + b"/" + hidden if folder else hidden)

    def check_whiteouts(self, below: dict[bytes, TarMember]) -> None:
        """Note whiteouts that hide nothing: clients either fail on them or show them as files."""
        there = below.keys() | ({b""} if below else set())
        for path in sorted((self._hidden | self._opaque) - there):
            self._bad(Code.WHITEOUT, path, "is hidden by a whiteout, but not there")

    def visible(self, below: dict[bytes, TarMember]) -> dict[bytes, TarMember]:
        """Return what can still be seen of the layers below."""
        replaced = {path for path, found in self.paths.items() if found.kind is not Kind.FOLDER}
        closed = (self._hidden | replaced) & below.keys()
        opaque = self._opaque
        if not closed and not opaque:
            return below
        return {
            path: found
            for path, found in below.items()
            if path not in closed
            and not any(folder in closed or folder in opaque for folder in _folders(path))
        }


def _attributes(member: TarMember) -> tuple[int, int, int, int]:
    return member.mode, member.uid, member.gid, member.mtime


def _folders(path: bytes) -> Iterable[bytes]:
    """Yield the folders that a path is in, the root (``b""``) included."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _clean(name: bytes, kind: Kind) -> bytes | None:
    """Return a member's name as a path; None if it could mean more than one.

    Folders may end in a slash, and the root may be ``./`` or ``.``, as ``tar`` writes it.
    """
    if kind is Kind.FOLDER:
        if name in {b".", b"./"}:
            return b""
        name = name.removesuffix(b"/")
    parts = name.split(b"/")
    return None if any(part in {b"", b".", b".."} for part in parts) else name
