"""qcow2 against qemu-img, which wrote every image here and says what is in it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from formats.core.limits import Limits
from formats.disks.qcow2.reader import READER
from tests.formats.disks.qcow2.support import (
    KIB,
    MIB,
    patch,
    qemu_io,
)
from tests.support.disks import check_extents, inside, opened, qemu_content, whole
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")


def text(seed: int, length: int) -> bytes:
    """Return bytes that compress by about half."""
    dice = random.Random(seed)
    words = [dice.randbytes(4) for _ in range(64)]
    return b"".join(dice.choices(words, k=length // 4 + 1))[:length]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk of 8 MiB and a bit: data, holes, noise, and an end that is no whole cluster."""
    path = tmp_path_factory.mktemp("qcow2") / "disk.raw"
    with path.open("wb") as file:
        file.write(text(1, MIB))
        file.seek(3 * MIB + 512)
        file.write(random.Random(2).randbytes(700_000))
        file.seek(6 * MIB + 300 * KIB)
        file.write(text(3, 900 * KIB))
        file.truncate(8 * MIB + 512 * 5)
    return path


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    options: str
    is_compressed: bool = False


CASES = (
    Case("v3", "compat=1.1"),
    Case("v2", "compat=0.10"),
    Case("v2-zlib", "compat=0.10", is_compressed=True),
    Case("zlib", "compression_type=zlib", is_compressed=True),
    Case("zstd", "compression_type=zstd", is_compressed=True),
    Case("512", "cluster_size=512"),
    Case("512-zlib", "cluster_size=512", is_compressed=True),
    Case("1k-zstd", "cluster_size=1k,compression_type=zstd", is_compressed=True),
    Case("4k-zlib", "cluster_size=4k", is_compressed=True),
    Case("2m", "cluster_size=2M"),
    Case("2m-zlib", "cluster_size=2M", is_compressed=True),
    Case("2m-zstd", "cluster_size=2M,compression_type=zstd", is_compressed=True),
    Case("extended", "extended_l2=on"),
    Case("extended-zstd", "extended_l2=on,compression_type=zstd", is_compressed=True),
    Case("extended-16k", "extended_l2=on,cluster_size=16k"),
    Case("extended-2m", "extended_l2=on,cluster_size=2M"),
    Case("metadata", "preallocation=metadata"),
    Case("falloc", "preallocation=falloc"),
    Case("full", "preallocation=full"),
    Case("lazy", "lazy_refcounts=on"),
    Case("refcount-1", "refcount_bits=1"),
)


def convert(raw: Path, image: Path, case: Case) -> None:
    compress = ["-c"] if case.is_compressed else []
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", case.options, *compress]
    run(*command, raw, image)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reads_what_qemu_wrote(raw: Path, tmp_path: Path, case: Case) -> None:
    image = tmp_path / "disk.qcow2"
    convert(raw, image, case)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        content = whole(disk)
        assert content == raw.read_bytes()
        assert content == whole(disk, 100_001), "in odd steps"
        holes = check_extents(disk)
    if not case.options.startswith("preallocation"):
        assert holes > 2 * MIB


@pytest.mark.parametrize("case", CASES[:10], ids=lambda case: case.name)
def test_small_reads_in_any_order_agree(raw: Path, tmp_path: Path, case: Case) -> None:
    image = tmp_path / "disk.qcow2"
    convert(raw, image, case)
    expected = raw.read_bytes()
    dice = random.Random(5)
    with opened(image, READER, limits=Limits(cache_bytes=256 * KIB)) as artifact:
        disk = inside(artifact)
        for _ in range(1000):
            offset, length = dice.randrange(disk.size), dice.choice([1, 512, 4096, 200_000])
            assert bytes(disk.read_at(offset, length)) == expected[offset : offset + length]


@pytest.mark.parametrize(
    "options",
    ["compat=1.1", "extended_l2=on", "extended_l2=on,cluster_size=16k", "cluster_size=4k"],
)
def test_zeroed_discarded_and_rewritten_clusters(tmp_path: Path, options: str) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-o", options, image, "4M")
    qemu_io(
        image,
        "write -P 0x11 0 2M",
        "write -z 64k 64k",
        "write -z -u 256k 128k",
        "write -P 0x22 66k 2k",
        "discard 1M 256k",
        "write -P 0x33 3000k 3k",
        "write -z 3001k 1k",
        "write -c -P 0x44 2560k 64k",
        "write -P 0x55 2570k 4k",
    )
    expected = qemu_content(image, "qcow2", tmp_path)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == expected
        check_extents(disk)


@pytest.mark.parametrize("options", ["compat=1.1", "compat=0.10", "extended_l2=on"])
def test_a_chain_of_backing_images(raw: Path, tmp_path: Path, options: str) -> None:
    run("cp", "--sparse=always", raw, tmp_path / "base.raw")
    chain = [("middle", "base.raw", "raw"), ("top", "middle.qcow2", "qcow2")]
    for name, below, below_format in chain:
        run(
            *["qemu-img", "create", "-f", "qcow2", "-o", options, "-b", below, "-F", below_format],
            tmp_path / f"{name}.qcow2",
            "10M",
        )
    qemu_io(tmp_path / "middle.qcow2", "write -P 0x11 100k 300k", "write -P 0x12 9M 64k")
    qemu_io(tmp_path / "top.qcow2", "write -P 0x21 200k 5k", "write -P 0 3M 1M")
    if "0.10" not in options:
        qemu_io(tmp_path / "top.qcow2", "write -z 6500k 100k")
    expected = qemu_content(tmp_path / "top.qcow2", "qcow2", tmp_path)
    with opened(tmp_path / "top.qcow2", READER) as artifact:
        disk = inside(artifact)
        assert whole(disk) == expected
        assert check_extents(disk) > 5 * MIB, "holes of the backing file are holes"
        facts = artifact.nodes[0].facts
    assert facts["backing image"] == "'middle.qcow2' (qcow2)"


def test_a_backing_image_smaller_than_the_disk_reads_as_zeros_beyond(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(b"\x77" * (MIB + 512))
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", image, "3M")
    qemu_io(image, "write -P 0x21 2M 1k")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == qemu_content(image, "qcow2", tmp_path)


def test_internal_snapshots_are_ignored_and_said(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "2M")
    qemu_io(image, "write -P 0x11 0 1M")
    run("qemu-img", "snapshot", "-c", "before", image)
    qemu_io(image, "write -P 0x22 512k 1M")
    with opened(image, READER) as artifact:
        content = whole(inside(artifact))
        assert artifact.nodes[0].facts["internal snapshots"] == "1, ignored"
    assert content == qemu_content(image, "qcow2", tmp_path)


def test_a_bitmap_and_other_compatible_features_do_no_harm(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "2M")
    run("qemu-img", "bitmap", "--add", image, "backup")
    qemu_io(image, "write -P 0x11 0 100k")
    with opened(image, READER) as artifact:
        assert whole(inside(artifact)) == qemu_content(image, "qcow2", tmp_path)


def test_a_disk_of_terabytes_opens_at_once_and_is_one_hole(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "4T")
    qemu_io(image, "write -P 0x11 3T 64k")
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        data = [extent for extent in disk.extents() if not extent.is_hole]
        assert [(extent.offset, extent.length) for extent in data] == [(3 << 40, 64 * KIB)]
        assert bytes(disk.read_at((3 << 40) - 2, 4)) == b"\0\0\x11\x11"


def test_an_empty_disk_has_no_bytes(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "0")
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        assert disk.size == 0
        assert bytes(disk.read_at(0, 10)) == b""
        assert list(disk.extents()) == []


def test_a_dirty_image_is_read_and_said(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-o", "lazy_refcounts=on", image, "2M")
    qemu_io(image, "write -P 0x11 0 100k", "flush")
    patch(image, 79, b"\x01")
    with opened(image, READER) as artifact:
        assert bytes(inside(artifact).read_at(0, 3)) == b"\x11" * 3
        assert [finding.rule for finding in artifact.findings] == ["qcow2-dirty"]
