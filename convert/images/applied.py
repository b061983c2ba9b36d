"""Layers applied to each other as clients do it, without a disk: image-spec, layer.md.

Applying is more than laying trees over each other, since a layer says things about those below:

- **Whiteouts.** ``.wh.NAME`` hides NAME of the layers below, ``.wh..wh..opq`` all that its folder
  has there; never what its own layer brings. Other names that begin with ``.wh..wh.`` are aufs's
  own and mean nothing, nor does what lies in them. A whiteout without a name, or one with something
  in it, is refused: clients do different things at it.
- **Folders that no layer mentions.** A layer can bring ``usr/bin/x`` alone. Its folders are then
  those below, as they are, and are made only where there are none.
- **Symlinks on the way.** ``lib/x`` of a layer goes to ``usr/lib/x`` where a layer below has the
  link ``lib`` → ``usr/lib``. It is followed inside of the image, as chroot(2) would. Only a layer
  that has ``lib`` itself replaces the link.
- **Hard links** may lead to a file of a layer below; both names are one file then.

The last three are what containerd and umoci do, which apply a layer to those below. Docker's and
podman's overlay drivers unpack each layer by itself: there, folders that a layer does not mention
lose their owner and mode, links on the way are replaced by folders, and hard links to other layers
are refused. Where a layer is understood in two ways, there is a finding.

A later member of one path replaces the earlier, and a folder over a folder gives it other metadata.
Extended attributes are ``SCHILY.xattr.*`` records, the only ones that clients apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from formats.archives.tally import Tally
from formats.archives.tar_index import TarMember, tar_members
from formats.core.entry import Kind, check_name
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource

_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_AUFS: Final = b".wh..wh."
_XATTR: Final = b"SCHILY.xattr."
_MADE_MODE: Final = 0o755


class File:
    """What one or several paths lead to.

    :ivar layer: number of the layer that brought it, from 0; folders count for the last that
        mentions them.
    :ivar offset: where its content begins in its layer's tar.
    :ivar size: bytes of content.
    :ivar sparse: its member, if the tar does not hold all of the content.
    :ivar children: of a folder, by name; None for anything else.
    """

    __slots__ = (
        "children",
        "device",
        "gid",
        "kind",
        "layer",
        "mode",
        "mtime_ns",
        "offset",
        "size",
        "sparse",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(self, kind: Kind, mode: int, layer: int) -> None:
        self.kind = kind
        self.mode = mode
        self.layer = layer
        self.uid = self.gid = self.mtime_ns = self.offset = self.size = 0
        self.target: bytes | None = None
        self.device: tuple[int, int] | None = None
        self.xattrs: tuple[tuple[bytes, bytes], ...] = ()
        self.sparse: TarMember | None = None
        self.children: dict[bytes, File] | None = {} if kind is Kind.FOLDER else None


class AppliedLayers:
    """The state that layers leave, after one or more of them.

    :ivar root: the root folder.
    """

    def __init__(self, limits: Limits) -> None:
        self.root = File(Kind.FOLDER, _MADE_MODE, 0)
        self._made = Tally(
            "folder-without-member", Action.ADDED, "no layer has this folder, only what is in it"
        )
        self._repeated = Tally(
            "duplicate-member", Action.DROPPED, "a later member of its layer has the same path"
        )
        self._through_links = Tally(
            "layer-through-link",
            Action.REPORTED,
            "leads through a symlink of a layer below, in whose place Docker and podman make a"
            " folder",
        )
        self._links_below = Tally(
            "link-to-layer-below",
            Action.REPORTED,
            "is a hard link to a file of a layer below, which Docker and podman refuse",
        )
        self._limits = limits
        self._layers = 0
        self._members = 0
        self._origin = Origin(())

    def findings(self) -> list[Finding]:
        """Return what was made and dropped, and what clients do differently."""
        tallies = (self._made, self._repeated, self._through_links, self._links_below)
        return [found for tally in tallies if (found := tally.finding()) is not None]

    def add_layer(self, tar: ByteSource) -> None:
        """Apply the next layer.

        :raises CorruptError: if it is damaged, or cannot be applied.
        :raises LimitError: if the layers have too many members, or too long or deep paths.
        """
        self._origin = tar.origin
        members: list[tuple[list[bytes], TarMember]] = []
        hidden: list[list[bytes]] = []
        for member in tar_members(tar, self._limits):
            self._check(member)
            parts = self._parts(member.path)
            if _is_of_aufs(parts):
                continue
            if any(part.startswith(_WHITEOUT) for part in parts[:-1]):
                raise self._bad(member, "lies in a whiteout")
            if parts and parts[-1].startswith(_WHITEOUT):
                hidden.append(parts)
            else:
                members.append((parts, member))
        if hidden:
            self._make_way(parts for parts, member in members if member.kind is Kind.FOLDER)
        for parts in hidden:
            self._hide(parts)
        for parts, member in members:
            self._add(parts, member)
        self._layers += 1

    def _count(self) -> None:
        """Count a member, or a folder that is made for one."""
        self._members += 1
        if self._members > self._limits.entries:
            raise LimitError(
                f"the layers have more than {self._limits.entries:,} members and folders",
                origin=self._origin,
                hint="raise the limit on entries if the image is trusted",
            )

    def _check(self, member: TarMember) -> None:
        self._count()
        limits = self._limits
        target = member.target or b""
        if len(target) > limits.symlink_target_bytes or b"\0" in target:
            raise self._bad(member, "leads to what can be no path")
        if len(member.records) > limits.xattrs_per_file and len(_xattrs(member)) > (
            limits.xattrs_per_file
        ):
            raise LimitError(
                f"{quoted(member.path)} has more than {limits.xattrs_per_file} xattrs",
                origin=self._origin,
            )

    def _parts(self, path: bytes) -> list[bytes]:
        """Return a path's names; an absolute one begins at the root, as clients have it."""
        parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
        for part in parts:
            self._check_name(part)
        return parts

    def _check_name(self, name: bytes) -> None:
        check_name(name, self._origin)
        if len(name) > self._limits.name_bytes:
            raise LimitError(
                f"a name has {len(name):,} bytes, more than the {self._limits.name_bytes:,} of"
                " any system",
                origin=self._origin,
            )

    def _make_way(self, folders: Iterable[list[bytes]]) -> None:
        """Remove the links in whose place a layer puts folders.

        A whiteout in such a folder is about that path, and not about where the link led.
        """
        for parts in folders:
            folder = self._folder(parts[:-1], makes=False) if parts else None
            found = (folder.children or {}).get(parts[-1]) if folder is not None else None
            if folder is not None and found is not None and found.kind is Kind.SYMLINK:
                (folder.children or {}).pop(parts[-1])

    def _hide(self, parts: list[bytes]) -> None:
        """Carry out a whiteout; one that hides nothing is none."""
        name = parts[-1]
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in {b"", b".", b".."}:
            raise CorruptError(
                f"{quoted(b'/'.join(parts))} is a whiteout of nothing, which clients understand in"
                " different ways",
                origin=self._origin,
            )
        folder = self._folder(parts[:-1], makes=False)
        if folder is None or folder.children is None:
            return
        if name == _OPAQUE:
            folder.children.clear()
        else:
            folder.children.pop(hidden, None)

    def _add(self, parts: list[bytes], member: TarMember) -> None:
        if not parts:
            if member.kind is not Kind.FOLDER:
                raise self._bad(member, f"is a {member.kind.value} in the place of the root")
            _describe(self.root, member, self._layers)
            return
        folder = self._folder(parts[:-1], makes=True)
        if folder is None or folder.children is None:
            raise self._bad(member, "lies in what is no folder")
        old = folder.children.get(parts[-1])
        if old is not None and old.kind is Kind.FOLDER and member.kind is Kind.FOLDER:
            _describe(old, member, self._layers)
            return
        if old is not None and old.layer == self._layers:
            self._repeated.add(b"/".join(parts))
        if member.kind is Kind.HARDLINK:
            folder.children[parts[-1]] = self._linked(member)
            return
        new = File(member.kind, member.mode, self._layers)
        _describe(new, member, self._layers)
        folder.children[parts[-1]] = new

    def _linked(self, member: TarMember) -> File:
        parts = self._parts(member.target or b"")
        folder = self._folder(parts[:-1], makes=False) if parts else None
        found = (folder.children or {}).get(parts[-1]) if folder is not None else None
        if found is None or found.kind is Kind.FOLDER:
            what = "a folder" if found is not None else "not there"
            raise self._bad(member, f"is a hard link to {quoted(member.target or b'')}, {what}")
        if found.layer != self._layers:
            self._links_below.add(b"/".join(self._parts(member.path)))
        return found

    def _folder(self, parts: Sequence[bytes], *, makes: bool) -> File | None:
        """Return what a path leads to when symlinks are followed inside of the image.

        :param makes: make the folders that are missing.
        """
        way = [self.root]
        pending = list(reversed(parts))
        hops = 0
        while pending:
            name = pending.pop()
            if name == b"..":  # in a symlink; the root is its own parent
                way = way[:-1] or way
                continue
            children = way[-1].children
            if children is None:
                return None
            found = children.get(name)
            if found is None:
                if not makes:
                    return None
                self._check_name(name)  # it may come out of a symlink
                self._count()
                found = children[name] = File(Kind.FOLDER, _MADE_MODE, self._layers)
                self._made.add(b"/".join(parts))
            if found.kind is not Kind.SYMLINK:
                way.append(found)
                continue
            if makes and found.layer != self._layers:
                self._through_links.add(b"/".join(parts))
            hops += 1
            if hops > self._limits.symlink_hops:
                raise CorruptError(
                    f"{quoted(b'/'.join(parts))} leads through more than"
                    f" {self._limits.symlink_hops} symlinks",
                    origin=self._origin,
                )
            target = found.target or b""
            if target.startswith(b"/"):
                way = [self.root]
            pending += [part for part in target.split(b"/") if part not in {b"", b"."}][::-1]
        return way[-1]

    def _bad(self, member: TarMember, problem: str) -> CorruptError:
        return CorruptError(
            f"{quoted(member.path)} {problem}", origin=self._origin, offset=member.header_offset
        )

    def walk(self) -> Iterator[tuple[bytes, File]]:
        """Yield every path in a tree's order, with what it leads to.

        :raises LimitError: for too long paths, or too many in one folder.
        """
        limits = self._limits
        pending: list[tuple[bytes, File]] = [(b"", self.root)]
        while pending:
            path, file = pending.pop()
            if len(path) > limits.path_bytes or path.count(b"/") >= limits.depth:
                raise LimitError(
                    f"a path has more than {limits.path_bytes:,} bytes or {limits.depth} folders",
                    origin=self._origin,
                )
            yield path, file
            if not file.children:
                continue
            if len(file.children) > limits.folder_entries:
                raise LimitError(
                    f"{quoted(path)} has more than {limits.folder_entries:,} entries",
                    origin=self._origin,
                )
            start = path + b"/" if path else b""
            names = sorted(file.children, reverse=True)
            pending += [(start + name, file.children[name]) for name in names]


def _is_of_aufs(parts: list[bytes]) -> bool:
    """Tell whether a path is a mark of aufs that is no whiteout, or lies in one."""
    return any(part.startswith(_AUFS) and part != _OPAQUE for part in parts)


def _describe(file: File, member: TarMember, layer: int) -> None:
    """Give a file what its member says of it."""
    file.layer = layer
    file.mode, file.uid, file.gid = member.mode, member.uid, member.gid
    file.mtime_ns = member.mtime_ns
    file.xattrs = _xattrs(member)
    file.target, file.device = member.target, member.device
    file.offset, file.size = member.offset, member.size
    if member.regions is not None:
        file.sparse = member.without_records()


def _xattrs(member: TarMember) -> tuple[tuple[bytes, bytes], ...]:
    if not member.records:
        return ()
    found = [
        (key.removeprefix(_XATTR), value)
        for key, value in member.records.items()
        if key.startswith(_XATTR)
    ]
    return tuple(sorted(found))
