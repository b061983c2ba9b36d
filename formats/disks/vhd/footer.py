"""The footer of a VHD, at its end and, but for fixed disks, once more at its front.

Specification: Microsoft "Virtual Hard Disk Image Format Specification" 1.0, "Hard Disk Footer
Format"; libyal "Virtual Hard Disk (VHD) image format" for what programs write.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import ByteSource

COOKIE = b"conectix"
SECTOR_BYTES = 512
FOOTER_BYTES = 512

SHORT_FOOTER_BYTES = 511
"""Virtual PC before 2004 left out the last reserved byte."""

_FIELDS = struct.Struct(">8sIIQI4sI4sQQHBBII16sB")
_CHECKSUM = slice(64, 68)
_MAJOR_VERSION = 1
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_LARGEST_GEOMETRY = 65535 * 16 * 255
_BY_GEOMETRY = frozenset({b"vpc ", b"vs  ", b"qemu"})
"""Programs whose machines see what cylinders, heads and sectors multiply to ("CHS Calculation").

Virtual PC and Virtual Server attach disks by ATA, which has nothing else; QEMU follows them. All
others show their machines the current size, of which the geometry is the rounded-down image.
"""


class DiskType(IntEnum):
    """Disk types that are in use; the others are reserved or deprecated."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4


_TYPES = frozenset(DiskType)


@dataclass(frozen=True, slots=True)
class Footer:
    """A footer whose fields make sense.

    :ivar offset: where it is in the file.
    :ivar length: bytes that it takes there.
    :ivar timestamp: when the disk was made, in seconds since 2000-01-01 UTC.
    :ivar current_size: bytes of the disk as its creator counts them.
    :ivar geometry_size: bytes that the disk's geometry multiplies to.
    :ivar has_sound_checksum: False for what can still be read.
    """

    offset: int
    length: int
    data_offset: int
    timestamp: int
    creator: bytes
    current_size: int
    geometry_size: int
    disk_type: DiskType
    uuid: uuid.UUID
    is_saved_state: bool
    has_sound_checksum: bool

    def size_within(self, capacity: int) -> int:
        """Return the size of the disk that a machine sees.

        :param capacity: bytes that the file has room for.
        """
        is_known = 0 < self.geometry_size < _LARGEST_GEOMETRY * SECTOR_BYTES
        if self.creator in _BY_GEOMETRY and is_known and self.geometry_size <= capacity:
            return self.geometry_size
        return self.current_size

    @property
    def created(self) -> str:
        """The time stamp, for people."""
        return f"{_EPOCH + timedelta(seconds=self.timestamp):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Found:
    """The footer to go by.

    :ivar doubts: what was wrong on the way to it; empty if nothing was.
    """

    footer: Footer
    doubts: str = ""


def checksum(structure: bytes, field: slice) -> int:
    """Return the ones' complement of the sum of all bytes but those of the checksum itself."""
    return ~(sum(structure) - sum(structure[field])) & 0xFFFFFFFF


def find_footer(file: ByteSource) -> Found:
    """Return the footer at the end, or the copy at the front where that one is damaged or missing.

    :raises CorruptError: if neither can be used.
    :raises UnsupportedError: for versions and disk types that are not known.
    """
    trailer = _trailer(file)
    if trailer is not None and trailer.has_sound_checksum:
        return Found(trailer)
    copy = _read_footer(file, 0, FOOTER_BYTES)
    if copy is not None and copy.disk_type is DiskType.FIXED:
        copy = None  # a fixed disk has no copy: this is what the machine has written
    if copy is not None and (copy.has_sound_checksum or trailer is None):
        state = "missing" if trailer is None else "damaged"
        return Found(copy, f"its footer is {state}; the copy at the front was used")
    if trailer is None:
        raise CorruptError(
            "has no footer that can be read, neither at its end nor at its front",
            origin=file.origin,
            hint="the file may be truncated: compare its size with the original",
        )
    return Found(trailer, "the checksum of its footer is wrong; what the footer says fits the file")


def _trailer(file: ByteSource) -> Footer | None:
    for length in (FOOTER_BYTES, SHORT_FOOTER_BYTES):
        found = _read_footer(file, file.size - length, length)
        if found is not None:
            return found
    return None


def _read_footer(file: ByteSource, offset: int, length: int) -> Footer | None:
    """Return the footer that starts at ``offset``, None if there is none that makes sense."""
    if offset < 0:
        return None
    data = bytes(file.read_at(offset, length))
    if len(data) < length or not data.startswith(COOKIE):
        return None
    (
        _,
        _features,
        version,
        data_offset,
        timestamp,
        creator,
        _creator_version,
        _host,
        _original_size,
        current_size,
        cylinders,
        heads,
        sectors,
        disk_type,
        stored,
        identity,
        saved_state,
    ) = _FIELDS.unpack_from(data)
    has_sound_checksum = checksum(data, _CHECKSUM) == stored
    if version >> 16 != _MAJOR_VERSION or disk_type not in _TYPES:
        if not has_sound_checksum:
            return None  # damaged beyond use
        raise _unknown(version, disk_type, file.origin, offset)
    return Footer(
        offset=offset,
        length=length,
        data_offset=data_offset,
        timestamp=timestamp,
        creator=creator,
        current_size=current_size,
        geometry_size=cylinders * heads * sectors * SECTOR_BYTES,
        disk_type=DiskType(disk_type),
        uuid=uuid.UUID(bytes=identity),
        is_saved_state=bool(saved_state),
        has_sound_checksum=has_sound_checksum,
    )


def _unknown(version: int, disk_type: int, origin: Origin, offset: int) -> UnsupportedError:
    if version >> 16 != _MAJOR_VERSION:
        return UnsupportedError(
            f"is VHD version {version >> 16}.{version & 0xFFFF}, which is not known",
            origin=origin,
            offset=offset + 12,
        )
    return UnsupportedError(
        f"is a VHD of type {disk_type}, which is not known",
        origin=origin,
        offset=offset + 60,
        hint="fixed, dynamic and differencing disks are read: types 2, 3 and 4",
    )
