"""RAID volumes of LVM: sub-volumes with data, and beside each one with dm-raid's superblock.

Types are those of lvmraid(7), layouts those of md, which does the work underneath. The superblock
is what tells an image that was left behind from one that is up to date: LVM's own metadata does not
change when a disk is away for a while.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from formats.core.errors import AmbiguousError, CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import ByteSource, slice_source
from formats.volumes.lvm.metadata import LvSegment
from formats.volumes.raid.chunked import ChunkedSource
from formats.volumes.raid.layouts import RAID5, RAID6, Placement, Raid10Layout
from formats.volumes.raid.striped import StripedSource

# Type → number of the layout in md. RAID 4 has its parity first here, which md calls a layout of
# RAID 5.
_RAID5_KINDS = {
    "raid4": 4,
    "raid5": 2,
    "raid5_la": 0,
    "raid5_ra": 1,
    "raid5_ls": 2,
    "raid5_rs": 3,
    "raid5_n": 5,
}
_RAID6_KINDS = {
    "raid6": 8,
    "raid6_zr": 8,
    "raid6_nr": 9,
    "raid6_nc": 10,
    "raid6_n_6": 5,
    "raid6_la_6": 16,
    "raid6_ra_6": 17,
    "raid6_ls_6": 18,
    "raid6_rs_6": 19,
}
_PARITY_LAYOUTS = {
    **{kind: RAID5[number] for kind, number in _RAID5_KINDS.items()},
    **{kind: RAID6[number] for kind, number in _RAID6_KINDS.items()},
}
_MIRRORED = frozenset({"raid1", "raid10", "raid10_near"})
_STRIPED = frozenset({"raid0", "raid0_meta"})

RAID_KINDS = frozenset({*_MIRRORED, *_STRIPED, *_PARITY_LAYOUTS})
"""Types that are read."""

_MAGIC = b"DmRd"
# Magic, features, images, own position; events, failed images, recovery and resync offset.
_SUPERBLOCK = struct.Struct("<4sIIIQQQQ")
_FLAGS = struct.Struct("<I")
_FLAGS_OFFSET = 60
_RESHAPING = 1
_HAS_FLAGS = 1
_DONE = (1 << 64) - 1
_FAILED_BITS = 64

Opened = Callable[[str], ByteSource]
"""Returns the bytes of a sub-volume.

:raises UnsupportedError: if it is on a disk that is missing, or of a kind that is not read.
"""


@dataclass(frozen=True, slots=True)
class _Superblock:
    position: int
    events: int
    failed: int
    is_rebuilt: bool
    is_reshaping: bool


@dataclass(frozen=True, slots=True)
class RaidImages:
    """The images of a RAID volume.

    :ivar sources: by position; None for those that are missing or not up to date.
    :ivar lacking: what is said of each of these.
    """

    sources: tuple[ByteSource | None, ...]
    lacking: tuple[str, ...]


def raid_images(segment: LvSegment, open_image: Opened, origin: Origin) -> RaidImages:
    """Return the images that are up to date.

    :raises UnsupportedError: while the volume is being reshaped.
    :raises CorruptError: if a superblock is not of this image.
    """
    superblocks: list[_Superblock | None] = []
    sources: list[ByteSource | None] = []
    lacking: list[str] = []
    for position, (image, _) in enumerate(segment.areas):
        try:
            source = open_image(image)
            meta = open_image(segment.metas[position]) if segment.metas else None
        except AmbiguousError:
            raise
        except UnsupportedError as error:
            lacking.append(f"'{image}' {error.message}")
            sources.append(None)
            superblocks.append(None)
            continue
        sources.append(source)
        superblocks.append(_read(meta, position) if meta is not None else None)
    known = [superblock for superblock in superblocks if superblock is not None]
    if any(superblock.is_reshaping for superblock in known):
        raise UnsupportedError("is being reshaped, which is not read", origin=origin)
    if known:  # without any, nothing has been written since the volume was made
        newest = max(known, key=lambda superblock: superblock.events)
        _refuse_rivals(known, newest, origin)
        for position, (image, _) in enumerate(segment.areas):
            reason = _why_not(superblocks[position], newest, position)
            if sources[position] is not None and reason:
                sources[position] = None
                lacking.append(f"'{image}' {reason}")
    return RaidImages(tuple(sources), tuple(lacking))


def _refuse_rivals(known: Sequence[_Superblock], newest: _Superblock, origin: Origin) -> None:
    """Refuse two halves that went on without each other for as long: neither is older."""
    for other in known:
        if other.events == newest.events and other.failed >> newest.position & 1:
            raise AmbiguousError(
                f"image {other.position} says that image {newest.position} failed, and both are"
                " equally new",
                origin=origin,
                hint="give only the disks that were in use last",
            )


def _read(meta: ByteSource, position: int) -> _Superblock | None:
    """Return the superblock of an image; None if none was written yet."""
    data = bytes(meta.read_at(0, 512))
    if len(data) < _FLAGS_OFFSET + _FLAGS.size or not data.startswith(_MAGIC):
        return None
    _, features, _, own, events, failed, recovery, _ = _SUPERBLOCK.unpack_from(data)
    (flags,) = _FLAGS.unpack_from(data, _FLAGS_OFFSET)
    if own != position:
        raise CorruptError(
            f"holds the RAID superblock of image {own}, not of {position}", origin=meta.origin
        )
    is_reshaping = bool(features & _HAS_FLAGS and flags & _RESHAPING)
    return _Superblock(own, events, failed, recovery == _DONE, is_reshaping)


def _why_not(own: _Superblock | None, newest: _Superblock, position: int) -> str:
    """Return why an image is not up to date; empty if it is."""
    if own is None:
        return "has no RAID superblock yet"
    if position < _FAILED_BITS and newest.failed >> position & 1:
        return "failed"
    if not own.is_rebuilt:
        return "was being rebuilt"
    if own.events < newest.events:
        return f"is stale: {own.events:,} events of {newest.events:,}"
    return ""


def raid_source(
    segment: LvSegment, images: RaidImages, length: int, image_bytes: int, origin: Origin
) -> ByteSource:
    """Return the bytes of a RAID segment.

    :param length: of the segment, in bytes.
    :param image_bytes: what each image gives to it.
    :raises UnsupportedError: if images are missing that are needed.
    :raises CorruptError: if numbers of the segment contradict each other.
    """
    if segment.kind == "raid1":
        for source in images.sources:
            if source is not None:
                return slice_source(source, 0, length, origin)
        raise _lacking(images, origin)
    chunk = segment.stripe_bytes
    if segment.kind in _STRIPED:
        sources = _all(images, origin)
        legs = [slice_source(source, 0, image_bytes, origin) for source in sources]
        return legs[0] if len(legs) == 1 else StripedSource(legs, chunk, origin)
    if not chunk:
        raise CorruptError(f"has {len(segment.areas)} images and no chunks", origin=origin)
    rows = image_bytes // chunk
    placement = _placement(segment, images, rows, origin)
    whole = ChunkedSource(
        images.sources,
        placement,
        chunk_bytes=chunk,
        chunks=-(-length // chunk),
        origin=origin,
    )
    return slice_source(whole, 0, length, origin)


def _placement(segment: LvSegment, images: RaidImages, rows: int, origin: Origin) -> Placement:
    """Return where chunks are, if all of them can be read."""
    count = len(segment.areas)
    parity = _PARITY_LAYOUTS.get(segment.kind)
    if parity is not None:
        _all(images, origin)
        return parity.placement(count)
    if segment.copies > count:
        raise CorruptError(f"has {segment.copies} copies on {count} images", origin=origin)
    layout = Raid10Layout(near=segment.copies, far=1, is_offset=False, has_sets=False)
    placement = layout.placement(rows, count)
    for chunk in range(count):  # which images have the copies of a chunk comes round after these
        if all(images.sources[position] is None for position, _ in placement(chunk)):
            raise _lacking(images, origin)
    return placement


def data_images(segment: LvSegment) -> tuple[int, int]:
    """Return how many times an image is as long as the segment, as a fraction."""
    count = len(segment.areas)
    if segment.kind == "raid1":
        return 1, 1
    if segment.kind in _STRIPED:
        return 1, count
    parity = _PARITY_LAYOUTS.get(segment.kind)
    return (1, count - parity.parity) if parity is not None else (segment.copies, count)


def _all(images: RaidImages, origin: Origin) -> list[ByteSource]:
    present = [source for source in images.sources if source is not None]
    if len(present) != len(images.sources):
        raise _lacking(images, origin)
    return present


def _lacking(images: RaidImages, origin: Origin) -> UnsupportedError:
    return UnsupportedError(
        f"lacks images that it cannot be read without: {'; '.join(images.lacking)}",
        origin=origin,
        hint="give all disks of the machine together, or activate it on a machine with LVM",
    )
