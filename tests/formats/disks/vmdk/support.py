"""Opening disks in tests, and qemu-img as the second opinion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.source import ByteSource
from formats.disks.vmdk.reader import READER
from tests.support import disks
from tests.support.programs import need, run


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
    with disks.opened(path, READER, limits=limits, allow_backing=allow) as artifact:
        yield Disk(disks.inside(artifact), artifact.nodes[0].facts, artifact.findings)


def read_disk(path: Path) -> bytes:
    """Return the whole content of a disk."""
    with opened(path) as disk:
        return disks.whole(disk.source)


def qemu_content(path: Path) -> bytes:
    """Return what qemu-img reads."""
    need("qemu-img")
    return disks.qemu_content(path, "vmdk", path.parent)


def qemu_disk(raw: bytes, folder: Path, *options: str, name: str = "disk.vmdk") -> Path:
    """Make a VMDK of ``raw`` with qemu-img."""
    need("qemu-img")
    source = folder / "disk.raw"
    source.write_bytes(raw)
    path = folder / name
    arguments = [part for option in options for part in ("-o", option)]
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", *arguments, source, path)
    return path
