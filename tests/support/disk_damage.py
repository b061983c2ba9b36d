"""Disk images that are cut off or changed: what is still read is right, the rest is an error."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from formats.core.errors import CorruptError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.reader import Reader
from formats.core.source import ByteSource
from tests.support.disk_images import KIB, MIB, patch
from tests.support.disks import inside, opened

_PIECE_BYTES = 64 * KIB
_SMALL = Limits(disk_virtual_bytes=16 * MIB)
"""So that a size that was changed does not make a test read for hours."""


def check_truncated(image: Path, reader: Reader, content: bytes, sizes: Iterable[int]) -> int:
    """Cut an image to each of these sizes, and check that what is read then is what was there.

    :param content: of the whole disk.
    :return: how many pieces could not be read; a disk that could not be opened counts as one.
    """
    complete = image.read_bytes()
    errors = 0
    for size in sizes:
        image.write_bytes(complete[:size])
        found = _read_if_opened(image, reader, DEFAULT_LIMITS)
        if found is None:
            errors += 1
            continue
        errors += -(-len(content) // _PIECE_BYTES) - len(found)
        assert all(content[at : at + len(data)] == data for at, data in found.items())
    image.write_bytes(complete)
    return errors


def check_changed(
    image: Path,
    reader: Reader,
    places: Sequence[int],
    rounds: int,
    mend: Callable[[Path], None] = lambda _: None,
) -> int:
    """Change bytes at some of these places, and check that nothing but typed errors comes of it.

    :param mend: puts checksums right, so that a change gets further than to them.
    :return: how often the disk could be opened nevertheless.
    """
    complete = image.read_bytes()
    dice = random.Random(11)
    opened_anyway = 0
    for _ in range(rounds):
        changed = dice.choices(places, k=dice.choice([1, 1, 2, 4]))
        for place in changed:
            patch(image, place, bytes([dice.choice([0, 0xFF, 0x80, 1, dice.randrange(256)])]))
        mend(image)
        opened_anyway += _read_if_opened(image, reader, _SMALL) is not None
        for place in changed:
            patch(image, place, complete[place : place + 1])
        mend(image)
    assert image.read_bytes() == complete
    return opened_anyway


def _read_if_opened(image: Path, reader: Reader, limits: Limits) -> dict[int, bytes] | None:
    """Return what can be read, by where it is; None if the disk cannot be opened.

    What cannot be read must be a corruption; any other error is raised.
    """
    with opened(image, reader, limits=limits) as artifact:
        node = artifact.nodes[0]
        if node.problem is not None or node.reader is None:
            return None
        return _read_all(inside(artifact))


def _read_all(disk: ByteSource) -> dict[int, bytes]:
    found = {}
    for offset in range(0, disk.size, _PIECE_BYTES):
        with suppress(CorruptError):
            found[offset] = bytes(disk.read_at(offset, _PIECE_BYTES))
    return found
