"""Where the files of a stored image are read from: a layout's folder, or a tar file.

A name is only ever looked up as it is, and symlinks are not followed: CVE-2024-3727 was of the kind
where a digest led to another file.
"""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import Protocol

from convert.destination import ImageDestination, LayoutDestination
from convert.oci.layout import BLOBS
from convert.oci.problems import ClaimError, Code, Problem
from convert.oci.tarstream import SourceInput, TarMember, TarReader
from convert.staging import is_real_folder
from formats.core.entry import Kind
from formats.core.errors import (
    CorruptError,
    InputReadError,
    UsageError,
    quoted,
)
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource, FileSource, slice_source


class Store(Protocol):
    """Files by name."""

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    def has(self, name: str) -> bool:
        """Tell whether there is anything of this name."""
        ...

    def open(self, name: str) -> ByteSource:
        """Return a file, open until the store is closed.

        :raises ClaimError: if there is none of this name.
        :raises CorruptError: if it is something else than a file.
        """
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class FolderStore:
    """The files of a layout in a folder.

    :raises InputReadError: if there is no such folder.
    :raises CorruptError: if it cannot be a layout.
    """

    def __init__(self, folder: Path) -> None:
        self.origin = Origin((str(folder),))
        self._folder = folder
        self._opened: list[FileSource] = []
        try:
            is_folder = stat.S_ISDIR(folder.stat().st_mode)
        except OSError as error:
            raise InputReadError(f"cannot open: {error.strerror}", origin=self.origin) from error
        if not is_folder:
            raise InputReadError("is no folder", origin=self.origin)
        for path in (BLOBS.parent, BLOBS):
            if not is_real_folder(folder / path):
                raise CorruptError(
                    f"is no image layout: there is no folder {path}", origin=self.origin
                )

    def has(self, name: str) -> bool:
        """See :class:`Store`."""
        return os.path.lexists(self._folder / name)

    def open(self, name: str) -> ByteSource:
        """See :class:`Store`."""
        path, origin = self._folder / name, self.origin.child(name)
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ClaimError(Problem(Code.MISSING, str(origin), "is not there")) from error
        except OSError as error:
            raise InputReadError(f"cannot open: {error.strerror}", origin=origin) from error
        if not stat.S_ISREG(mode):
            raise CorruptError("is not a file", origin=origin)
        source = FileSource(path, origin, follow=False)
        self._opened.append(source)
        return source

    def close(self) -> None:
        """See :class:`Store`."""
        for source in self._opened:
            source.close()


class ArchiveStore:
    """The members of a tar file, which is closed with it.

    :param follows_links: take a link to another member for that member, as ``docker save`` writes
        it where two images have one layer. What we write has none.
    :raises CorruptError: if it is damaged, or has two members of one name.
    """

    def __init__(self, source: FileSource, limits: Limits, *, follows_links: bool = False) -> None:
        self._source = source
        self.origin = self._source.origin
        self._follows_links = follows_links
        self._members: dict[str, TarMember] = {}
        try:
            for member in TarReader(SourceInput(self._source), limits):
                name = _text(member.name).removeprefix("./")
                if name in self._members:
                    raise CorruptError(f"{quoted(name)} is there twice", origin=self.origin)
                self._members[name] = member
        except BaseException:
            self.close()
            raise

    def has(self, name: str) -> bool:
        """See :class:`Store`."""
        return name in self._members

    def open(self, name: str) -> ByteSource:
        """See :class:`Store`."""
        origin = self.origin.child(name)
        if name not in self._members:
            raise ClaimError(Problem(Code.MISSING, str(origin), "is not there"))
        member = self._members[name]
        if self._follows_links and member.target is not None:
            member = self._members.get(_linked_name(name, member), member)
        if member.kind is not Kind.FILE:
            raise CorruptError("is not a file", origin=origin)
        return slice_source(self._source, member.content_offset, member.size, origin)

    def close(self) -> None:
        """See :class:`Store`."""
        self._source.close()


def open_store(where: ImageDestination, limits: Limits) -> Store:
    """Open what an image lies in.

    :raises UsageError: for standard output.
    :raises InputReadError: if it is not there.
    :raises CorruptError: if it is damaged as a whole.
    """
    if isinstance(where, LayoutDestination):
        return FolderStore(where.folder)
    if where.file is None:
        raise UsageError("an image is not read from a pipe", hint="name a file")
    return ArchiveStore(FileSource(where.file, Origin((str(where.file),))), limits)


def _linked_name(name: str, member: TarMember) -> str:
    """Return which member a link names; nothing outside of the archive has a name like it."""
    target = _text(member.target or b"")
    if member.kind is Kind.SYMLINK:
        target = posixpath.join(posixpath.dirname(name), target)
    return posixpath.normpath(target)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
