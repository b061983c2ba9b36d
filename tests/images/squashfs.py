"""Squashfs images, by mksquashfs(1)."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.images.ext_everything import KIB, MIB, fill, noise
from tests.support.memory_tree import varied
from tests.support.programs import need, run

SUPERBLOCK = struct.Struct("<4s4I6H8Q")
INODE = struct.Struct("<HHHHII")
EXTENDED_FILE = struct.Struct("<QQQIIII")
NONE = 0xFFFF_FFFF


def fill_for_blocks(root: Path) -> None:
    """Make a tree of everything, with what the blocks of squashfs make a difference for.

    To be called by root.
    """
    fill(root)
    _blocks(root / "blocks")
    _every_kind_with_attributes(root)


def _blocks(folder: Path) -> None:
    """Sizes around the borders of blocks, which compress and which do not, and many tails."""
    folder.mkdir()
    for number, size in enumerate((4 * KIB, 128 * KIB - 1, 128 * KIB, 256 * KIB + 1)):
        (folder / f"text {size}").write_bytes(varied(size, number))
    (folder / "noise").write_bytes(noise(256 * KIB, 7))
    (folder / "duplicate").write_bytes(noise(256 * KIB, 7))
    (folder / "large").write_bytes(varied(MIB + 777, 9))
    (folder / "zeros inside").write_bytes(varied(300 * KIB) + bytes(2 * MIB) + varied(5000))
    (folder / "zeros at the end").write_bytes(b"x" + bytes(MIB))
    (folder / "program").write_bytes(Path(os.__file__).read_bytes() + Path("/bin/ls").read_bytes())
    for number in range(300):
        (folder / f"small {number}").write_bytes(varied(number * 37 % 3000, number))


def _every_kind_with_attributes(root: Path) -> None:
    """Attributes make the inode of any kind an extended one; equal values are stored once."""
    folder = root / "extended"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "character device", 0o20600, os.makedev(1, 3))
    os.mknod(folder / "block device", 0o60600, os.makedev(8, 1))
    os.mknod(folder / "socket", 0o140600)
    (folder / "symlink").symlink_to("../blocks")
    (folder / "file").write_bytes(varied(300 * KIB))
    (folder / "folder").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        os.setxattr(path, "trusted.shared", noise(200, 1), follow_symlinks=False)
        os.setxattr(path, "security.own", b"%d" % number, follow_symlinks=False)
    os.setxattr(folder, "user.first", noise(2 * KIB, 2))
    os.setxattr(folder / "folder", "user.second", noise(2 * KIB, 2))


def mksquashfs(tree: Path, image: Path, *options: str) -> Path:
    """Make an image of a folder, or add the folder to an image that is there."""
    need("mksquashfs")
    quiet = ("-quiet", "-no-progress", "-processors", "1")
    run("mksquashfs", tree, image, *quiet, *options)
    return image


@dataclass(frozen=True, slots=True)
class Handmade:
    """An image with one file, byte by byte, for what mksquashfs does not write.

    :ivar file: the file's inode, after the fields that all inodes have in common.
    :ivar kind: of that inode.
    :ivar data: what is right behind the superblock.
    :ivar names: of the root folder, and whether each is the folder itself and not the file.
    :ivar superblock: fields that shall be different, by their place in :data:`SUPERBLOCK`.
    """

    file: bytes
    kind: int = 9
    data: bytes = b""
    owner: int = 0
    fragments: tuple[tuple[int, int], ...] = ()
    names: tuple[tuple[bytes, bool], ...] = ((b"file", False),)
    superblock: Mapping[int, int] = field(default_factory=dict)

    def image(self) -> bytes:
        file = INODE.pack(self.kind, 0o644, self.owner, 0, 7, 1) + self.file
        root = _reference(len(file))
        listing = b"".join(
            struct.pack("<IIIHhHH", 0, place >> 16, 0, place & 0xFFFF, 1, 2, len(name) - 1) + name
            for name, place in ((name, root if is_root else 0) for name, is_root in self.names)
        )
        folder = INODE.pack(1, 0o755, 0, 0, 7, 2)
        folder += struct.pack("<IIHHI", 0, 2, len(listing) + 3, 0, 3)
        inodes = SUPERBLOCK.size + len(self.data)
        directories = inodes + len(_metadata(file + folder))
        records = b"".join(struct.pack("<QII", *fragment, 0) for fragment in self.fragments)
        image = self.data + _metadata(file + folder) + _metadata(listing)
        image, fragments = _with_table(image, records)
        image, ids = _with_table(image, bytes(4))
        end = SUPERBLOCK.size + len(image)
        none = 0xFFFF_FFFF_FFFF_FFFF
        counts = (2, 1700000000, 1 << 20, len(self.fragments))
        flags = (1, 20, 0, 1, 4, 0)
        places = (root, end, ids, none, inodes, directories, fragments, none)
        fields = [b"hsqs", *counts, *flags, *places]
        for number, value in self.superblock.items():
            fields[number] = value
        image = SUPERBLOCK.pack(*fields) + image
        return image + bytes(-len(image) % 4096)


def _reference(offset: int) -> int:
    """Return the reference of an inode that begins there before its table was cut into blocks."""
    number, rest = divmod(offset, 8192)
    return number * 8194 << 16 | rest


def _metadata(content: bytes) -> bytes:
    """Return content in metadata blocks that are not compressed."""
    blocks = (content[start : start + 8192] for start in range(0, len(content), 8192))
    return b"".join((0x8000 | len(block)).to_bytes(2, "little") + block for block in blocks)


def _with_table(image: bytes, records: bytes) -> tuple[bytes, int]:
    """Return an image with a lookup table of one block behind it, and where the table is."""
    place = SUPERBLOCK.size + len(image)
    image += _metadata(records)
    return image + place.to_bytes(8, "little"), SUPERBLOCK.size + len(image)
