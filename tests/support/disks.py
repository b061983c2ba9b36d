"""Opening disks in tests, and comparing them with what qemu-img says is in them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import Artifact, open_artifact
from formats.core.reader import Reader
from formats.core.registry import Registry
from formats.core.source import ByteSource
from tests.support.programs import run

READ_BYTES = 1 << 20


@contextmanager
def opened(
    path: Path,
    *readers: Reader,
    limits: Limits = DEFAULT_LIMITS,
    allow_backing: Sequence[Path] = (),
    spool_parent: Path | None = None,
) -> Iterator[Artifact]:
    """Open a file with nothing but these readers, so that what is inside stays as it is."""
    with open_artifact(
        [path],
        registry=Registry(readers),
        limits=limits,
        allow_backing=allow_backing,
        spool_parent=spool_parent,
    ) as artifact:
        yield artifact


def inside(artifact: Artifact) -> ByteSource:
    """Return the bytes of the one volume in the file; raise what kept it from being opened.

    What may be inside of the volume is not looked at.
    """
    (node,) = artifact.nodes
    if node.problem is not None:
        raise node.problem
    assert node.reader is not None, "nobody knew the file"
    (child,) = node.children
    return child.volume.source


def whole(source: ByteSource, step: int = READ_BYTES) -> bytes:
    """Return everything, read in order."""
    return b"".join(source.read_at(offset, step) for offset in range(0, source.size, step))


def digest(source: ByteSource) -> str:
    """Return the SHA-256 of everything, read with hints, in constant memory."""
    source.will_need([(0, source.size)])
    hasher = hashlib.sha256()
    for offset in range(0, source.size, READ_BYTES):
        hasher.update(source.read_at(offset, READ_BYTES))
    return hasher.hexdigest()


def qemu_content(image: Path, image_format: str, folder: Path) -> bytes:
    """Return what qemu-img has in an image, unpacked."""
    target = folder / f"{image.name}.oracle"
    run("qemu-img", "convert", "-f", image_format, "-O", "raw", image, target)
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def check_extents(source: ByteSource) -> int:
    """Check that extents adjoin, cover everything, and that holes are zeros; return hole bytes."""
    position = holes = 0
    for extent in source.extents():
        assert extent.offset == position
        assert extent.length > 0
        position += extent.length
        if extent.is_hole:
            holes += extent.length
            for offset in range(extent.offset, position, READ_BYTES):
                data = bytes(source.read_at(offset, min(READ_BYTES, position - offset)))
                assert not data.strip(b"\0"), f"a hole with data at {offset:,}"
    assert position == source.size
    return holes


def check_any_order(source: ByteSource, expected: bytes) -> None:
    """Check reads of any size in any order, with hints that name too much."""
    source.will_need([(0, source.size), (source.size // 2, 10), (source.size - 1, 1 << 40)])
    assert whole(source) == expected
    dice = random.Random(5)
    for _ in range(500):
        offset, length = dice.randrange(source.size), dice.choice([1, 512, 4096, 3_000_000])
        assert bytes(source.read_at(offset, length)) == expected[offset : offset + length]
