"""Which of the devices that were found are the array as it last was.

Every superblock counts events: changes of the array's state. A device that failed or was taken away
stays behind, and then holds old data that looks as good as any. The superblock with the highest
count says who belongs to the array; who was left behind is told by its own count, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formats.core.errors import AmbiguousError
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.volumes.mdraid.superblock import MdSuperblock, State

_EVENTS_BEHIND = 1
"""A stop in the middle of writing superblocks leaves some one event behind (md itself takes it)."""


@dataclass(frozen=True, slots=True)
class MdMember:
    """A device that was found."""

    source: ByteSource
    superblock: MdSuperblock


@dataclass(frozen=True, slots=True)
class Current:
    """The array as its newest superblock has it.

    :ivar members: by role; None where none is here that is up to date.
    :ivar unused: devices that are here and not used, with the reason.
    """

    superblock: MdSuperblock
    members: tuple[MdMember | None, ...]
    unused: tuple[tuple[MdMember, str], ...]

    @property
    def present(self) -> list[MdMember]:
        """The members that are here, by role."""
        return [member for member in self.members if member is not None]

    @property
    def missing(self) -> list[int]:
        """The roles that no member is here for."""
        return [role for role, member in enumerate(self.members) if member is None]


def current(found: Sequence[MdMember], origin: Origin) -> Current:
    """Sort out which devices make up the array.

    :raises AmbiguousError: if two are copies of one, or each says that the other is not part of it.
    """
    newest = max(found, key=lambda member: member.superblock.events)
    roles: list[MdMember | None] = [None] * newest.superblock.members
    unused: list[tuple[MdMember, str]] = []
    for member in found:
        reason = _why_not(member, newest.superblock)
        if reason:
            unused.append((member, reason))
            continue
        role = newest.superblock.slot(member.superblock.device).role
        other = roles[role]
        if other is not None:
            raise AmbiguousError(
                f"{other.source.origin} and {member.source.origin} both are member {role} of"
                f" the array {newest.superblock.uuid}",
                origin=origin,
                hint="give only one of the copies",
            )
        roles[role] = member
    _refuse_rivals(newest, found, origin)
    return Current(newest.superblock, tuple(roles), tuple(unused))


def _why_not(member: MdMember, newest: MdSuperblock) -> str:
    """Return why a device is not a member in sync; empty if it is one."""
    own = member.superblock
    slot = newest.slot(own.device)
    if slot.state is State.FAULTY:
        return "it failed or was removed"
    if slot.state is State.SPARE:
        return "it is a spare" if own_state(member) is State.SPARE else "it failed or was removed"
    if slot.state is State.JOURNAL:
        return "it is a journal"
    if own.events + _EVENTS_BEHIND < newest.events:
        return f"it is stale: {own.events:,} events of {newest.events:,}"
    if own.is_replacement:
        return "it is to replace another one"
    if own.is_partial:
        return "it was being rebuilt"
    if slot.role >= newest.members:
        return "it has no place in the array"
    return ""


def own_state(member: MdMember) -> State:
    """Return what a device says of itself."""
    return member.superblock.slot(member.superblock.device).state


def _refuse_rivals(newest: MdMember, found: Sequence[MdMember], origin: Origin) -> None:
    """Refuse two halves that went on without each other for as long: neither is older."""
    for member in found:
        if member.superblock.events != newest.superblock.events:
            continue
        for one, other in ((member, newest), (newest, member)):
            if one.superblock.slot(other.superblock.device).state is State.FAULTY:
                raise AmbiguousError(
                    f"{one.source.origin} says that {other.source.origin} failed, and both are"
                    " equally new",
                    origin=origin,
                    hint="give only the one that was in use last",
                )
