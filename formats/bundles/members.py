"""The files of a tar archive, found by name: what lies beside a descriptor inside a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

from formats.archives.tar_index import TarMember, inner_path, tar_members
from formats.core.entry import Kind, join
from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.reader import Siblings
from formats.core.source import ByteSource

_MAX_MEMBERS = 100_000
"""A bundle of so many chunks has hundreds of terabytes."""
_JUNK = (b"._", b"PaxHeader/", b"__MACOSX/")
"""What macOS and old archivers put beside the files that were meant."""


class Members:
    """The members of an archive by their path below its top.

    Members whose path leads out of the archive cannot be reached; neither can the host's files.

    :raises CorruptError: for damaged archives.
    :raises LimitError: for too many members.
    """

    def __init__(self, archive: ByteSource, limits: Limits) -> None:
        self.archive = archive
        self._largest = limits.disk_virtual_bytes
        self._by_path: dict[bytes, TarMember] = {}
        self._twice: set[bytes] = set()
        limits = replace(limits, entries=min(limits.entries, _MAX_MEMBERS))
        for member in tar_members(archive, limits):
            path = inner_path(member.path)
            if not path or member.kind is Kind.FOLDER or is_junk(path):
                continue
            if path in self._by_path:
                self._twice.add(path)
            self._by_path[path] = member.without_records()

    def __contains__(self, path: bytes) -> bool:
        return path in self._by_path

    def paths(self) -> Iterator[bytes]:
        """Yield the path of each member that is no folder, in the order of the archive."""
        yield from self._by_path

    def get(self, path: bytes) -> TarMember | None:
        """Return the file at a path.

        :raises CorruptError: if there are two; programs do not agree which one counts.
        :raises UnsupportedError: if it is a link or device.
        :raises LimitError: if it is larger than a disk may be, by what it says of its holes.
        """
        member = self._by_path.get(path)
        if member is None:
            return None
        if path in self._twice:
            raise CorruptError(
                f"has two members named {quoted(path)}",
                origin=self.archive.origin,
                offset=member.header_offset,
                hint="pack it again without the one that does not count",
            )
        if member.kind is not Kind.FILE:
            raise UnsupportedError(
                f"needs {quoted(path)}, which is a {member.kind.value} in the archive",
                origin=self.archive.origin,
                offset=member.header_offset,
                hint="pack it again with the file itself: 'tar --dereference --hard-dereference'",
            )
        if member.size > self._largest:
            raise LimitError(
                f"has {quoted(path)} of {member.size:,} bytes, more than the {self._largest:,}"
                " allowed",
                origin=self.archive.origin,
                offset=member.header_offset,
            )
        return member

    def source(self, path: bytes, origin: Origin | None = None) -> ByteSource | None:
        """Return what is in the file at a path; None if there is none; raises as :meth:`get`.

        :param origin: of the file; by default, that of the archive and the path.
        """
        member = self.get(path)
        if member is None:
            return None
        return member.source(self.archive, origin or self.archive.origin.child(text_of(path)))


class MemberSiblings:
    """The members in one folder of an archive, and below it.

    :param folder: path of the folder; ``b""`` is the archive's top.
    """

    def __init__(self, members: Members, folder: bytes = b"") -> None:
        self._members = members
        self._folder = folder

    def exists(self, name: str) -> bool:
        """See :class:`~formats.core.reader.Siblings`."""
        path = self._path(name)
        return path is not None and path in self._members

    def open(self, name: str, origin: Origin) -> ByteSource:
        """See :class:`~formats.core.reader.Siblings`."""
        path = self._path(name)
        if path is None:
            raise UnsupportedError(
                f"refers to {quoted(name)}, which is no file of the archive", origin=origin
            )
        source = self._members.source(path, origin.child(name))
        if source is None:
            raise CorruptError(
                f"needs {quoted(name)}, which is missing",
                origin=origin,
                hint="pack the bundle again with all of its files",
            )
        return source

    def beside(self, name: str) -> MemberSiblings:
        """Return the files beside one of these, which may be in a folder further down."""
        path = self._path(name)
        return self if path is None else MemberSiblings(self._members, folder_of(path))

    def _path(self, name: str) -> bytes | None:
        path = inner_path(path_of(name))
        return join(self._folder, path) if path else None


@runtime_checkable
class _Placed(Protocol):
    """Files that know the folder they are in."""

    def beside(self, name: str) -> Siblings:
        """Return the files beside one of these."""
        ...


def beside(siblings: Siblings, name: str) -> Siblings:
    """Return the files beside a sibling, which may be in another folder."""
    return siblings.beside(name) if isinstance(siblings, _Placed) else siblings


def folder_of(path: bytes) -> bytes:
    """Return the folder that a path is in; ``b""`` is the archive's top."""
    return path.rpartition(b"/")[0]


def is_junk(path: bytes) -> bool:
    """Tell whether a member is only what some archivers add by themselves."""
    return path.startswith(_JUNK) or b"/._" in path


def text_of(path: bytes) -> str:
    """Return a path as :class:`MemberSiblings` takes it."""
    return path.decode("utf-8", "surrogateescape")


def path_of(text: str) -> bytes:
    """Return the path that a text means; of a text that is no path, one that no member has."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON may have half of a pair of surrogates
        return text.encode("utf-8", "surrogatepass")
