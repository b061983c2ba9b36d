"""FAT filesystems: made by mkfs.fat(8) and mtools(1), and changed where those cannot."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

from tests.images.volumes import blank, patch
from tests.support.programs import need, run

KIB, MIB = 1 << 10, 1 << 20
_ROOT_BYTES = 512 * 32


def fill(folder: Path) -> Path:
    """Make a tree with names of all kinds, a fragment or two, and a folder of many clusters."""
    dice = random.Random(12)
    names = {
        "README.TXT": 6,
        "lower.txt": 5000,
        "Mixed Case Long Name.conf": 70_000,
        "EFI/BOOT/BOOTX64.EFI": 300_000,
        "empty": 0,
        "日本語のとても長いファイル名.txt": 2,
        "a" * 200 + ".bin": 3000,
        "Umlaut äöü/Süß.txt": 1,
        "deep/a/b/c/UPPER.lower": 1,
        "deep/a/b/c/lower.UPPER": 2,
        "deep/.hidden": 3,
        "deep/two.dots.tar.gz": 511,
        "deep/sp ace.txt": 512,
        "deep/plus+[x],;=.txt": 513,
        **{f"many/file-number-{number:04}.data": number for number in range(150)},
    }
    for name, size in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(size))
    return folder


def make_fat(image: Path, size: int, tree: Path | None, *options: str) -> Path:
    """Make a filesystem and copy a tree into it."""
    need("mkfs.fat", "mcopy")
    blank(image, size)
    run("mkfs.fat", *options, image)
    if tree is not None:
        members = sorted(tree.iterdir())
        run("env", *_MTOOLS, "mcopy", "-s", "-m", "-n", "-i", image, *members, "::/")
    return image


_MTOOLS = ("MTOOLS_SKIP_CHECK=1", "TZ=UTC")


def mtools(*command: str | Path) -> bytes:
    return run("env", *_MTOOLS, *command).stdout


@dataclass(frozen=True, slots=True)
class Fat:
    """A view of an image that knows where things are."""

    image: Path
    bits: int
    table_offset: int
    table_bytes: int
    heap_offset: int
    cluster_bytes: int

    def entry(self, name: str) -> int:
        """Return where the entry with this short name of 11 characters is."""
        start = self.heap_offset - _ROOT_BYTES
        return start + self.read(start, 2 * MIB).index(name.encode("cp437"))

    def read(self, offset: int, length: int) -> bytes:
        with self.image.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def set_entry(self, name: str, place: int, data: bytes) -> None:
        """Overwrite a part of an entry."""
        patch(self.image, self.entry(name) + place, data)

    def first_cluster(self, name: str) -> int:
        high, low = struct.unpack("<H4xH", self.read(self.entry(name) + 20, 8))
        return int(high << 16 | low)

    def set_first_cluster(self, name: str, cluster: int) -> None:
        self.set_entry(name, 20, struct.pack("<H", cluster >> 16))
        self.set_entry(name, 26, struct.pack("<H", cluster & 0xFFFF))

    def set_following(self, cluster: int, value: int) -> None:
        """Set an entry of the first table."""
        bit = cluster * self.bits
        place, shift = self.table_offset + bit // 8, bit % 8
        width = 2 if self.bits < 32 else 4
        data = int.from_bytes(self.read(place, width), "little")
        mask = ((1 << min(self.bits, 28)) - 1) << shift
        data = data & ~mask | value << shift & mask
        patch(self.image, place, data.to_bytes(width, "little"))


def fat_of(image: Path, bits: int) -> Fat:
    with image.open("rb") as file:
        data = file.read(512)
    sector, per_cluster, reserved, tables, roots = struct.unpack_from("<HBHBH", data, 11)
    (table_sectors,) = struct.unpack_from("<H", data, 22)
    if not table_sectors:
        (table_sectors,) = struct.unpack_from("<I", data, 36)
    table_bytes = table_sectors * sector
    start = reserved * sector
    heap = start + tables * table_bytes + -(-roots * 32 // sector) * sector
    return Fat(image, bits, start, table_bytes, heap, per_cluster * sector)
