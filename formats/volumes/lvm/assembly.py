"""One volume group put together: from logical volumes to ranges of the disks that are there."""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    CorruptError,
    LimitError,
    UnsupportedError,
)
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.reader import OpenContext, Role, Volume
from formats.core.source import ByteSource, MappedSource, MemorySource, Segment, slice_source
from formats.volumes.lvm.metadata import LogicalVolume, LvSegment, VolumeGroup
from formats.volumes.lvm.raid import RAID_KINDS, data_images, raid_images, raid_source
from formats.volumes.lvm.refusals import (
    POOL_KINDS,
    SNAPSHOT_KIND,
    kind_refusal,
    refusal,
    snapshot_refusals,
)
from formats.volumes.raid.striped import StripedSource

_DEPTH_MAX = 8
"""Volumes inside volumes: a mirror of RAID images over a move in progress is four."""


class Assembly:
    """A volume group and the disks that were found of it.

    :param disks: of each physical volume's UUID, every disk that says it is it.
    :param told_by: what volumes without a disk are shown under.
    :param is_unique: no other group has the name, so that device names are certain.
    """

    def __init__(
        self,
        group: VolumeGroup,
        disks: dict[str, list[ByteSource]],
        told_by: Origin,
        context: OpenContext,
        *,
        is_unique: bool,
    ) -> None:
        self.group = group
        self.is_unique = is_unique
        self._context = context
        self._disks = disks
        self._snapshots = snapshot_refusals(group)
        self._told_by = told_by
        self._opening: list[str] = []
        self._parts: dict[str, ByteSource | ConvertError] = {}
        self._lacking: list[str] = []

    def facts(self) -> dict[str, str]:
        """Return what is worth showing of the group."""
        group = self.group
        here = sum(pv.uuid in self._disks for pv in group.physical.values())
        state = ", exported" if group.is_exported else ""
        hidden = sum(map(self._is_hidden, group.logical.values()))
        parts = f", {hidden} volumes that are parts of others" if hidden else ""
        return {
            group.name: f"{here} of {len(group.physical)} disks,"
            f" metadata {group.seqno}{state}{parts}"
        }

    def _is_hidden(self, volume: LogicalVolume) -> bool:
        """Tell whether a volume is a part of others.

        The store of a snapshot is not marked as visible and is what users see as the snapshot;
        with the volume that ties it to its origin it is the other way round.
        """
        if any(segment.kind == SNAPSHOT_KIND for segment in volume.segments):
            return True
        return not volume.is_visible and volume.name not in self._snapshots

    def volumes(self) -> Iterator[Volume]:
        """Yield the volumes that users see."""
        for volume in self.group.logical.values():
            if not self._is_hidden(volume):
                yield self._volume(volume)

    def _volume(self, volume: LogicalVolume) -> Volume:
        group = self.group
        prefix = group.name if self.is_unique else f"{group.name}@{group.uuid}"
        label = f"{prefix}/{volume.name}"
        origin = (self._home(volume) or self._told_by).child(f"lvm:{label}")
        source: ByteSource = MemorySource(b"", origin)
        problem: ConvertError | None = None
        self._lacking.clear()
        try:
            source = self._source(volume, origin)
        except ConvertError as error:
            problem = error.at(origin)
        else:
            self._note_lacking(origin)
        kinds = {segment.kind for segment in volume.segments}
        return Volume(
            source,
            label,
            role=Role.RESERVED if kinds & POOL_KINDS else Role.DATA,
            uuid=volume.uuid,
            device_names=_device_names(group, volume) if self.is_unique else (),
            problem=problem,
        )

    def _note_lacking(self, origin: Origin) -> None:
        if self._lacking:
            evidence = f"read without some of its images: {'; '.join(self._lacking)}"
            place = str(origin).encode()
            self._context.note(Finding("array-degraded", place, Action.REPORTED, evidence))

    def _home(self, volume: LogicalVolume) -> Origin | None:
        """Return the disk that a volume is shown under: the first that it has extents on."""
        seen = {volume.name}
        pending = [volume]
        while pending:
            inner: list[LogicalVolume] = []
            for name in (name for item in pending.pop().segments for name, _ in item.areas):
                pv = self.group.physical.get(name)
                if pv is not None and pv.uuid in self._disks:
                    return self._disks[pv.uuid][0].origin
                if name in self.group.logical and name not in seen:
                    seen.add(name)
                    inner.append(self.group.logical[name])
            pending += reversed(inner)
        return None

    def _source(self, volume: LogicalVolume, origin: Origin) -> ByteSource:
        """Return the bytes of a volume.

        :raises UnsupportedError: for a kind of volume that is not read, or a missing disk.
        :raises AmbiguousError: if two disks say that they are the same physical volume.
        :raises CorruptError: if it lies outside of its disks.
        """
        snapshot = self._snapshots.get(volume.name)
        problem = (
            refusal(self.group, volume, snapshot, origin)
            if snapshot is not None
            else kind_refusal(self.group, volume, origin)
        )
        if problem is not None:
            raise problem
        limit = self._context.limits.disk_virtual_bytes
        if volume.extents * self.group.extent_bytes > limit:
            raise LimitError(
                f"has {volume.extents * self.group.extent_bytes:,} bytes, more than the"
                f" {limit:,} allowed",
                origin=origin,
            )
        return MappedSource([self._segment(item, origin) for item in volume.segments], origin)

    def _segment(self, segment: LvSegment, origin: Origin) -> Segment:
        size = self.group.extent_bytes
        offset, length = segment.start * size, segment.count * size
        if segment.kind == "zero":
            return Segment(offset, length, None)
        if segment.kind in RAID_KINDS:
            return Segment(offset, length, self._raid(segment, length, origin))
        if segment.kind == "mirror":
            # The first leg takes every write, and the others are brought up to date from it.
            name, extent = segment.areas[0]
            return Segment(offset, length, self._leg(name, extent, segment.count, origin))
        leg_extents, rest = divmod(segment.count, len(segment.areas))
        if rest:
            raise CorruptError(
                f"{segment.count} extents cannot be dealt out to {len(segment.areas)} stripes",
                origin=origin,
            )
        legs = [self._leg(name, extent, leg_extents, origin) for name, extent in segment.areas]
        source = legs[0] if len(legs) == 1 else StripedSource(legs, segment.stripe_bytes, origin)
        return Segment(offset, length, source)

    def _raid(self, segment: LvSegment, length: int, origin: Origin) -> ByteSource:
        if segment.unknown:
            raise UnsupportedError(
                f"is a RAID volume with '{segment.unknown[0]}', as after a reshape, which is not"
                " read",
                origin=origin,
            )
        images = raid_images(segment, lambda name: self._part(name, origin), origin)
        share, parts = data_images(segment)
        if parts < 1 or length * share % parts:
            raise CorruptError(
                f"{segment.count} extents cannot be dealt out to {len(segment.areas)} images",
                origin=origin,
            )
        image_bytes = length * share // parts
        for source in images.sources:
            if source is not None and source.size < image_bytes:
                raise CorruptError(
                    f"has an image of {source.size:,} bytes, of {image_bytes:,} that it needs",
                    origin=origin,
                )
        self._lacking += images.lacking
        return raid_source(segment, images, length, image_bytes, origin)

    def _part(self, name: str, origin: Origin) -> ByteSource:
        """Return the bytes of a volume that is a part of another one; each is opened once.

        :raises CorruptError: if there is none of that name, or it is a part of itself.
        """
        known = self._parts.get(name)
        if known is None:
            volume = self.group.logical.get(name)
            if volume is None or name in self._opening or len(self._opening) >= _DEPTH_MAX:
                raise CorruptError(
                    f"is made of the volume '{name}', which cannot be", origin=origin
                )
            self._opening.append(name)
            try:
                known = self._source(volume, origin)
            except ConvertError as error:
                known = error
            finally:
                self._opening.pop()
            self._parts[name] = known
        if isinstance(known, ConvertError):
            raise known
        return known

    def _leg(self, name: str, extent: int, count: int, origin: Origin) -> ByteSource:
        size = self.group.extent_bytes
        pv = self.group.physical.get(name)
        if pv is None:
            return slice_source(self._part(name, origin), extent * size, count * size, origin)
        if extent + count > pv.extents:
            raise CorruptError(
                f"ends at extent {extent + count:,} of a physical volume of {pv.extents:,}",
                origin=origin,
            )
        disks = self._disks.get(pv.uuid, [])
        if not disks:
            device = f" ({pv.device} on that machine)" if pv.device else ""
            raise UnsupportedError(
                f"needs the physical volume {pv.uuid}{device}, which is not among the disks given",
                origin=origin,
                hint="give all disks of the machine together",
            )
        if len(disks) > 1:
            raise AmbiguousError(
                f"{disks[0].origin} and {disks[1].origin} both are the physical volume {pv.uuid}",
                origin=origin,
                hint="give only one of the copies",
            )
        return slice_source(disks[0], pv.start + extent * size, count * size, origin)


def _device_names(group: VolumeGroup, volume: LogicalVolume) -> tuple[str, ...]:
    """Return the names that udev gives, as lvm(8) and dmsetup(8) describe them."""
    mapped = f"{group.name.replace('-', '--')}-{volume.name.replace('-', '--')}"
    ids = f"{group.uuid}{volume.uuid}".replace("-", "")
    return (
        f"mapper/{mapped}",
        f"{group.name}/{volume.name}",
        f"disk/by-id/dm-name-{mapped}",
        f"disk/by-id/dm-uuid-LVM-{ids}",
    )
