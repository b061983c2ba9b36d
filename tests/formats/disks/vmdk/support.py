"""Opening disks in tests, and qemu-img as the second opinion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import open_artifact
from formats.core.source import ByteSource
from tests.support.programs import need, run

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """An opened VMDK."""

    source: ByteSource
    facts: dict[str, str]
    findings: list[Finding]


@contextmanager
def opened(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, allow: Sequence[Path] = ()
) -> Iterator[Disk]:
    """Open a VMDK; its problem, if it has one, is raised."""
    with open_artifact([path], limits=limits, allow_backing=allow) as artifact:
        node = artifact.nodes[0]
        if node.problem is not None:
            raise node.problem
        assert node.reader is not None
        assert node.reader.name == "vmdk"
        yield Disk(node.children[0].volume.source, node.facts, artifact.findings)


def content(source: ByteSource, step: int = CHUNK) -> bytes:
    """Read a whole disk, in steps that do not keep to grains."""
    parts = [bytes(source.read_at(at, step)) for at in range(0, source.size, step)]
    return b"".join(parts)


def read_disk(path: Path) -> bytes:
    """Return the whole content of a disk."""
    with opened(path) as disk:
        return content(disk.source)


def qemu_content(path: Path) -> bytes:
    """Return what qemu-img reads."""
    need("qemu-img")
    target = path.with_name(path.name + ".qemu-raw")
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, target)
    return target.read_bytes()


def qemu_disk(raw: bytes, folder: Path, *options: str, name: str = "disk.vmdk") -> Path:
    """Make a VMDK of ``raw`` with qemu-img."""
    need("qemu-img")
    source = folder / "disk.raw"
    source.write_bytes(raw)
    path = folder / name
    arguments = [part for option in options for part in ("-o", option)]
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", *arguments, source, path)
    return path


def holes_are_zeros(source: ByteSource) -> bool:
    """Tell whether the extents adjoin, cover the disk, and every hole reads as zeros."""
    position = 0
    for extent in source.extents():
        assert extent.offset == position
        assert extent.length > 0
        position += extent.length
        if extent.is_hole:
            data = bytes(source.read_at(extent.offset, extent.length))
            assert data.count(0) == extent.length
    return position == source.size
