"""Disk images for tests: random disks, what qemu-io writes to them, why they are refused."""

from __future__ import annotations

import random
from pathlib import Path

from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.reader import Reader
from tests.support.disks import opened
from tests.support.programs import run

KIB, MIB = 1 << 10, 1 << 20


def random_disk(path: Path, size: int, seed: int) -> Path:
    """Write a disk of holes with noise of odd lengths at odd places, none in the third quarter."""
    dice = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(12):
            start = dice.choice([0, size * 3 // 4]) + dice.randrange(size // 4)
            length = dice.choice([1, 512, 5000, 70_000, 600_000])
            file.seek(start)
            file.write(dice.randbytes(min(length, size - start)))
        file.truncate(size)
    return path


def qemu_io(image: Path, image_format: str, *commands: str) -> None:
    parts = [part for line in commands for part in ("-c", line)]
    run("qemu-io", "-f", image_format, *parts, image)


def problem(image: Path, reader: Reader, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return code and text of the error that opening raises."""
    with opened(image, reader, limits=limits) as artifact:
        node = artifact.nodes[0]
        assert node.problem is not None, "it was opened"
        return f"{node.problem.code}: {node.problem}"


def patch(image: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes; a negative offset counts from the end."""
    with image.open("r+b") as file:
        file.seek(offset, 2 if offset < 0 else 0)
        file.write(data)


def scattered(path: Path, image_format: str, *options: str) -> Path:
    """Make an image whose data was written from the back and the front, across block borders."""
    run("qemu-img", "create", "-f", image_format, *options, path, "17M")
    starts = [9 * MIB, MIB - 700, 15 * MIB, 4 * MIB + 100]
    qemu_io(path, image_format, *(f"write -P {at % 251 + 1} {at} 300k" for at in starts))
    return path
