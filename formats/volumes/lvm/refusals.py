"""Which logical volumes are not read, and what is said of each."""

from __future__ import annotations

from formats.core.errors import UnsupportedError
from formats.core.origin import Origin
from formats.volumes.lvm.metadata import LogicalVolume, LvSegment, VolumeGroup

READ_KINDS = frozenset({"striped", "linear", "zero"})

# Segment type → what such a volume is. {name} is a text key of the segment.
_KINDS: dict[str, str] = {
    "cache": "a cached volume (cache '{cache_pool}')",
    "cache-pool": "a cache pool",
    "error": "a volume of errors, put in place of a lost disk",
    "integrity": "a volume with dm-integrity",
    "mirror": "a mirrored volume",
    "thin": "a thin volume of the pool '{thin_pool}'",
    "thin-pool": "a thin pool",
    "vdo": "a deduplicated volume of the VDO pool '{vdo_pool}'",
    "vdo-pool": "a VDO pool",
    "writecache": "a volume with a write cache",
}

POOL_KINDS = frozenset({"cache-pool", "thin-pool", "vdo-pool"})
"""Volumes that only hold others."""

SNAPSHOT_KIND = "snapshot"
"""The hidden volume that ties an old-style snapshot's store to its origin."""


def snapshot_problem(
    group: VolumeGroup, volume: LogicalVolume, origin: Origin
) -> UnsupportedError | None:
    """Return why a volume is not read because of an old-style snapshot; None if it can be.

    The origin of a snapshot is whole in itself. Its store is not, and the origin is not while a
    snapshot is being merged back into it.
    """
    for other in group.logical.values():
        for segment in other.segments:
            if segment.kind != SNAPSHOT_KIND:
                continue
            of = segment.values.get("origin", "")
            merging = segment.values.get("merging_store")
            if volume.name in {segment.values.get("cow_store"), merging}:
                return _refusal(group, volume, f"a snapshot of '{of}'", origin)
            if merging is not None and volume.name == of:
                what = f"being reverted to its snapshot '{merging}'"
                return _refusal(group, volume, what, origin)
    return None


def kind_problem(
    group: VolumeGroup, volume: LogicalVolume, origin: Origin
) -> UnsupportedError | None:
    """Return why a volume is not read because of what its segments are; None if they all are."""
    for segment in volume.segments:
        if segment.kind not in READ_KINDS or segment.flags:
            return _refusal(group, volume, _described(segment), origin)
        for name, _ in segment.areas:
            if name not in group.physical:
                what = f"made of the volume '{name}' (by pvmove, for one)"
                return _refusal(group, volume, what, origin)
    return None


def _described(segment: LvSegment) -> str:
    if segment.kind.startswith("raid"):
        return f"a RAID volume ({segment.kind})"
    known = _KINDS.get(segment.kind)
    if known is None or (segment.flags and segment.kind in READ_KINDS):
        return f"of the type '{'+'.join((segment.kind, *segment.flags))}'"
    head, brace, rest = known.partition("{")
    if not brace:
        return known
    key, _, tail = rest.partition("}")
    return f"{head}{segment.values.get(key, '')}{tail}"


def _refusal(
    group: VolumeGroup, volume: LogicalVolume, what: str, origin: Origin
) -> UnsupportedError:
    return UnsupportedError(
        f"is {what}, which is not read",
        origin=origin,
        hint="activate it on a machine with LVM and image it: "
        f"'qemu-img convert -O qcow2 /dev/{group.name}/{volume.name} …'",
    )
