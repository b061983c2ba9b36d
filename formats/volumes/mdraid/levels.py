"""From the members of an array to its bytes, level by level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource, MappedSource, Segment, slice_source
from formats.volumes.mdraid.members import Current, MdMember
from formats.volumes.mdraid.superblock import SECTOR_BYTES
from formats.volumes.raid.chunked import ChunkedSource
from formats.volumes.raid.layouts import RAID4, RAID5, RAID6, ParityLayout, raid10_layout
from formats.volumes.raid.striped import StripedSource

_CHUNK_MAX = 1 << 30
_ASSEMBLE = (
    "give all of its disks together, or assemble it on a machine that can and image the result:"
    " 'qemu-img convert -O qcow2 /dev/md… …'"
)
_RAID0_ORIGINAL, _RAID0_ALTERNATE = 1, 2

_LEVEL_NAMES = {-4: "multipath", -1: "linear", 0: "raid0", 1: "raid1", 10: "raid10"}


def level_name(level: int) -> str:
    """Return mdadm's word for a level."""
    return _LEVEL_NAMES.get(level, f"raid{level}")


def array_source(array: Current, limits: Limits, origin: Origin) -> ByteSource:
    """Return the bytes of an array.

    :raises UnsupportedError: for what is not read, by name, and if too many members are missing.
    :raises CorruptError: if the numbers of the superblock make no sense.
    :raises LimitError: if it is larger than the limits allow.
    """
    superblock = array.superblock
    if superblock.refused:
        raise UnsupportedError(
            f"is an array that {superblock.refused}, which is not read",
            origin=origin,
            hint=_ASSEMBLE,
        )
    read = _LEVELS.get(superblock.level)
    if read is None:
        raise UnsupportedError(
            f"is an array of the level '{level_name(superblock.level)}', which is not read",
            origin=origin,
            hint=_ASSEMBLE,
        )
    source = read(array, origin)
    if source.size > limits.disk_virtual_bytes:
        raise LimitError(
            f"has {source.size:,} bytes, more than the {limits.disk_virtual_bytes:,} allowed",
            origin=origin,
        )
    return source


def _data(member: MdMember, length: int, origin: Origin) -> ByteSource:
    """Return the first bytes of a member's data area."""
    own = member.superblock
    if length > own.data_bytes:
        raise CorruptError(
            f"{member.source.origin} gives {own.data_bytes:,} bytes to the array, of"
            f" {length:,} that it should",
            origin=origin,
        )
    return slice_source(member.source, own.data_offset, length, origin)


def _chunk(array: Current, origin: Origin) -> int:
    chunk = array.superblock.chunk_bytes
    if not SECTOR_BYTES <= chunk <= _CHUNK_MAX or chunk % SECTOR_BYTES:
        raise CorruptError(f"has chunks of {chunk:,} bytes", origin=origin)
    return chunk


def _all_members(array: Current, origin: Origin) -> list[MdMember]:
    """Return all members, none missing and none with bad blocks."""
    if array.missing:
        raise _too_few(array, origin)
    for member in array.present:
        if member.superblock.has_bad_blocks:
            raise _bad_blocks(member, origin)
    return array.present


def _too_few(array: Current, origin: Origin) -> UnsupportedError:
    missing = ", ".join(map(str, array.missing))
    return UnsupportedError(
        f"is a {level_name(array.superblock.level)} array of {array.superblock.members} members"
        f" that needs its members {missing}, which are missing or not up to date",
        origin=origin,
        hint=_ASSEMBLE,
    )


def _bad_blocks(member: MdMember, origin: Origin) -> UnsupportedError:
    return UnsupportedError(
        f"{member.source.origin} has bad blocks in its log, and no other member has their data",
        origin=origin,
        hint="look at them: 'mdadm --examine-badblocks'",
    )


def _linear(array: Current, origin: Origin) -> ByteSource:
    """One member behind the other, each as long as it is, in whole chunks if there are any."""
    segments: list[Segment] = []
    position = 0
    rounding = array.superblock.chunk_bytes or SECTOR_BYTES
    for member in _all_members(array, origin):
        length = member.superblock.data_bytes // rounding * rounding
        segments.append(Segment(position, length, _data(member, length, origin)))
        position += length
    return MappedSource(segments, origin)


def _raid0(array: Current, origin: Origin) -> ByteSource:
    """Zones: all members up to the end of the smallest, then those that go on, and so on.

    What the members' turns count from in the second zone was changed by accident in Linux 3.14
    (md(4), "RAID0"): from the start of the array before, from the start of the zone since. Since
    5.4 a superblock says which; an older array does not.
    """
    chunk = _chunk(array, origin)
    members = _all_members(array, origin)
    sizes = [member.superblock.data_bytes // chunk * chunk for member in members]
    ends = sorted(set(sizes))
    layout = array.superblock.layout
    if len(ends) > 1 and layout not in {_RAID0_ORIGINAL, _RAID0_ALTERNATE}:
        raise UnsupportedError(
            "is a raid0 array of members of different sizes that does not say in which of two"
            " layouts it is",
            origin=origin,
            hint="say it on a copy, if it is known: 'mdadm --assemble --update=layout-original' or"
            " 'layout-alternate'",
        )
    segments: list[Segment] = []
    position = start = 0
    for end in ends:
        zone = [
            slice_source(_data(member, size, origin), start, end - start, origin)
            for member, size in zip(members, sizes, strict=True)
            if size >= end
        ]
        if layout == _RAID0_ORIGINAL:
            turn = position // chunk % len(zone)
            zone = zone[turn:] + zone[:turn]
        length = (end - start) * len(zone)
        if length:
            segments.append(Segment(position, length, StripedSource(zone, chunk, origin)))
        position += length
        start = end
    return MappedSource(segments, origin)


def _raid1(array: Current, origin: Origin) -> ByteSource:
    """Return the first member in sync without bad blocks, as md does while members may differ."""
    if not array.present:
        raise _too_few(array, origin)
    clean = [member for member in array.present if not member.superblock.has_bad_blocks]
    if not clean:
        raise _bad_blocks(array.present[0], origin)
    return _data(clean[0], array.superblock.member_bytes, origin)


def _raid10(array: Current, origin: Origin) -> ByteSource:
    chunk = _chunk(array, origin)
    superblock = array.superblock
    layout = raid10_layout(superblock.layout)
    if layout is None or layout.copies > superblock.members:
        raise CorruptError(f"has the raid10 layout 0x{superblock.layout:x}", origin=origin)
    rows = superblock.member_bytes // chunk
    chunks = layout.chunks(rows, superblock.members)
    placement = layout.placement(rows, superblock.members)
    used = [
        member if member is not None and not member.superblock.has_bad_blocks else None
        for member in array.members
    ]
    # On which members a chunk's copies are comes round after as many chunks as there are members.
    for chunk_number in range(min(superblock.members, chunks)):
        if all(used[role] is None for role, _ in placement(chunk_number)):
            bad = [member for member in array.present if member.superblock.has_bad_blocks]
            raise _bad_blocks(bad[0], origin) if bad else _too_few(array, origin)
    return ChunkedSource(
        [_data(member, rows * chunk, origin) if member is not None else None for member in used],
        placement,
        chunk_bytes=chunk,
        chunks=chunks,
        origin=origin,
    )


def _parity(layouts: Mapping[int, ParityLayout]) -> Callable[[Current, Origin], ByteSource]:
    def read(array: Current, origin: Origin) -> ByteSource:
        superblock = array.superblock
        layout = layouts.get(superblock.layout)
        if layout is None:
            raise UnsupportedError(
                f"is a {level_name(superblock.level)} array with the layout {superblock.layout},"
                " which is not read",
                origin=origin,
                hint=_ASSEMBLE,
            )
        chunk = _chunk(array, origin)
        data_members = superblock.members - layout.parity
        if data_members < 1:
            raise CorruptError(f"has {superblock.members} members", origin=origin)
        rows = superblock.member_bytes // chunk
        members: Sequence[ByteSource] = [
            _data(member, rows * chunk, origin) for member in _all_members(array, origin)
        ]
        return ChunkedSource(
            members,
            layout.placement(superblock.members),
            chunk_bytes=chunk,
            chunks=rows * data_members,
            origin=origin,
        )

    return read


_LEVELS: Mapping[int, Callable[[Current, Origin], ByteSource]] = {
    -1: _linear,
    0: _raid0,
    1: _raid1,
    4: _parity({0: RAID4}),
    5: _parity(RAID5),
    6: _parity(RAID6),
    10: _raid10,
}
