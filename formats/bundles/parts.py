"""Volumes of a bundle that are not simply a disk: what cannot be read, and whole machines."""

from __future__ import annotations

from formats.core.errors import ConvertError
from formats.core.origin import Origin, printable
from formats.core.reader import Volume, Volumes
from formats.core.source import MemorySource


def unreadable(label: str, problem: ConvertError, around: Origin) -> Volume:
    """Return what stands for a part that cannot be read; the others are not kept from it."""
    nothing = MemorySource(b"", around.child(label))
    return Volume(nothing, printable(label), problem=problem.at(nothing.origin))


def machine_label(name: str) -> str:
    """Return the label of one of several machines."""
    return printable(f"vm:{name}")


def machine_volume(name: str, disks: Volumes, around: Origin) -> Volume:
    """Return one of several machines, with its disks."""
    label = machine_label(name)
    return Volume(MemorySource(b"", around.child(label)), label, content=disks)
