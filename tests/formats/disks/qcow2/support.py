"""Making qcow2 images, and damaging them."""

from __future__ import annotations

from pathlib import Path

from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.disks.qcow2.reader import READER
from tests.support.disks import opened
from tests.support.programs import run

KIB, MIB = 1 << 10, 1 << 20


def qemu_io(image: Path, *commands: str) -> None:
    run("qemu-io", "-f", "qcow2", *[part for line in commands for part in ("-c", line)], image)


def problem(image: Path, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the text of the error that opening raises."""
    with opened(image, READER, limits=limits) as artifact:
        error = artifact.nodes[0].problem
        assert error is not None, "it was opened"
        return f"{error.code}: {error}"


def patch(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def l1_offset(image: Path) -> int:
    return int.from_bytes(image.read_bytes()[40:48], "big")


def l2_offset(image: Path) -> int:
    place = l1_offset(image)
    return int.from_bytes(image.read_bytes()[place : place + 8], "big") & 0x00FF_FFFF_FFFF_FE00
