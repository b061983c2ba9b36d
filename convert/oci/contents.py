"""What an image's layers hold when they are laid over each other, and whether each is sound.

Rules: image-spec layer.md, and what clients were seen to need beyond it. In a layer every path is
there once, relative and clean; its folders are there before it; the target of a hard link is there
before it, under the same owner and mode; a whiteout hides something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from convert.oci.problems import Code, Problems
from convert.oci.tarstream import TarMember, TarReader
from formats.core.entry import Entry, Kind
from formats.core.errors import LimitError, quoted
from formats.core.limits import GIB, Limits
from formats.core.origin import printable

WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_MEMORY_BYTES = GIB
"""What all paths may take. Two million entries of a usual kind take less."""
_ENTRY_BYTES = 320
"""About what a path takes apart from its names and xattrs; measured."""
_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class Found:
    """A path of an image.

    :ivar entry: what its tar member says; ``mtime_ns`` is in whole seconds. A hard link has a size
        of 0 and no xattrs, as in the tar.
    :ivar sha256: digest of a file's content, where it was asked for.
    """

    entry: Entry
    sha256: bytes | None = None


class ImageContents:
    """The paths of an image, layer upon layer.

    :param with_digests: hash every file's content.
    :ivar paths: those that are visible when all layers lie on each other.
    :ivar entry_count: tar members of all layers.
    """

    def __init__(self, problems: Problems, limits: Limits, *, with_digests: bool) -> None:
        self.paths: dict[bytes, Found] = {}
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
            layer.add(member, _digest(reader) if self._digest_is_wanted(member) else None)
        layer.check_whiteouts(self.paths)
        self.paths = {**layer.visible(self.paths), **layer.paths}

    def _digest_is_wanted(self, member: TarMember) -> bool:
        return self._with_digests and member.kind is Kind.FILE

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
        self.paths: dict[bytes, Found] = {}
        self._hidden: set[bytes] = set()
        self._opaque: set[bytes] = set()
        self._name = name
        self._problems = problems
        self._limits = limits

    def _bad(self, code: Code, path: bytes, message: str) -> None:
        self._problems.add(code, f"{self._name}, {printable(path) or '/'}", message)

    def add(self, member: TarMember, sha256: bytes | None) -> None:
        """Take a member, noting what is wrong with it."""
        path = _clean(member.name, member.kind)
        if path is None:
            self._bad(Code.PATH, member.name, "is not a clean relative path")
            return
        if self._is_too_long(path):
            self._bad(Code.PATH, path, "is longer or deeper than paths may be")
            return
        if path in self.paths:
            self._bad(Code.REPEATED_PATH, path, "is there twice")
        folder, _, name = path.rpartition(b"/")
        parent = self.paths.get(folder) if folder else None
        if folder and (parent is None or parent.entry.kind is not Kind.FOLDER):
            self._bad(Code.NO_FOLDER, path, "comes before the folder it is in, or without it")
        if name.startswith(WHITEOUT):
            self._add_whiteout(folder, name)
            return
        target = member.target
        if member.kind is Kind.HARDLINK:
            target = self._link_target(path, member)
        self.paths[path] = Found(
            Entry(
                path=path,
                kind=member.kind,
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                mtime_ns=member.mtime * _SECOND_NS,
                size=member.size,
                target=target,
                device=member.device,
                xattrs=member.xattrs,
            ),
            sha256,
        )

    def _is_too_long(self, path: bytes) -> bool:
        limits = self._limits
        return (
            len(path) > limits.path_bytes
            or path.count(b"/") >= limits.depth
            or any(len(name) > limits.name_bytes for name in path.split(b"/"))
        )

    def _link_target(self, path: bytes, member: TarMember) -> bytes:
        """Return where a hard link leads, noting what is wrong with that."""
        spelled = member.target or b""
        target = _clean(spelled, Kind.FILE)
        found = self.paths.get(target) if target is not None else None
        if target is None or found is None:
            self._bad(
                Code.HARD_LINK, path, f"is a hard link to {quoted(spelled)}, which is not before it"
            )
            return spelled
        entry = found.entry
        if entry.kind in {Kind.FOLDER, Kind.HARDLINK}:
            self._bad(
                Code.HARD_LINK, path, f"is a hard link to {quoted(spelled)}, a {entry.kind.value}"
            )
        # Clients set what the link's header says, on the one file that both are names of.
        mtime = entry.mtime_ns // _SECOND_NS
        theirs = (entry.mode, entry.uid, entry.gid, mtime)
        if theirs != (member.mode, member.uid, member.gid, member.mtime):
            self._bad(
                Code.HARD_LINK, path, f"has another mode, owner or time than {quoted(spelled)}"
            )
        return target

    def _add_whiteout(self, folder: bytes, name: bytes) -> None:
        if name == _OPAQUE:
            self._opaque.add(folder)
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in {b"", b".", b".."} or hidden.startswith(WHITEOUT):
            self._bad(Code.WHITEOUT, name, "is not a whiteout that clients agree on")
            return
        self._hidden.add(folder + b"/" + hidden if folder else hidden)

    def check_whiteouts(self, below: dict[bytes, Found]) -> None:
        """Note whiteouts that hide nothing: clients either fail on them or show them as files."""
        there = below.keys() | ({b""} if below else set())
        for path in sorted((self._hidden | self._opaque) - there):
            self._bad(Code.WHITEOUT, path, "is hidden by a whiteout, but not there")

    def visible(self, below: dict[bytes, Found]) -> dict[bytes, Found]:
        """Return what can still be seen of the layers below."""
        replaced = {
            path for path, found in self.paths.items() if found.entry.kind is not Kind.FOLDER
        }
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
