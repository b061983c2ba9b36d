"""The payload of an rpm: a cpio archive whose members are found as they are needed.

Specification: cpio(5), "New ASCII Format"; rpm.org "Payload Format" and "V6 Package format".

What the header lists is what counts; the archive only has the contents, by path. Archives that may
hold files of 4 GiB and more have *stripped* headers in front of their members: ``07070X`` and the
number of the file in the list, which gives the rest. Of several links of one file the last one in
the archive has the content.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Callable, Iterator, Sequence

from formats.core.entry import Entry
from formats.core.errors import CorruptError, quoted
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, slice_source
from formats.packages.rpm.files import PackagedFile
from formats.packages.rpm.stream import Decoded, exactly

_NEW_MAGICS = (b"070701", b"070702")
_STRIPPED_MAGIC = b"07070X"
_MAGIC_BYTES = 6
_NEW_HEADER_BYTES = 110
_STRIPPED_HEADER_BYTES = 14
_ALIGNMENT = 4
_FIELD = struct.Struct("8s" * 13)
_FILE_SIZE, _NAME_SIZE = 6, 11
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]+")
_TRAILER = b"TRAILER!!!"
_MAX_NAME_BYTES = 4096 + 2


class RpmContents:
    """See :class:`~formats.archives.member_tree.Contents`; handles are numbers of files.

    :param links: number of a file → number of the first of its links; only of files with several.
    :param verify: called once before anything is read; raises if the payload is not what it was.
    """

    def __init__(
        self,
        files: Sequence[PackagedFile],
        links: dict[int, int],
        payload: Decoded,
        origin: Origin,
        verify: Callable[[], None],
    ) -> None:
        self._files = files
        self._links = links
        self._last_links = {first: number for number, first in links.items()}
        self._payload = payload
        self._origin = origin
        self._verify: Callable[[], None] | None = verify
        self._numbers = {file.path: number for number, file in enumerate(files)}
        self._contents = len(
            {
                links.get(number, number)
                for number, file in enumerate(files)
                if file.size and file.is_regular and not file.is_ghost
            }
        )
        self._places: dict[int, int] = {}
        """Number of a file, of links the first → offset of its content."""
        self._seen: set[int] = set()
        self._position = 0
        self._is_complete = False

    def read(self, content: int, entry: Entry) -> Iterator[BytesLike]:
        """See :meth:`~formats.archives.member_tree.Contents.read`."""
        offset = self._place(content)
        stop = offset + entry.size
        while offset < stop:
            piece = self._payload.piece(offset, min(MIB, stop - offset))
            if not len(piece):
                raise self._corrupt(f"the payload ends inside of {quoted(entry.path)}", offset)
            yield piece
            offset += len(piece)
        if len(self._places) == self._contents:
            self._finish()

    def open(self, content: int, origin: Origin) -> ByteSource:
        """See :meth:`~formats.archives.member_tree.Contents.open`."""
        size = self._files[content].size
        offset = self._place(content) if size else 0
        return slice_source(self._payload.whole(), offset, size, origin)

    def will_read(self, contents: Sequence[int]) -> None:
        """Do nothing: decoding goes on in the order of the payload."""

    def _place(self, number: int) -> int:
        """Return where the content of a file begins, going on through the archive up to it."""
        if self._verify is not None:
            self._verify()
            self._verify = None
        wanted = self._links.get(number, number)
        while wanted not in self._places:
            if self._is_complete:
                raise self._corrupt("the header lists it, and the payload does not have it")
            self._next_member()
        return self._places[wanted]

    def _finish(self) -> None:
        """Go on to the end: nothing may be there that the header does not list."""
        while not self._is_complete:
            self._next_member()

    def _next_member(self) -> None:
        start = self._position
        magic = self._exactly(start, _MAGIC_BYTES)
        if magic == _STRIPPED_MAGIC:
            number, size = self._stripped(start)
        elif magic in _NEW_MAGICS:
            named = self._named(start)
            if named is None:
                self._is_complete = True
                return
            number, size = named
        else:
            raise self._corrupt(f"a member begins with {quoted(magic)}, no magic of cpio", start)
        if number in self._seen:
            raise self._corrupt(f"{quoted(self._files[number].path)} is there twice", start)
        self._seen.add(number)
        self._take(number, size)
        self._position = _aligned(self._position + size)

    def _take(self, number: int, size: int) -> None:
        """Remember where content is, once it is what the header says of it."""
        file = self._files[number]
        if stat.S_ISLNK(file.mode):
            if size and self._exactly(self._position, size) != file.target:
                raise self._corrupt(
                    f"the symlink {quoted(file.path)} leads elsewhere than the header says",
                    self._position,
                )
            return
        if not size or not file.is_regular:
            if size:
                raise self._corrupt(f"{quoted(file.path)} has content and is no file")
            return
        if size != file.size:
            raise self._corrupt(
                f"{quoted(file.path)} has {size:,} bytes, and {file.size:,} in the header",
                self._position,
            )
        self._places.setdefault(self._links.get(number, number), self._position)

    def _stripped(self, start: int) -> tuple[int, int]:
        """Return the number of a file and the bytes of content that follow."""
        raw = self._exactly(start, _STRIPPED_HEADER_BYTES)
        number = self._hexadecimal(raw[_MAGIC_BYTES:], start)
        if number >= len(self._files):
            raise self._corrupt(
                f"a member is of file {number:,}, and the header lists {len(self._files):,}", start
            )
        self._position = _aligned(start + _STRIPPED_HEADER_BYTES)
        file = self._files[number]
        if stat.S_ISLNK(file.mode):
            return number, len(file.target)
        first = self._links.get(number)
        is_empty = first is not None and self._last_links[first] != number
        return number, file.size if file.is_regular and not is_empty else 0

    def _named(self, start: int) -> tuple[int, int] | None:
        """Return the same for a member with a name; None for the trailer."""
        raw = self._exactly(start, _NEW_HEADER_BYTES)
        fields = _FIELD.unpack_from(raw, _MAGIC_BYTES)
        size = self._hexadecimal(fields[_FILE_SIZE], start)
        length = self._hexadecimal(fields[_NAME_SIZE], start)
        if not 0 < length <= _MAX_NAME_BYTES:
            raise self._corrupt(f"a member has a name of {length:,} bytes", start)
        name = self._exactly(start + _NEW_HEADER_BYTES, length)
        if name.find(b"\0") != length - 1:
            raise self._corrupt("the name of a member does not end where it must", start)
        name = name[:-1]
        self._position = _aligned(start + _NEW_HEADER_BYTES + length)
        if name == _TRAILER:
            return None
        number = self._numbers.get(name.removeprefix(b"./").lstrip(b"/"))
        if number is None:
            raise self._corrupt(f"{quoted(name)} is in the payload and not in the header", start)
        return number, size

    def _hexadecimal(self, field: bytes, start: int) -> int:
        if _HEXADECIMAL.fullmatch(field) is None:
            raise self._corrupt(f"a member has {quoted(field)} for a number", start)
        return int(field, 16)

    def _exactly(self, offset: int, length: int) -> bytes:
        return exactly(self._payload, offset, length, self._origin, "a member's header")

    def _corrupt(self, problem: str, offset: int | None = None) -> CorruptError:
        return CorruptError(problem, origin=self._origin, offset=offset)


def _aligned(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
