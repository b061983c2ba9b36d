"""Which folders of this machine show the kernel and no disk (proc(5), "/proc/pid/mountinfo")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from convert.kernel_filesystems import KERNELS_OWN

_MOUNTS: Final = Path("/proc/self/mountinfo")


def kernels_own() -> dict[int, str]:
    """Return the filesystems that are the kernel's own: type by device number.

    Empty where that cannot be known: without ``/proc`` there is hardly one of them.
    """
    try:
        # names of folders may hold all other line ends
        lines = os.fsdecode(_MOUNTS.read_bytes()).split("\n")
    except OSError:
        return {}
    found: dict[int, str] = {}
    for line in lines:
        front, _, back = line.partition(" - ")
        fields, kind = front.split(" "), back.partition(" ")[0]
        if kind in KERNELS_OWN and len(fields) > 2:
            major, _, minor = fields[2].partition(":")
            found[os.makedev(int(major), int(minor))] = kind
    return found
