"""The list of files in a header: all that is known of them, but for the content.

Specification: rpm.org "Tag Listing", "Per-file information"; large_files.md.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from formats.core.errors import LimitError
from formats.core.limits import Limits
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header

_Value = TypeVar("_Value")


class PackagedFile(NamedTuple):
    """A file as the header lists it; a named tuple, as packages have up to 100,000.

    :ivar path: without the slash in front; of a source package, the name alone.
    :ivar mode: with the type of the file, as ``st_mode`` has it.
    :ivar digest: lower-case hexadecimal; "" where there is none.
    :ivar target: of a symlink.
    :ivar flags: ``FILE_CONFIG`` and so on.
    :ivar device: major and minor number, of a device.
    :ivar inode: equal for links of one file, and only for them.
    :ivar capabilities: as cap_from_text(3) reads them; "" for none.
    """

    path: bytes
    mode: int
    size: int
    mtime: int
    digest: str
    target: bytes
    flags: int
    device: tuple[int, int]
    user: str
    group: str
    inode: tuple[int, int]
    capabilities: str

    @property
    def is_regular(self) -> bool:
        """Whether it has content of its own."""
        return stat.S_ISREG(self.mode)

    @property
    def is_ghost(self) -> bool:
        """Whether it belongs to the package and is not in it."""
        return bool(self.flags & tags.FILE_GHOST)


def files_of(header: Header, limits: Limits) -> list[PackagedFile]:
    """Return the files of a package in the order of its header.

    :raises CorruptError: if the tags do not fit together.
    :raises LimitError: if there are too many.
    """
    paths = _paths_of(header, limits)
    columns = _Columns(header, len(paths))
    sizes = tags.LONGFILESIZES if tags.LONGFILESIZES in header else tags.FILESIZES
    rows = zip(
        paths,
        columns.numbers(tags.FILEMODES),
        columns.numbers(sizes),
        columns.numbers(tags.FILEMTIMES),
        columns.texts(tags.FILEDIGESTS),
        columns.strings(tags.FILELINKTOS),
        columns.numbers(tags.FILEFLAGS),
        columns.numbers(tags.FILERDEVS),
        columns.texts(tags.FILEUSERNAME),
        columns.texts(tags.FILEGROUPNAME),
        columns.numbers(tags.FILEDEVICES),
        columns.numbers(tags.FILEINODES, numbered=True),
        columns.texts(tags.FILECAPS),
        strict=True,
    )
    return [
        PackagedFile(
            path,
            mode,
            size,
            mtime,
            digest.lower(),
            target,
            flags,
            (device >> 8, device & 0xFF),
            user,
            group,
            (filesystem, inode),
            capabilities,
        )
        for (
            path,
            mode,
            size,
            mtime,
            digest,
            target,
            flags,
            device,
            user,
            group,
            filesystem,
            inode,
            capabilities,
        ) in rows
    ]


def _paths_of(header: Header, limits: Limits) -> list[bytes]:
    """Return the paths of the files in the order of the header, without the slash in front.

    :raises CorruptError: if folders and names do not fit together.
    :raises LimitError: if there are too many.
    """
    slot = header.slots.get(tags.BASENAMES) or header.slots.get(tags.OLDFILENAMES)
    if slot is not None and slot.items > limits.entries:
        raise LimitError(
            f"lists {slot.items:,} files, more than the {limits.entries:,} that a tree may have",
            origin=header.origin,
        )
    names = header.strings(tags.BASENAMES)
    if not names:  # packages of rpm 3
        return [path.lstrip(b"/") for path in header.strings(tags.OLDFILENAMES)]
    folders = [folder.lstrip(b"/") for folder in header.strings(tags.DIRNAMES)]
    indexes = header.numbers(tags.DIRINDEXES)
    if len(indexes) != len(names) or max(indexes) >= len(folders):
        raise header.corrupt(
            f"{len(names):,} names have {len(indexes):,} folders, among {len(folders):,}"
        )
    return [folders[index] + name for index, name in zip(indexes, names, strict=True)]


class _Columns:
    """Values for each file, which are as many as there are files, or none."""

    def __init__(self, header: Header, count: int) -> None:
        self._header = header
        self._count = count

    def numbers(self, tag: int, *, numbered: bool = False) -> Sequence[int]:
        """Return numbers; without the tag zeros, or the numbers of the files."""
        if tag not in self._header:
            return range(self._count) if numbered else (0,) * self._count
        return self._checked(tag, self._header.numbers(tag))

    def strings(self, tag: int) -> Sequence[bytes]:
        """Return strings; empty ones without the tag."""
        if tag not in self._header:
            return (b"",) * self._count
        return self._checked(tag, self._header.strings(tag))

    def texts(self, tag: int) -> Sequence[str]:
        """Return strings as text; there are few different ones."""
        known: dict[bytes, str] = {}
        return [
            known.setdefault(value, value.decode("utf-8", "backslashreplace"))
            for value in self.strings(tag)
        ]

    def _checked(self, tag: int, values: Sequence[_Value]) -> Sequence[_Value]:
        if len(values) != self._count:
            raise self._header.corrupt(
                f"{self._count:,} files have {len(values):,} values of tag {tag}"
            )
        return values
