"""Volume descriptors (ECMA-119, section 8), and the sessions that they begin.

The set of descriptors of a session starts 16 sectors into it. A disc that was written in several
sessions has one set each; every location counts from the start of the disc. An image has no table
of contents, so the sessions behind the first are looked for where the one before ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact

SECTOR_BYTES = 2048
SYSTEM_AREA_SECTORS = 16
MAGIC = b"CD001"

_BOOT_RECORD = 0
_PRIMARY = 1
_SUPPLEMENTARY = 2
_TERMINATOR = 255
_MOST_DESCRIPTORS = 64
_MOST_SESSIONS = 100
"""More than a CD has tracks."""
_GAP_SECTORS = 11_400 + 2 * 32
"""Lead-out of a first session, lead-in and pre-gap of the next; then alignment."""
_SCAN_BYTES = 1 << 20
_MOST_TRIED = 256
"""Places in a gap, which holds nothing but zeros, that look like the start of the next session."""

# Type, identifier, version, flags; system and volume identifier; space size (both orders); escape
# sequences; set size, sequence number, block size; path table: size, place, optional one (both
# orders of bytes); the record of the root folder.
_VOLUME = struct.Struct("<B5sBB32s32s8xI4x32sHxxHxxHxxI4xII8x34s")
_IDENTIFIERS_OFFSET = 190
_IDENTIFIERS = struct.Struct("<128s128s128s128s37s37s37s17s17s")
_BLOCK_SIZES = frozenset({512, 1024, 2048})
_BOOT = struct.Struct("<B5sB32s32sI")
EL_TORITO = b"EL TORITO SPECIFICATION"

# "UCS-2 levels" of the Joliet specification; each is one escape sequence of ISO 2022.
JOLIET_ESCAPES = {b"%/@": 1, b"%/C": 2, b"%/E": 3}


@dataclass(frozen=True, slots=True)
class VolumeDescriptor:
    """A primary or supplementary volume descriptor, checked.

    :ivar offset: where it is, in bytes.
    :ivar joliet_level: 1 to 3; 0 for all but Joliet.
    :ivar block_bytes: the unit of all locations.
    :ivar blocks: size of the volume; see :attr:`Session.ends`.
    :ivar set_size: number of discs in the set, of which this is number ``sequence``.
    :ivar path_table: its first block, the little-endian one; ``path_table_bytes`` long.
    :ivar root: the record of the root folder.
    :ivar identifiers: volume, system, publisher, preparer, application: as they are written.
    :ivar created: 16 digits and a time zone, as :mod:`formats.filesystems.iso.times` reads them.
    :ivar modified: the same.
    """

    offset: int
    version: int
    joliet_level: int
    block_bytes: int
    blocks: int
    set_size: int
    sequence: int
    path_table: int
    path_table_bytes: int
    root: bytes
    identifiers: dict[str, bytes]
    created: bytes
    modified: bytes

    @property
    def size_bytes(self) -> int:
        """Size of the volume."""
        return self.blocks * self.block_bytes

    @property
    def root_offset(self) -> int:
        """Where the root folder is, in bytes: behind its extended attribute record, if any."""
        skip, block = self.root[1], int.from_bytes(self.root[2:6], "little")
        return (block + skip) * self.block_bytes


@dataclass(frozen=True, slots=True)
class Session:
    """The descriptors of one session.

    :ivar start: sector that it begins at.
    :ivar boot_catalog: sector of the El Torito boot catalog, if there is one.
    """

    start: int
    primary: VolumeDescriptor
    joliet: VolumeDescriptor | None
    enhanced: VolumeDescriptor | None
    boot_catalog: int | None

    @property
    def ends(self) -> list[int]:
        """Sectors that it may end at, in order.

        Some writers count the size of a volume from the start of the disc, and others from that
        of the session.
        """
        sectors = -(-self.primary.size_bytes // SECTOR_BYTES)
        from_session = self.start + sectors
        is_either = self.primary.root_offset < self.primary.size_bytes
        return sorted({sectors, from_session}) if is_either else [from_session]


def read_sessions(source: ByteSource) -> list[Session]:
    """Return the descriptors of all sessions, in order; one at least.

    :raises CorruptError: if the first set is damaged or cut short.
    """
    sessions = [read_session(source, 0)]
    while len(sessions) < _MOST_SESSIONS:
        following = _next_session(source, sessions[-1])
        if following is None:
            break
        sessions.append(following)
    return sessions


def read_session(source: ByteSource, start: int) -> Session:
    """Return the descriptors of the session that begins at a sector.

    :raises CorruptError: if they are damaged or cut short.
    """
    primary: VolumeDescriptor | None = None
    joliet: VolumeDescriptor | None = None
    enhanced: VolumeDescriptor | None = None
    catalog: int | None = None
    for offset, data in _descriptors(source, start):
        kind = data[0]
        if kind == _BOOT_RECORD:
            system, place = _BOOT.unpack_from(data)[3], _BOOT.unpack_from(data)[5]
            if system.rstrip(b"\0 ") == EL_TORITO and catalog is None:
                catalog = place
        elif kind == _PRIMARY and primary is None:  # further ones are copies
            primary = _volume(source, offset, data)
        elif kind == _SUPPLEMENTARY:
            volume = _volume(source, offset, data)
            if volume.joliet_level:
                joliet = joliet or volume
            elif volume.version == 2:
                enhanced = enhanced or volume
    if primary is None:
        raise CorruptError(
            "has no primary volume descriptor",
            origin=source.origin,
            offset=(start + SYSTEM_AREA_SECTORS) * SECTOR_BYTES,
        )
    return Session(start, primary, joliet, enhanced, catalog)


def _descriptors(source: ByteSource, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield place and content of each descriptor up to the terminator.

    A set without one ends with the first sector that is no descriptor, as readers have it.
    """
    for number in range(_MOST_DESCRIPTORS):
        offset = (start + SYSTEM_AREA_SECTORS + number) * SECTOR_BYTES
        data = bytes(read_exact(source, offset, SECTOR_BYTES, "a volume descriptor"))
        if data[1:6] != MAGIC or data[0] == _TERMINATOR:
            return
        yield offset, data


def _volume(source: ByteSource, offset: int, data: bytes) -> VolumeDescriptor:
    fields = _VOLUME.unpack_from(data)
    (_, _, version, flags, system, name, blocks, escapes) = fields[:8]
    (set_size, sequence, block_bytes, table_bytes, table, _, root) = fields[8:]
    if block_bytes not in _BLOCK_SIZES:
        raise CorruptError(
            f"a volume descriptor has blocks of {block_bytes:,} bytes",
            origin=source.origin,
            offset=offset,
        )
    identifiers = _IDENTIFIERS.unpack_from(data, _IDENTIFIERS_OFFSET)
    # bit 0 of the flags: the sequence is not a registered one
    level = 0 if flags & 1 else JOLIET_ESCAPES.get(escapes[:3], 0)
    return VolumeDescriptor(
        offset,
        version,
        level if data[0] == _SUPPLEMENTARY else 0,
        block_bytes,
        blocks,
        set_size,
        sequence,
        table,
        table_bytes,
        root,
        {
            "volume": name,
            "system": system,
            "volume set": identifiers[0],
            "publisher": identifiers[1],
            "preparer": identifiers[2],
            "application": identifiers[3],
        },
        identifiers[7],
        identifiers[8],
    )


def _next_session(source: ByteSource, session: Session) -> Session | None:
    """Look for the session behind one; None if there is none.

    An ISO inside an appended partition looks like one, but its locations count from its own start.
    """
    first = max(session.ends[0], session.start + SYSTEM_AREA_SECTORS + 1)
    starts = _magic_sectors(source, first, session.ends[-1] + _GAP_SECTORS)
    for start in islice(starts, _MOST_TRIED):
        try:
            found = read_session(source, start)
        except CorruptError:
            continue
        if start * SECTOR_BYTES < found.primary.root_offset < source.size:
            return found
    return None


def _magic_sectors(source: ByteSource, first: int, last: int) -> Iterator[int]:
    """Yield sectors that a session may begin at: its 16th has the mark of a descriptor."""
    position = (first + SYSTEM_AREA_SECTORS) * SECTOR_BYTES
    end = min((last + SYSTEM_AREA_SECTORS) * SECTOR_BYTES, source.size)
    mark = bytes([_PRIMARY]) + MAGIC
    while position < end:
        data = bytes(source.read_at(position, min(_SCAN_BYTES, end - position)))
        at = data.find(mark)
        while at >= 0:
            if at % SECTOR_BYTES == 0:
                yield (position + at) // SECTOR_BYTES - SYSTEM_AREA_SECTORS
            at = data.find(mark, at + 1)
        position += _SCAN_BYTES
