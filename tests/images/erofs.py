"""EROFS images: by mkfs.erofs(1), and byte by byte for what the one of Debian 12 cannot make."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import need, run

BLOCK = 4096
SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
FEATURES = {
    "padding": 0x1,
    "cfgs": 0x2,
    "head2": 0x8,
    "tails": 0x10,
    "fragments": 0x20,
    "prefixes": 0x40,
}
PLAIN, HEAD1, NONHEAD, HEAD2 = range(4)
PARTIAL = 0x8000
FILE_SLOT, PACKED_SLOT, PREFIXES_AT, DATA_BLOCK = 8, 64, BLOCK + 3072, 2

_INODE = struct.Struct("<HHHHIIIIHHI")
_CFGS = (
    struct.pack("<HHH10x", 14, 65535, 16),  # LZ4: longest distance, most blocks
    struct.pack("<HIH8x", 14, 1 << 20, 0),  # LZMA: dictionary
    struct.pack("<HB5x", 6, 15),  # DEFLATE: window
    struct.pack("<HBB4x", 6, 0, 10),  # Zstandard: window
)


def mkfs_erofs(tree: Path, image: Path, *options: str) -> Path:
    need("mkfs.erofs")
    image.touch()
    run("mkfs.erofs", "--quiet", *options, image, tree)
    return image


def padded(data: bytes) -> bytes:
    """Return compressed data as a block that it ends with."""
    return data.rjust(BLOCK, b"\0")


@dataclass(frozen=True, slots=True)
class Handmade:
    """An image with one compressed file.

    :ivar indexes: kind (and flags), offset in its cluster, block or distances; of each cluster.
    :ivar data: from :data:`DATA_BLOCK` on.
    :ivar detail: of the header of indexes: where in the packed inode the tail is, and so on.
    :ivar packed: content of that inode.
    :ivar xattrs: what is behind the header of attributes.
    :ivar prefixes: long prefixes of names, as they are stored.
    """

    size: int
    indexes: tuple[tuple[int, int, int], ...]
    data: bytes
    algorithms: int = 0
    advice: int = 0
    detail: int = 0
    cluster_bits: int = 0
    features: int = 0x3
    packed: bytes = b""
    xattrs: bytes = b""
    prefixes: tuple[bytes, ...] = ()
    root: int = 0
    layout: int = 1

    def image(self) -> bytes:
        metadata = bytearray(BLOCK)
        names = struct.pack("<QHBxQHBxQHBx", 0, 36, 2, 0, 37, 2, FILE_SLOT, 39, 1) + b"...file"
        folder = _INODE.pack(4, 0, 0o40755, 2, len(names), 0, 0, 1, 0, 0, 0) + names
        units = 1 + -(-len(self.xattrs) // 4) if self.xattrs else 0
        file = _INODE.pack(
            self.layout << 1, units, 0o100644, 1, self.size, 0, len(self.indexes), 2, 0, 0, 0
        )
        if units:
            file += bytes(12) + self.xattrs.ljust((units - 1) * 4, b"\0")
        file += bytes(-len(file) % 8)
        file += struct.pack("<IHBB8x", self.detail, self.advice, self.algorithms, self.cluster_bits)
        file += b"".join(struct.pack("<HHI", *index) for index in self.indexes)
        packed = _INODE.pack(4, 0, 0o100644, 1, len(self.packed), 0, 0, 3, 0, 0, 0) + self.packed
        for slot, record in ((0, folder), (FILE_SLOT, file), (PACKED_SLOT, packed)):
            metadata[slot * 32 : slot * 32 + len(record)] = record
        prefixes = b"".join(
            (struct.pack("<H", len(prefix)) + prefix).ljust(-(-(len(prefix) + 2) // 4) * 4, b"\0")
            for prefix in self.prefixes
        )
        start = PREFIXES_AT - BLOCK
        metadata[start : start + len(prefixes)] = prefixes
        data = self.data + bytes(-len(self.data) % BLOCK)
        blocks = DATA_BLOCK + len(data) // BLOCK
        superblock = SUPERBLOCK.pack(
            *(0xE0F5E1E2, 0, 0, 12, 0, self.root, 3, 7, 0, blocks, 1, 0, b"u" * 16, b"label"),
            *(self.features, 0xF, 0, 0, 0, len(self.prefixes), PREFIXES_AT // 4),
            PACKED_SLOT if self.packed else 0,
        )
        first = bytes(1024) + superblock + b"".join(_CFGS)
        return first.ljust(BLOCK, b"\0") + bytes(metadata) + data
