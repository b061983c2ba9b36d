"""What an image's layers hold when they are laid over each other, and whether each is sound.

Rules: image-spec layer.md, and what clients were seen to need beyond it. In a layer every path is
there once, relative and clean; its folders are there before it; the target of a hard link is there
before it; a whiteout hides something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from convert.oci.tarstream import TarMember, TarReader
from formats.core.entry import Entry, Kind
from formats.core.errors import quoted

WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_SHOWN_PROBLEMS = 1000


class Problems:
    """Collects what is wrong; keeps the first thousand and counts the rest."""

    def __init__(self) -> None:
        self.total = 0
        self.shown: list[str] = []

    def add(self, problem: str) -> None:
        """Note a problem."""
        self.total += 1
        if len(self.shown) < _SHOWN_PROBLEMS:
            self.shown.append(problem)


@dataclass(frozen=True, slots=True)
class Found:
    """A path of an image.

    :ivar entry: what its tar member says; ``mtime_ns`` is in whole seconds.
    :ivar sha256: digest of a file's content, where it was asked for.
    """

    entry: Entry
    sha256: bytes | None = None


class ImageContents:
    """The paths of an image, layer upon layer.

    :param with_digests: hash every file's content.
    """

    def __init__(self, problems: Problems, *, with_digests: bool) -> None:
        self.paths: dict[bytes, Found] = {}
        self.entry_count = 0
        self._problems = problems
        self._with_digests = with_digests
        self._layers = 0

    def add_layer(self, reader: TarReader) -> None:
        """Read the next layer to its end and lay it over those before.

        :raises CorruptError: if it is no tar.
        """
        layer = _Layer(f"layer {self._layers + 1}", self._problems)
        for member in reader:
            self.entry_count += 1
            digest = None
            if self._with_digests and member.kind is Kind.FILE:
                sha256 = hashlib.sha256()
                for piece in reader.content():
                    sha256.update(piece)
                digest = sha256.digest()
            layer.add(member, digest)
        layer.check_whiteouts(self.paths)
        below = layer.visible(self.paths) if self.paths else {}
        self.paths = {**below, **layer.paths}
        self._layers += 1


class _Layer:
    """The paths of one layer."""

    def __init__(self, name: str, problems: Problems) -> None:
        self.paths: dict[bytes, Found] = {}
        self.hidden: set[bytes] = set()
        self.opaque: set[bytes] = set()
        self._name = name
        self._problems = problems

    def _bad(self, path: bytes, problem: str) -> None:
        self._problems.add(f"{self._name}: {quoted(path)} {problem}")

    def add(self, member: TarMember, sha256: bytes | None) -> None:
        """Take a member, noting what is wrong with it."""
        path = _clean(member.name, member.kind)
        if path is None:
            self._bad(member.name, "is not a clean relative path")
            return
        if path in self.paths:
            self._bad(path, "is there twice")
        folder, _, name = path.rpartition(b"/")
        if folder:
            parent = self.paths.get(folder)
            if parent is None or parent.entry.kind is not Kind.FOLDER:
                self._bad(path, "comes before the folder it is in, or without it")
        if name.startswith(WHITEOUT):
            self._add_whiteout(folder, name)
            return
        target = member.target
        if member.kind is Kind.HARDLINK:
            target = self._link_target(path, member.target or b"")
        self.paths[path] = Found(
            Entry(
                path=path,
                kind=member.kind,
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                mtime_ns=member.mtime * 1_000_000_000,
                size=member.size,
                target=target,
                device=member.device,
                xattrs=member.xattrs,
            ),
            sha256,
        )

    def _link_target(self, path: bytes, spelled: bytes) -> bytes:
        target = _clean(spelled, Kind.FILE)
        found = self.paths.get(target) if target is not None else None
        if found is None:
            self._bad(path, f"is a hard link to {quoted(spelled)}, which is not before it")
        elif found.entry.kind in {Kind.FOLDER, Kind.HARDLINK}:
            self._bad(path, f"is a hard link to {quoted(spelled)}, a {found.entry.kind.value}")
        return spelled if target is None else target

    def _add_whiteout(self, folder: bytes, name: bytes) -> None:
        if name == _OPAQUE:
            self.opaque.add(folder)
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in {b"", b".", b".."} or hidden.startswith(WHITEOUT):
            self._bad(name, "is not a whiteout that clients agree on")
            return
        self.hidden.add(folder + b"/" + hidden if folder else hidden)

    def check_whiteouts(self, below: dict[bytes, Found]) -> None:
        """Note whiteouts that hide nothing: clients either fail on them or show them as files."""
        for path in sorted((self.hidden | self.opaque) - below.keys() - {b""}):
            self._bad(path, "is hidden by a whiteout, but not there")
        if not below and b"" in self.opaque:
            self._bad(b"", "is hidden by a whiteout, but not there")

    def visible(self, below: dict[bytes, Found]) -> dict[bytes, Found]:
        """Return what can still be seen of the layers below."""
        replaced = {
            path for path, found in self.paths.items() if found.entry.kind is not Kind.FOLDER
        }
        closed = self.hidden | replaced
        seen: dict[bytes, Found] = {}
        for path, found in below.items():
            above = list(_folders(path))
            if closed.isdisjoint((path, *above)) and self.opaque.isdisjoint(above):
                seen[path] = found
        return seen


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
