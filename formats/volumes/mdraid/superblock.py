"""What superblocks of all versions come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SECTOR_BYTES = 512
MAGIC = 0xA92B4EFC


class State(Enum):
    """What a superblock says of one device of the array."""

    ACTIVE = "active"
    SPARE = "spare"
    FAULTY = "faulty"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Slot:
    """A device of the array, in the table that every superblock has.

    :ivar role: place in the array; of active ones alone.
    """

    state: State
    role: int = -1


@dataclass(frozen=True, slots=True)
class MdSuperblock:
    """One member's superblock, checked.

    :ivar version: ``0.90``, ``1.2``.
    :ivar uuid: as mdadm prints it, in four groups.
    :ivar name: ``host:name``; empty for 0.90.
    :ivar minor: of 0.90, the number of ``/dev/md…``.
    :ivar layout: of RAID 0, 0 where none is stated.
    :ivar member_bytes: what each member of RAID 1 and above gives.
    :ivar data_offset: byte on this device at which its data starts.
    :ivar data_bytes: what this device holds of data at the most.
    :ivar device: which row of ``slots`` this device is.
    :ivar is_partial: this device is not (yet) rebuilt.
    :ivar is_replacement: this device is to take the place of another one.
    :ivar has_bad_blocks: this device has a log of bad blocks that is not empty.
    :ivar refused: a feature that keeps the array from being read, in words; empty if there is none.
    """

    version: str
    uuid: str
    name: str
    minor: int | None
    level: int
    layout: int
    chunk_bytes: int
    members: int
    member_bytes: int
    data_offset: int
    data_bytes: int
    events: int
    device: int
    slots: tuple[Slot, ...]
    is_partial: bool = False
    is_replacement: bool = False
    has_bad_blocks: bool = False
    refused: str = ""

    def slot(self, device: int) -> Slot:
        """Return what this superblock says of a device. One that is not in its table is gone."""
        return self.slots[device] if 0 <= device < len(self.slots) else Slot(State.FAULTY)
