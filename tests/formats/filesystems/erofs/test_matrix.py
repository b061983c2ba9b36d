"""Every option of mkfs.erofs, and what newer ones make: what we read is what the kernel shows."""

from __future__ import annotations

import lzma
import struct
import zlib
from pathlib import Path

import lz4.block
import pytest
import zstandard

from formats.core.errors import UnsupportedError
from tests.images.erofs import (
    BLOCK,
    DATA_BLOCK,
    FEATURES,
    HEAD1,
    HEAD2,
    NONHEAD,
    PARTIAL,
    PLAIN,
    Handmade,
    mkfs_erofs,
    padded,
)
from tests.images.ext_everything import noise
from tests.images.squashfs import fill_for_blocks
from tests.support.filesystems import listing
from tests.support.listing import Row, difference, kernel_listing, loop_mounted
from tests.support.memory_tree import varied
from tests.support.programs import corpus, need, need_root

OPTIONS = {
    "plain": (),
    "compact inodes": ("-Eforce-inode-compact", "--all-root", "-T1700000000"),
    "extended inodes": ("-Eforce-inode-extended",),
    "nothing inline": ("-Enoinline_data",),
    "chunks": ("--chunksize=4096",),
    "chunks with indexes": ("--chunksize=16384", "-Eforce-chunk-indexes"),
    "no attributes": ("-x-1",),
    "all attributes shared": ("-x1",),
    "lz4": ("-zlz4",),
    "lz4, large clusters": ("-zlz4hc", "-C65536"),
    "lz4, largest clusters": ("-zlz4", "-C1048576"),
    "lz4 of Linux 4.19": ("-zlz4", "-Elegacy-compress"),
    "lz4, short extents": ("-zlz4", "--max-extent-bytes=8192"),
    "lz4, inline tails": ("-zlz4", "-Eztailpacking"),
    "lz4, inline tails and full indexes": ("-zlz4", "-C65536", "-Eztailpacking,legacy-compress"),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_root()
    need("mkfs.erofs", "mount", "setcap", "setfacl")
    folder = tmp_path_factory.mktemp("everything")
    fill_for_blocks(folder)
    (folder / "names" / ("n" * 255)).rename(folder / "names" / ("n" * 254))  # all that 1.5 takes
    return folder


def kernels(image: Path) -> dict[bytes, Row]:
    need_root()
    with loop_mounted(image, "erofs") as root:
        return kernel_listing(root)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_reads_what_the_kernel_shows(name: str, everything: Path, tmp_path: Path) -> None:
    image = mkfs_erofs(everything, tmp_path / "image", *OPTIONS[name])
    kernel = kernels(image)
    assert len(kernel) > 1700
    assert difference(kernel, listing(image)) == []


def test_the_kernel_shows_acls(everything: Path, tmp_path: Path) -> None:
    """Or else the matrix proves nothing of them."""
    rows = kernels(mkfs_erofs(everything / "xattrs", tmp_path / "image"))
    names = {name for row in rows.values() for name, _ in row.xattrs}
    assert {b"system.posix_acl_access", b"system.posix_acl_default"} <= names


def test_files_on_another_device_are_refused_by_name(everything: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    options = ("--chunksize=4096", f"--blobdev={blobs}")
    image = mkfs_erofs(everything / "blocks", tmp_path / "image", *options)
    with pytest.raises(UnsupportedError, match="on 1 further devices"):
        listing(image)


def test_an_image_of_others_is_what_the_kernel_shows() -> None:
    image = corpus("raw/util-linux__erofs.img")
    assert difference(kernels(image), listing(image)) == []


def microlzma(data: bytes) -> bytes:
    coder = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=[coder])
    return bytes([0xFF - (2 * 45 + 3)]) + packed[1:]


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def lz4_block(data: bytes) -> bytes:
    return bytes(lz4.block.compress(data, mode="high_compression", store_size=False))


TEXT = varied(10_000)
ONE_EXTENT = ((HEAD1, 0, DATA_BLOCK), (NONHEAD, 0, 0x2_0001), (NONHEAD, 0, 0x1_0002))
FIRST = 5000
"""Where a second extent begins."""
TWO_EXTENTS = (
    (HEAD1, 0, DATA_BLOCK),
    (HEAD1, FIRST - BLOCK, DATA_BLOCK + 1),
    (NONHEAD, 0, 0x1_0001),
)
_TURN = FIRST - BLOCK
_LITERAL = noise(BLOCK, 1)
_TAIL = noise(700, 2)
_FRAGMENTS = FEATURES["padding"] | FEATURES["cfgs"] | FEATURES["fragments"]

HANDMADE = {
    "lz4": (TEXT, Handmade(10_000, ONE_EXTENT, padded(lz4_block(TEXT)))),
    "deflate": (TEXT, Handmade(10_000, ONE_EXTENT, padded(deflate(TEXT)), algorithms=2)),
    "zstd": (TEXT, Handmade(10_000, ONE_EXTENT, padded(zstandard.compress(TEXT)), algorithms=3)),
    "lzma": (
        TEXT,
        Handmade(
            10_000,
            ((HEAD1 | PARTIAL, 0, DATA_BLOCK), *ONE_EXTENT[1:]),
            padded(microlzma(TEXT)),
            algorithms=1,
            features=_FRAGMENTS,
            packed=b"-",
        ),
    ),
    "two compressors": (
        TEXT[:FIRST] * 2,
        Handmade(
            2 * FIRST,
            (TWO_EXTENTS[0], (HEAD2, *TWO_EXTENTS[1][1:]), TWO_EXTENTS[2]),
            padded(lz4_block(TEXT[:FIRST])) + padded(deflate(TEXT[:FIRST])),
            algorithms=0x20,
            features=FEATURES["padding"] | FEATURES["cfgs"] | FEATURES["head2"],
        ),
    ),
    "the same cluster twice": (
        TEXT[:FIRST] + TEXT[:4100],
        Handmade(
            FIRST + 4100,
            (
                (HEAD1 | PARTIAL, 0, DATA_BLOCK),
                (HEAD1 | PARTIAL, _TURN, DATA_BLOCK),
                (NONHEAD, 0, 0x1_0001),
            ),
            padded(lz4_block(TEXT)),
            features=_FRAGMENTS,
            packed=b"-",
        ),
    ),
    "interlaced literals": (
        TEXT[:FIRST] + _LITERAL,
        Handmade(
            FIRST + BLOCK,
            ((HEAD1, 0, DATA_BLOCK), (PLAIN, _TURN, DATA_BLOCK + 1), (PLAIN, _TURN, 0)),
            padded(lz4_block(TEXT[:FIRST])) + _LITERAL[-_TURN:] + _LITERAL[:-_TURN],
            advice=0x10,
            features=_FRAGMENTS,
            packed=b"-",
        ),
    ),
    "literals": (
        TEXT[:FIRST] + _LITERAL,
        Handmade(
            FIRST + BLOCK,
            ((HEAD1, 0, DATA_BLOCK), (PLAIN, _TURN, DATA_BLOCK + 1), (PLAIN, _TURN, 0)),
            padded(lz4_block(TEXT[:FIRST])) + _LITERAL,
        ),
    ),
    "a tail in a fragment": (
        TEXT[:FIRST] + _TAIL,
        Handmade(
            FIRST + len(_TAIL),
            ((HEAD1, 0, DATA_BLOCK), (HEAD1, _TURN, 0)),
            padded(lz4_block(TEXT[:FIRST])),
            advice=0x20,
            detail=100,
            features=_FRAGMENTS,
            packed=noise(100, 3) + _TAIL + b"more",
        ),
    ),
    "all in a fragment": (
        _TAIL,
        Handmade(
            len(_TAIL),
            (),
            b"",
            cluster_bits=0x80,
            detail=55,
            features=_FRAGMENTS,
            packed=noise(55, 3) + _TAIL + b"more",
        ),
    ),
}


@pytest.mark.parametrize("name", HANDMADE)
def test_it_reads_what_newer_tools_make_as_the_kernel_does(name: str, tmp_path: Path) -> None:
    content, handmade = HANDMADE[name]
    image = tmp_path / "image"
    image.write_bytes(handmade.image())
    with loop_mounted(image, "erofs") as root:
        assert (root / "file").read_bytes() == content
        kernel = kernel_listing(root)
    assert difference(kernel, listing(image)) == []


def test_it_reads_long_prefixes_of_attributes_as_the_kernel_does(tmp_path: Path) -> None:
    entries = ((0x80, b"first", b"1"), (0x81, b"", b"second"), (1, b"short", b""))
    xattrs = b""
    for prefix, name, value in entries:
        entry = struct.pack("<BBH", len(name), prefix, len(value)) + name + value
        xattrs += entry.ljust(-(-len(entry) // 4) * 4, b"\0")
    handmade = Handmade(
        10_000,
        ONE_EXTENT,
        padded(lz4_block(TEXT)),
        features=0x3 | FEATURES["prefixes"],
        xattrs=xattrs,
        prefixes=(b"\4overlay.", b"\1all of it"),
    )
    image = tmp_path / "image"
    image.write_bytes(handmade.image())
    kernel = kernels(image)
    names = [name for name, _ in kernel[b"file"].xattrs]
    assert names == [b"trusted.overlay.first", b"user.all of it", b"user.short"]
    assert difference(kernel, listing(image)) == []
