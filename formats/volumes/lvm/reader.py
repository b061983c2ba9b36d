"""The LVM2 reader: each disk is a member; all members together give the logical volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from formats.core.errors import CorruptError
from formats.core.finding import Action, Finding
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.reader import (
    Category,
    Member,
    OpenContext,
    ReaderDoc,
    Signature,
    Volume,
    Volumes,
)
from formats.core.source import ByteSource, MemorySource
from formats.volumes.lvm.assembly import Assembly
from formats.volumes.lvm.label import (
    LABEL_MAGIC,
    LABEL_SECTORS,
    SECTOR_BYTES,
    PvLabel,
    label_sector,
    metadata_text,
    read_label,
)
from formats.volumes.lvm.metadata import VolumeGroup, parse_group
from formats.volumes.partition import check_count

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
        reads="linear, striped, mirrored and RAID volumes over one or several disks, origins of"
        " snapshots, volumes that are being moved; RAID 1 and RAID 10 also with images missing",
        refuses="thin, cached, VDO, integrity and snapshot volumes, reshaping, each by name",
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
        disks: dict[str, list[ByteSource]] = {}
        for physical in found:
            disks.setdefault(physical.label.uuid, []).append(physical.source)
        for group in groups:
            # A cloned machine's disk has the same names and other UUIDs.
            is_unique = names.count(group.name) == 1
            told_by = found[0].source.origin
            assembly = Assembly(group, disks, told_by, context, is_unique=is_unique)
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


def _finding(rule: str, origin: Origin, evidence: str) -> Finding:
    return Finding(rule, str(origin).encode(), Action.REPORTED, evidence)


READER = LvmReader()
