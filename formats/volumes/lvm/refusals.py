"""Which logical volumes are not read, and what is said of each."""

from __future__ import annotations

from formats.core.errors import UnsupportedError
from formats.core.origin import Origin
from formats.volumes.lvm.metadata import LogicalVolume, LvSegment, VolumeGroup
from formats.volumes.lvm.raid import RAID_KINDS

READ_KINDS = frozenset({"striped", "linear", "mirror", "zero", *RAID_KINDS})

# Segment type → what such a volume is. {name} is a text key of the segment.
_KINDS: dict[str, str] = {
    "cache": "a cached volume (cache '{cache_pool}')",
    "cache-pool": "a cache pool",
    "error": "a volume of errors, put in place of a lost disk",
    "integrity": "a volume with dm-integrity",
    "thin": "a thin volume of the pool '{thin_pool}'",
    "thin-pool": "a thin pool",
    "vdo": "a deduplicated volume of the VDO pool '{vdo_pool}'",
    "vdo-pool": "a VDO pool",
    "writecache": "a volume with a write cache",
}

POOL_KINDS = frozenset({"cache-pool", "thin-pool", "vdo-pool"})
"""Volumes that only hold others."""

_HINTS = {
    "error": "what it held was on a disk that the volume group no longer has",
    **dict.fromkeys(POOL_KINDS, "it only holds other volumes: convert the one you mean"),
}
"""Segment types for which activating the volume elsewhere is not the way out."""

SNAPSHOT_KIND = "snapshot"
"""The hidden volume that ties an old-style snapshot's store to its origin."""


def snapshot_refusals(group: VolumeGroup) -> dict[str, str]:
    """Return what is said of each volume that an old-style snapshot keeps from being read, by name.

    The origin of a snapshot is whole in itself. Its store is not, and the origin is not while a
    snapshot is being merged back into it.
    """
    refused: dict[str, str] = {}
    for volume in group.logical.values():
        for segment in volume.segments:
            if segment.kind != SNAPSHOT_KIND:
                continue
            origin = segment.values.get("origin", "")
            merging = segment.values.get("merging_store")
            store = merging or segment.values.get("cow_store", "")
            refused[store] = f"a snapshot of '{origin}'"
            if merging:
                refused[origin] = f"being reverted to its snapshot '{merging}'"
    return refused


def kind_refusal(
    group: VolumeGroup, volume: LogicalVolume, origin: Origin
) -> UnsupportedError | None:
    """Return why a volume is not read because of what its segments are; None if they all are."""
    for segment in volume.segments:
        if segment.kind not in READ_KINDS or segment.flags:
            hint = _HINTS.get(segment.kind)
            return refusal(group, volume, _described(segment), origin, hint)
    return None


def _described(segment: LvSegment) -> str:
    known = _KINDS.get(segment.kind)
    if known is None:
        return f"of the type '{'+'.join((segment.kind, *segment.flags))}'"
    head, brace, rest = known.partition("{")
    if not brace:
        return known
    key, _, tail = rest.partition("}")
    return f"{head}{segment.values.get(key, '')}{tail}"


def refusal(
    group: VolumeGroup, volume: LogicalVolume, what: str, origin: Origin, hint: str | None = None
) -> UnsupportedError:
    """Return the error that says what a volume is; the usual hint is to activate it elsewhere."""
    activate = (
        "activate it on a machine with LVM and image it: "
        f"'qemu-img convert -O qcow2 /dev/{group.name}/{volume.name} …'"
    )
    return UnsupportedError(f"is {what}, which is not read", origin=origin, hint=hint or activate)
