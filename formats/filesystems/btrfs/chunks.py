"""Chunks: where on which devices a range of logical addresses is.

"On-disk Format", sections "Chunk tree" and "CHUNK_ITEM"; mkfs.btrfs(8), PROFILES.
"""

from __future__ import annotations

import bisect
import struct
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.filesystems.btrfs.items import CHUNK_ITEM, KEY

_CHUNK = struct.Struct("<QQQQ3I2H")  # length, owner, stripe length, type, …, stripes, sub-stripes
_STRIPE = struct.Struct("<QQ16s")  # device's number, offset, device's UUID
STRIPE_BYTES = 64 << 10
"""How much goes to one device before it is the next one's turn; the kernel knows no other."""

_DATA, _SYSTEM, _METADATA = 1, 2, 4
_MOST_BYTES = 1 << 60


class Stripe(NamedTuple):
    """A range of one device that belongs to a chunk."""

    device_id: int
    offset: int
    device_uuid: uuid.UUID


class Profile(NamedTuple):
    """How a chunk's content is dealt out to its stripes.

    :ivar copies: how many stripes have the same; 0 for all of them.
    :ivar parity: how many stripes of a row are parity.
    :ivar fewest: stripes.
    """

    name: str
    copies: int
    parity: int
    fewest: int


_SINGLE = Profile("single", 0, 0, 1)
_PROFILES = {
    0: _SINGLE,
    1 << 3: Profile("RAID0", 1, 0, 1),
    1 << 4: Profile("RAID1", 0, 0, 2),
    1 << 5: Profile("DUP", 0, 0, 2),
    1 << 6: Profile("RAID10", 2, 0, 2),
    1 << 7: Profile("RAID5", 1, 1, 2),
    1 << 8: Profile("RAID6", 1, 2, 3),
    1 << 9: Profile("RAID1C3", 0, 0, 3),
    1 << 10: Profile("RAID1C4", 0, 0, 4),
}
_PROFILE_MASK = sum(_PROFILES)


class Place(NamedTuple):
    """Adjoining bytes that are whole on each of some stripes.

    :ivar length: bytes.
    :ivar copies: device's number and offset on it, of each copy.
    """

    length: int
    copies: tuple[tuple[int, int], ...]


class Chunk(NamedTuple):
    """A range of logical addresses."""

    logical: int
    length: int
    profile: Profile
    is_data_only: bool
    stripes: tuple[Stripe, ...]

    def place(self, skip: int) -> Place:
        """Return where the byte ``skip`` bytes into the chunk is, and what adjoins it there."""
        profile, stripes = self.profile, self.stripes
        if not profile.copies:
            copies = tuple((stripe.device_id, stripe.offset + skip) for stripe in stripes)
            return Place(self.length - skip, copies)
        number, inside = divmod(skip, STRIPE_BYTES)
        row, column = divmod(number, (len(stripes) - profile.parity) // profile.copies)
        first = column * profile.copies
        if profile.parity:  # which moves on by one device with each row
            first = (column + row) % len(stripes)
        offset = row * STRIPE_BYTES + inside
        copies = tuple(
            (stripe.device_id, stripe.offset + offset)
            for stripe in stripes[first : first + profile.copies]
        )
        return Place(STRIPE_BYTES - inside, copies)

    @property
    def device_bytes(self) -> int:
        """How much of each stripe's device belongs to it."""
        columns = (len(self.stripes) - self.profile.parity) // (self.profile.copies or 1)
        return self.length if not self.profile.copies else -(-self.length // columns)

    def is_readable(self, is_there: Callable[[int], bool]) -> bool:
        """Tell whether all of it can be read from the devices that are there."""
        here = [is_there(stripe.device_id) for stripe in self.stripes]
        group = self.profile.copies or len(here)
        return all(any(here[at : at + group]) for at in range(0, len(here), group))


def parse_chunk(logical: int, data: bytes, origin: Origin) -> Chunk:
    """Return the chunk of a chunk item.

    :raises CorruptError: if a value is impossible.
    """
    if len(data) < _CHUNK.size:
        raise _damaged(logical, "its item is cut short", origin)
    length, _, stripe_bytes, flags, *_, count, sub_stripes = _CHUNK.unpack_from(data)
    profile = _PROFILES.get(flags & _PROFILE_MASK)
    if profile is None or not flags & (_DATA | _SYSTEM | _METADATA):
        raise _damaged(logical, f"it has type {flags:#x}", origin)
    if not 0 < length <= _MOST_BYTES or logical + length > 1 << 64:
        raise _damaged(logical, f"it has {length:,} bytes", origin)
    if len(data) != _CHUNK.size + count * _STRIPE.size:
        raise _damaged(logical, f"{count} stripes do not fill its item", origin)
    if count < profile.fewest or (not profile.copies and profile is _SINGLE and count != 1):
        raise _damaged(logical, f"it is {profile.name} with {count} stripes", origin)
    if profile.copies and stripe_bytes != STRIPE_BYTES:
        raise _damaged(logical, f"its stripes have {stripe_bytes:,} bytes", origin)
    if profile.copies > 1 and (sub_stripes != profile.copies or count % profile.copies):
        raise _damaged(logical, f"it has {count} stripes in groups of {sub_stripes}", origin)
    stripes = tuple(
        Stripe(device_id, offset, uuid.UUID(bytes=identity))
        for device_id, offset, identity in _STRIPE.iter_unpack(data[_CHUNK.size :])
    )
    return Chunk(logical, length, profile, not flags & (_SYSTEM | _METADATA), stripes)


def chunks_of_array(array: bytes, origin: Origin) -> Iterator[Chunk]:
    """Yield the system chunks that a superblock brings along.

    :raises CorruptError: if they are damaged.
    """
    position = 0
    while position < len(array):
        start = position + KEY.size
        if start + _CHUNK.size > len(array):
            raise CorruptError("the system chunks in the superblock are cut short", origin=origin)
        _, kind, logical = KEY.unpack_from(array, position)
        (count,) = struct.unpack_from("<H", array, start + 44)
        position = start + _CHUNK.size + count * _STRIPE.size
        if kind != CHUNK_ITEM:
            raise CorruptError(
                f"among the system chunks in the superblock is an item of kind {kind}",
                origin=origin,
            )
        yield parse_chunk(logical, array[start:position], origin)


def _damaged(logical: int, what: str, origin: Origin) -> CorruptError:
    return CorruptError(f"the chunk at logical address {logical:,}: {what}", origin=origin)


class ChunkMap:
    """All chunks of a filesystem, by logical address.

    :raises CorruptError: if two overlap.
    """

    def __init__(self, chunks: list[Chunk], origin: Origin) -> None:
        self._origin = origin
        self.chunks = sorted(chunks, key=lambda chunk: chunk.logical)
        self._starts = [chunk.logical for chunk in self.chunks]
        end = 0
        for chunk in self.chunks:
            if chunk.logical < end:
                raise _damaged(chunk.logical, "it overlaps with another", origin)
            end = chunk.logical + chunk.length

    def places(self, logical: int, length: int) -> Iterator[Place]:
        """Yield where a range of logical addresses is, piece by piece.

        :raises CorruptError: where no chunk is.
        """
        while length > 0:
            index = bisect.bisect_right(self._starts, logical) - 1
            chunk = self.chunks[index] if index >= 0 else None
            if chunk is None or logical >= chunk.logical + chunk.length:
                raise CorruptError(
                    f"no chunk has the logical address {logical:,}", origin=self._origin
                )
            available, copies = chunk.place(logical - chunk.logical)
            count = min(length, available, chunk.logical + chunk.length - logical)
            yield Place(count, copies)
            logical += count
            length -= count

    def profiles(self) -> str:
        """Return the names of all profiles, for people."""
        return " ".join(sorted({chunk.profile.name for chunk in self.chunks}))
