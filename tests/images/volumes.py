"""Recipes for partitioned disks, and how to look at what the readers make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import Artifact, Node, open_artifact
from tests.support.programs import need, need_root, run

MIB = 1 << 20


@contextmanager
def opened(*paths: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Artifact]:
    """Open disks with all built-in readers."""
    with open_artifact(list(paths), limits=limits) as artifact:
        yield artifact


def reader_name(path: Path) -> str | None:
    """Return which reader a file as a whole belongs to; an ambiguous one is its error's text."""
    with opened(path) as artifact:
        node = artifact.nodes[0]
        if node.reader is None and node.problem is not None:
            return str(node.problem)
        return node.reader.name if node.reader is not None else None


def blank(path: Path, size: int) -> Path:
    """Make a file of zeros, or of holes."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def patch(path: Path, offset: int, data: bytes) -> Path:
    """Overwrite bytes; a negative offset counts from the end."""
    with path.open("r+b") as file:
        file.seek(offset, 2 if offset < 0 else 0)
        file.write(data)
    return path


@contextmanager
def block_device(path: Path, *, sector_bytes: int = 512) -> Iterator[Path]:
    """Show a file to other programs: itself, or as a disk with larger sectors."""
    if sector_bytes == 512:
        yield path
        return
    with loop_device(path, sector_bytes=sector_bytes) as device:
        yield device


@contextmanager
def loop_device(path: Path, *, sector_bytes: int = 512) -> Iterator[Path]:
    """Attach a file to a loop device."""
    need("losetup")
    need_root()
    done = run("losetup", "--sector-size", str(sector_bytes), "--find", "--show", path)
    device = done.stdout.decode().strip()
    try:
        yield Path(device)
    finally:
        run("losetup", "--detach", device)


def sfdisk(path: Path, size: int, script: str, *, sector_bytes: int = 512) -> Path:
    """Partition a new disk image with ``sfdisk``; the script is of its own language."""
    need("sfdisk")
    blank(path, size)
    commands = path.with_suffix(".sfdisk")
    commands.write_text(script)
    with block_device(path, sector_bytes=sector_bytes) as device:
        command = 'sfdisk --quiet --no-reread --no-tell-kernel "$1" < "$2"'
        run("sh", "-c", command, "sh", device, commands)
    return path


@dataclass(frozen=True, slots=True)
class Row:
    """A partition, from sfdisk's view of it and from ours."""

    number: int
    offset: int
    length: int
    uuid: str | None
    name: str | None


def sfdisk_rows(path: Path, *, sector_bytes: int = 512) -> list[Row]:
    """Return what ``sfdisk --json`` says; containers of logical partitions are left out."""
    with block_device(path, sector_bytes=sector_bytes) as device:
        done = run("sfdisk", "--json", device)
    table: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
    assert table["sectorsize"] == sector_bytes
    rows = [_sfdisk_row(item, table) for item in table.get("partitions", [])]
    return sorted((row for row in rows if row is not None), key=lambda row: row.number)


def _sfdisk_row(item: dict[str, Any], table: dict[str, Any]) -> Row | None:
    if item["type"] in {"5", "f", "85"}:
        return None
    node = str(item["node"]).removeprefix(table["device"])
    number = int(node.removeprefix("p"))
    uuid = item.get("uuid")
    if table["label"] == "dos":
        uuid = f"{int(table['id'], 16):08x}-{number:02x}"
    return Row(
        number,
        item["start"] * table["sectorsize"],
        item["size"] * table["sectorsize"],
        uuid.lower() if uuid else None,
        item.get("name"),
    )


def our_rows(path: Path) -> list[Row]:
    """Return what our reader says, each partition's bytes checked against the file's."""
    whole = path.read_bytes()
    with opened(path) as artifact:
        return sorted(
            (_our_row(node, whole) for node in artifact.nodes[0].children),
            key=lambda row: row.number,
        )


def _our_row(node: Node, whole: bytes) -> Row:
    source = node.volume.source
    data = bytes(source.read_at(0, source.size))
    assert node.volume.number is not None
    start = whole.find(data[:64])
    assert whole[start : start + len(data)] == data
    return Row(node.volume.number, start, len(data), node.volume.uuid, node.volume.part_label)


def mark(path: Path, rows: list[Row]) -> None:
    """Write a text that is nowhere else at the start of each partition, to find it by."""
    for row in rows:
        patch(path, row.offset, f"<partition {row.number} of {path.name}>".ljust(64).encode())
