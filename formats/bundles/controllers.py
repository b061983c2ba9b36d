"""In which order a machine's disks come, where its descriptor says what they are attached to."""

from __future__ import annotations

from enum import IntEnum

MAX_DISKS = 1024
"""More disks than this has no machine: hypervisors end at 256 or fewer."""


class Bus(IntEnum):
    """What a disk is attached to, in the order in which disks are counted (sda, sdb, …).

    It is the order in which VMware's firmware goes through them. Systems may name them otherwise;
    what is on the disks is found by UUID and label wherever possible.
    """

    SCSI = 0
    SATA = 1
    NVME = 2
    IDE = 3
    OTHER = 4
