"""The LVM2 reader: each disk is a member; all members together give the logical volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    CorruptError,
    LimitError,
    UnsupportedError,
)
from formats.core.finding import Action, Finding
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.core.reader import (
    Category,
    Member,
    OpenContext,
    ReaderDoc,
    Role,
    Signature,
    Volume,
    Volumes,
)
from formats.core.source import ByteSource, MappedSource, MemorySource, Segment, slice_source
from formats.volumes.lvm.label import (
    LABEL_MAGIC,
    LABEL_SECTORS,
    SECTOR_BYTES,
    PvLabel,
    label_sector,
    metadata_text,
    read_label,
)
from formats.volumes.lvm.metadata import LogicalVolume, LvSegment, VolumeGroup, parse_group
from formats.volumes.lvm.refusals import (
    POOL_KINDS,
    SNAPSHOT_KIND,
    kind_refusal,
    refusal,
    snapshot_refusals,
)
from formats.volumes.partition import check_count
from formats.volumes.raid.striped import StripedSource

_METADATA_BYTES_MAX = MIB
"""Some 2000 logical volumes. The area that vgcreate makes is as large, and holds two copies."""
_GROUP = "lvm"
"""All physical volumes are one set to the opener: one without metadata of its own does not know
which volume group it is in, and only the other members can tell."""


@dataclass(frozen=True, slots=True)
class _Physical:
    """A physical volume that was found.

    :ivar groups: the volume group as each usable copy of its metadata has it.
    :ivar damage: what was wrong with the others.
    """

    label: PvLabel
    source: ByteSource
    groups: tuple[VolumeGroup, ...]
    damage: tuple[CorruptError, ...]


class LvmReader:
    """The reader; see the package's documentation."""

    name = "lvm"
    category = Category.VOLUMES
    signatures = tuple(
        Signature(sector * SECTOR_BYTES, LABEL_MAGIC) for sector in range(LABEL_SECTORS)
    )
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "LVM2 physical volume",
        specification="lvm.conf(5), pvck(8), lvmraid(7)",
        reads="linear and striped volumes over one or several disks, origins of snapshots",
        refuses="thin, cached, mirrored, RAID, VDO, integrity and snapshot volumes, each by name",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether one of the first four sectors holds an LVM2 label."""
        return label_sector(source) is not None

    def open(self, source: ByteSource, context: OpenContext) -> Member:
        """Read the label and all copies of the metadata of one physical volume.

        :raises CorruptError: if the label is damaged. Damaged metadata is a finding: another copy,
            here or on another disk, may be whole.
        """
        label = read_label(source)
        limit = min(context.limits.descriptor_bytes, _METADATA_BYTES_MAX)
        groups: dict[str, VolumeGroup] = {}
        damage: list[CorruptError] = []
        for offset, size in label.areas:
            try:
                text = metadata_text(source, offset, size, limit)
                if text is not None and text not in groups:
                    groups[text] = parse_group(text, source.origin)
            except CorruptError as error:
                damage.append(error)
                context.note(
                    _finding("lvm-metadata-copy", source.origin, f"{error}; other copies are used")
                )
        names = sorted({group.name for group in groups.values()})
        facts = {"pv-uuid": label.uuid, "volume-group": ", ".join(names) or "not stated here"}
        detail = _Physical(label, source, tuple(groups.values()), tuple(damage))
        return Member(_GROUP, source, detail, facts)

    def assemble(self, members: Sequence[Member], context: OpenContext) -> Volumes:
        """Return the logical volumes of all volume groups, those that users see."""
        found = [item.detail for item in members if isinstance(item.detail, _Physical)]
        groups = _newest_groups(found)
        names = [group.name for group in groups]
        volumes: list[Volume] = []
        facts: dict[str, str] = {}
        for group in groups:
            # A cloned machine's disk has the same names and other UUIDs.
            is_unique = names.count(group.name) == 1
            assembly = _Assembly(group, found, context.limits, is_unique=is_unique)
            for volume in assembly.volumes():
                volumes.append(volume)
                check_count(len(volumes), context.limits, found[0].source.origin)
            facts |= assembly.facts()
        claimed = {pv.uuid for group in groups for pv in group.physical.values()}
        for physical in found:
            if physical.label.uuid not in claimed:
                volumes += _unclaimed(physical, context)
        return Volumes(tuple(volumes), facts)


def _newest_groups(found: Sequence[_Physical]) -> list[VolumeGroup]:
    """Return each volume group as its newest copy has it, by name."""
    newest: dict[str, VolumeGroup] = {}
    for physical in found:
        for group in physical.groups:
            known = newest.get(group.uuid)
            if known is None or group.seqno > known.seqno:
                newest[group.uuid] = group
    return sorted(newest.values(), key=lambda group: (group.name, group.uuid))


def _unclaimed(physical: _Physical, context: OpenContext) -> Iterator[Volume]:
    """Handle a physical volume that no volume group has.

    With damaged metadata it is a volume with a problem. Otherwise it is unused, or was taken out
    of its group while it was away, which is only said.
    """
    uuid = physical.label.uuid
    if physical.damage and not physical.groups:
        label = f"pv/{uuid}"
        origin = physical.source.origin.child(f"lvm:{label}")
        problem = CorruptError(
            f"no copy of the LVM metadata can be used: {physical.damage[0].message}",
            origin=origin,
            offset=physical.damage[0].offset,
            hint="give all disks of the volume group together, or restore it on a copy:"
            " 'vgcfgrestore'",
        )
        yield Volume(MemorySource(b"", origin), label, uuid=uuid, problem=problem)
    elif physical.groups:
        evidence = f"the volume group no longer has the physical volume {uuid}"
        context.note(_finding("lvm-stale-disk", physical.source.origin, evidence))


class _Assembly:
    """One volume group being put together from the disks that are there."""

    def __init__(
        self,
        group: VolumeGroup,
        found: Sequence[_Physical],
        limits: Limits,
        *,
        is_unique: bool,
    ) -> None:
        self.group = group
        self.limits = limits
        self.is_unique = is_unique
        self._by_uuid: dict[str, list[_Physical]] = {}
        for physical in found:
            self._by_uuid.setdefault(physical.label.uuid, []).append(physical)
        self._snapshots = snapshot_refusals(group)
        self._told_by = found[0].source.origin
        self._here = [
            self._by_uuid[pv.uuid][0] for pv in group.physical.values() if pv.uuid in self._by_uuid
        ]

    def facts(self) -> dict[str, str]:
        group = self.group
        state = ", exported" if group.is_exported else ""
        hidden = sum(map(self._is_hidden, group.logical.values()))
        parts = f", {hidden} volumes that are parts of others" if hidden else ""
        return {
            group.name: f"{len(self._here)} of {len(group.physical)} disks,"
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
        for volume in self.group.logical.values():
            if not self._is_hidden(volume):
                yield self._volume(volume)

    def _volume(self, volume: LogicalVolume) -> Volume:
        group = self.group
        prefix = group.name if self.is_unique else f"{group.name}@{group.uuid}"
        label = f"{prefix}/{volume.name}"
        origin = self._home(volume).child(f"lvm:{label}")
        source: ByteSource = MemorySource(b"", origin)
        problem: ConvertError | None = None
        try:
            source = self._source(volume, origin)
        except ConvertError as error:
            problem = error.at(origin)
        kinds = {segment.kind for segment in volume.segments}
        return Volume(
            source,
            label,
            role=Role.RESERVED if kinds & POOL_KINDS else Role.DATA,
            uuid=volume.uuid,
            device_names=_device_names(group, volume) if self.is_unique else (),
            problem=problem,
        )

    def _home(self, volume: LogicalVolume) -> Origin:
        """Return the disk that a volume is shown under: the first that it has extents on."""
        for segment in volume.segments:
            for name, _ in segment.areas:
                pv = self.group.physical.get(name)
                if pv is not None and pv.uuid in self._by_uuid:
                    return self._by_uuid[pv.uuid][0].source.origin
        return self._told_by

    def _source(self, volume: LogicalVolume, origin: Origin) -> MappedSource:
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
        if volume.extents * self.group.extent_bytes > self.limits.disk_virtual_bytes:
            raise LimitError(
                f"has {volume.extents * self.group.extent_bytes:,} bytes, more than the"
                f" {self.limits.disk_virtual_bytes:,} allowed",
                origin=origin,
            )
        return MappedSource([self._segment(item, origin) for item in volume.segments], origin)

    def _segment(self, segment: LvSegment, origin: Origin) -> Segment:
        size = self.group.extent_bytes
        offset, length = segment.start * size, segment.count * size
        if segment.kind == "zero":
            return Segment(offset, length, None)
        leg_extents, rest = divmod(segment.count, len(segment.areas))
        if rest:
            raise CorruptError(
                f"{segment.count} extents cannot be dealt out to {len(segment.areas)} stripes",
                origin=origin,
            )
        legs = [self._leg(name, extent, leg_extents, origin) for name, extent in segment.areas]
        source = legs[0] if len(legs) == 1 else StripedSource(legs, segment.stripe_bytes, origin)
        return Segment(offset, length, source)

    def _leg(self, name: str, extent: int, count: int, origin: Origin) -> MappedSource:
        pv = self.group.physical[name]
        if extent + count > pv.extents:
            raise CorruptError(
                f"ends at extent {extent + count:,} of a physical volume of {pv.extents:,}",
                origin=origin,
            )
        disks = self._by_uuid.get(pv.uuid, [])
        if not disks:
            device = f" ({pv.device} on that machine)" if pv.device else ""
            raise UnsupportedError(
                f"needs the physical volume {pv.uuid}{device}, which is not among the disks given",
                origin=origin,
                hint="give all disks of the machine together",
            )
        if len(disks) > 1:
            raise AmbiguousError(
                f"{disks[0].source.origin} and {disks[1].source.origin} both are the physical"
                f" volume {pv.uuid}",
                origin=origin,
                hint="give only one of the copies",
            )
        start = pv.start + extent * self.group.extent_bytes
        return slice_source(disks[0].source, start, count * self.group.extent_bytes, origin)


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


def _finding(rule: str, origin: Origin, evidence: str) -> Finding:
    return Finding(rule, str(origin).encode(), Action.REPORTED, evidence)


READER = LvmReader()
