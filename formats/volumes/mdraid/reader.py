"""The reader of Linux RAID: each device is a member; all members together give the array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from formats.core.errors import ConvertError, CorruptError
from formats.core.finding import Action, Finding
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
from formats.recognised.filesystems import FILESYSTEM_NAMES
from formats.volumes.mdraid import version0, version1
from formats.volumes.mdraid.levels import array_source, level_name
from formats.volumes.mdraid.members import Current, MdMember, current, own_state
from formats.volumes.mdraid.superblock import MdSuperblock, State

_Version: TypeAlias = Callable[[ByteSource, int], MdSuperblock]
_QUIET = frozenset({State.SPARE, State.JOURNAL})


class MdReader:
    """The reader; see the package's documentation."""

    name = "mdraid"
    category = Category.VOLUMES
    signatures: tuple[Signature, ...] = ()
    # What may be seen on one member, or lies at its start. Read from there it would be right for
    # some levels and silently wrong for others.
    supersedes = frozenset({"gpt", "luks1", "luks2", "lvm", "lvm1", "mbr", *FILESYSTEM_NAMES})
    doc = ReaderDoc(
        "Linux software RAID (md) member",
        specification="md(4), mdadm(8), Linux RAID wiki: RAID superblock formats",
        reads="superblocks 0.90 and 1.x; linear, RAID 0, RAID 1 and RAID 10 also with members"
        " missing, RAID 4, 5 and 6 with all members",
        refuses="reshaping, degraded RAID 4 to 6, write journals, bad blocks, by name",
    )

    def probe(self, source: ByteSource) -> bool:
        """Look for a superblock at the four places."""
        return _find(source) is not None

    def open(self, source: ByteSource, context: OpenContext) -> Member:
        """Read the superblock of one member.

        :raises CorruptError: if it is damaged.
        """
        del context
        place = _find(source)
        if place is None:
            raise CorruptError("has no md superblock", origin=source.origin)
        read, offset = place
        superblock = read(source, offset)
        facts = {
            "array": superblock.uuid,
            "version": superblock.version,
            "level": level_name(superblock.level),
            "role": _role(superblock),
        }
        return Member(superblock.uuid, source, MdMember(source, superblock), facts)

    def assemble(self, members: Sequence[Member], context: OpenContext) -> Volumes:
        """Return the array as the one volume."""
        found = [item.detail for item in members if isinstance(item.detail, MdMember)]
        newest = max((item.superblock for item in found), key=lambda item: item.events)
        label = f"md:{_short_name(newest)}"
        origin = found[0].source.origin.child(label)
        source: ByteSource = MemorySource(b"", origin)
        problem: ConvertError | None = None
        try:
            array = current(found, origin)
            source = array_source(array, context.limits, origin)
            _note(array, origin, context)
        except ConvertError as error:
            problem = error.at(origin)
        volume = Volume(
            source,
            label,
            uuid=newest.uuid,
            device_names=_device_names(newest),
            problem=problem,
        )
        facts = {
            "array": newest.uuid,
            "level": level_name(newest.level),
            "members": str(newest.members),
            "devices": str(len(found)),
        }
        if newest.name:
            facts["name"] = newest.name
        return Volumes((volume,), facts)


def _find(source: ByteSource) -> tuple[_Version, int] | None:
    """Return how to read the superblock and where it is; None if there is none."""
    for offset in version1.places(source.size):
        if version1.is_here(source, offset):
            return version1.read, offset
    offset = version0.place(source.size)
    return (version0.read, offset) if version0.is_here(source, offset) else None


def _role(superblock: MdSuperblock) -> str:
    slot = superblock.slot(superblock.device)
    return str(slot.role) if slot.state is State.ACTIVE else slot.state.value


def _note(array: Current, origin: Origin, context: OpenContext) -> None:
    """Report members that are missing or not used; spares and journals are as they should be."""
    place = str(origin).encode()
    if array.missing:
        missing = ", ".join(map(str, array.missing))
        evidence = f"read without the members {missing} of {array.superblock.members}"
        context.note(Finding("array-degraded", place, Action.REPORTED, evidence))
    for member, reason in array.unused:
        if own_state(member) in _QUIET:
            continue
        evidence = f"{member.source.origin} is not used: {reason}"
        context.note(Finding("array-member-unused", place, Action.REPORTED, evidence))


def _short_name(superblock: MdSuperblock) -> str:
    """Return the name without the host that made the array: ``host:0`` is ``/dev/md/0`` there."""
    if superblock.minor is not None:
        return str(superblock.minor)
    return superblock.name.rpartition(":")[2] or superblock.uuid


def _device_names(superblock: MdSuperblock) -> tuple[str, ...]:
    """Return the names that mdadm and udev give on the array's own machine (mdadm.conf(5))."""
    by_uuid = f"disk/by-id/md-uuid-{superblock.uuid}"
    if superblock.minor is not None:
        return (f"md{superblock.minor}", by_uuid)
    short = superblock.name.rpartition(":")[2]
    if not short:
        return (by_uuid,)
    number = (f"md{short}",) if short.isascii() and short.isdecimal() else ()
    return (*number, f"md/{short}", f"disk/by-id/md-name-{superblock.name}", by_uuid)


READER = MdReader()
