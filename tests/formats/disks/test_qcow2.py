"""qcow2 against qemu-img, which wrote every image here and says what is in it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from formats.core.errors import (
    CorruptError,
    EncryptedError,
    UnsupportedError,
)
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.source import ByteSource
from formats.disks.qcow2.reader import READER
from tests.support.disks import (
    check_extents,
    digest,
    inside,
    opened,
    qemu_content,
    whole,
)
from tests.support.programs import CORPUS, need, refuse, run

KIB, MIB = 1 << 10, 1 << 20

pytestmark = pytest.mark.usefixtures("qemu")


@pytest.fixture(scope="session")
def qemu() -> None:
    need("qemu-img", "qemu-io")


def text(seed: int, length: int) -> bytes:
    """Return bytes that compress by about half."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    words = [dice.randbytes(4) for _ in range(64)]
    return b"".join(dice.choices(words, k=length // 4 + 1))[:length]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk of 8 MiB and a bit: data, holes, noise, and an end that is no whole cluster."""
    path = tmp_path_factory.mktemp("qcow2") / "disk.raw"
    with path.open("wb") as file:
        file.write(text(1, MIB))
        file.seek(3 * MIB + 512)
        file.write(random.Random(2).randbytes(700_000))  # noqa: S311 - does not compress
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


def qemu_io(image: Path, *commands: str) -> None:
    run("qemu-io", "-f", "qcow2", *[part for line in commands for part in ("-c", line)], image)


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
    dice = random.Random(5)  # noqa: S311 - repeatable, not secret
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


# What is refused, and why


def problem(image: Path, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the text of the error that opening raises."""
    with opened(image, READER, limits=limits) as artifact:
        error = artifact.nodes[0].problem
        assert error is not None, "it was opened"
        return f"{error.code}: {error}"


def patch(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", path, "4M")
    qemu_io(path, "write -P 0x11 0 256k", "write -c -P 0x22 1M 64k", "write -P 0x33 2M 64k")
    return path


@pytest.mark.parametrize("kind", ["aes", "luks"])
def test_encrypted_images_are_refused_as_such(tmp_path: Path, kind: str) -> None:
    image = tmp_path / "disk.qcow2"
    options = f"encrypt.format={kind},encrypt.key-secret=key"
    secret = ["--object", "secret,id=key,data=word"]
    run("qemu-img", "create", *secret, "-f", "qcow2", "-o", options, image, "1M")
    with opened(image, READER) as artifact:
        error = artifact.nodes[0].problem
    assert isinstance(error, EncryptedError)
    assert kind.upper() in str(error)


def test_an_external_data_file_is_refused_by_name(tmp_path: Path) -> None:
    image, data = tmp_path / "disk.qcow2", tmp_path / "data.bin"
    run("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={data.name}", image, "1M")
    assert problem(image).startswith("unsupported:")
    assert "external data file, 'data.bin'" in problem(image)


def test_an_unknown_feature_is_refused_with_its_name(image: Path) -> None:
    patch(image, 72, bytes([0x80]))
    assert "bit 63" in problem(image)
    patch(image, 72, bytes(7) + bytes([0x20]))
    table = bytes([0, 5]) + b"warp drive".ljust(46, b"\0")
    extension = 0x6803F857.to_bytes(4, "big") + len(table).to_bytes(4, "big") + table
    patch(image, image.read_bytes()[103], extension + bytes(8))
    assert "not known: warp drive" in problem(image)


def test_an_image_marked_as_corrupt_is_refused_with_the_way_out(image: Path) -> None:
    patch(image, 79, b"\x02")
    assert "qemu-img check -r all" in problem(image)


def test_qcow_version_1_is_refused_by_name(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow"
    run("qemu-img", "create", "-f", "qcow", image, "1M")
    assert "qcow version 1 disk" in problem(image)


def test_backing_images_elsewhere_are_refused_unless_allowed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = outside / "base.raw"
    base.write_bytes(b"secret" * 1000)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "link.raw").symlink_to(base)
    image = folder / "top.qcow2"
    for name in [str(base), "../outside/base.raw", "link.raw"]:
        run("qemu-img", "create", "-f", "qcow2", "-u", "-b", name, "-F", "raw", image, "1M")
        text = problem(image)
        assert text.startswith("unsupported:"), name
        assert "--allow-backing" in text
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", str(base), "-F", "raw", image, "1M")
    with opened(image, READER, allow_backing=[outside]) as artifact:
        assert bytes(inside(artifact).read_at(0, 6)) == b"secret"


@pytest.mark.parametrize(
    "name",
    [
        'json:{"driver":"raw"}',
        "nbd://localhost/export",
        "file:base.raw",
        "https://example.com/base.qcow2",
        "..",
        "sub/base.raw",
    ],
)
def test_names_that_are_no_plain_names_are_refused(tmp_path: Path, name: str) -> None:
    image = tmp_path / "top.qcow2"
    (tmp_path / "base.raw").write_bytes(b"x" * 512)
    run("qemu-img", "create", "-f", "qcow2", image, "1M")
    set_backing(image, name, "raw")
    assert problem(image).startswith("unsupported:")
    assert "--allow-backing" in problem(image)


def set_backing(image: Path, name: str, backing_format: str | None) -> None:
    """Write a backing name that qemu-img would refuse to write."""
    header_length = image.read_bytes()[103]
    position = header_length
    if backing_format is not None:
        extension = 0xE2792ACA.to_bytes(4, "big") + len(backing_format).to_bytes(4, "big")
        padded = -(-len(backing_format) // 8) * 8
        patch(image, position, extension + backing_format.encode().ljust(padded, b"\0"))
        position += 8 + padded
    patch(image, position, bytes(8))
    patch(image, position + 8, name.encode())
    patch(image, 8, (position + 8).to_bytes(8, "big") + len(name.encode()).to_bytes(4, "big"))


def test_a_backing_format_that_is_not_stated_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(512))
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "1M")
    set_backing(image, "base.raw", None)
    assert "does not state its format" in problem(image)


def test_a_backing_format_that_is_not_true_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(MIB))
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "base.raw", "-F", "qcow2", image, "1M")
    assert "is not of the format 'qcow2'" in problem(image)


def test_a_missing_backing_image_is_named(tmp_path: Path) -> None:
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "gone.raw", "-F", "raw", image, "1M")
    assert "needs 'gone.raw', which is missing" in problem(image)


def test_an_image_that_backs_itself_meets_the_limit(tmp_path: Path) -> None:
    image = tmp_path / "loop.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "loop.qcow2", "-F", "qcow2", image, "1M")
    assert problem(image).startswith("limit-exceeded:")


# Damage


def test_a_disk_larger_than_the_limit_is_refused(image: Path) -> None:
    assert problem(image, limits=Limits(disk_virtual_bytes=MIB)).startswith("limit-exceeded:")


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (20, (8).to_bytes(4, "big"), "corrupt"),
        (20, (22).to_bytes(4, "big"), "corrupt"),
        (24, (1 << 62).to_bytes(8, "big"), "limit-exceeded"),
        (36, (0).to_bytes(4, "big"), "corrupt"),
        (36, (1 << 31).to_bytes(4, "big"), "limit-exceeded"),
        (40, (1).to_bytes(8, "big"), "corrupt"),
        (40, (1 << 40).to_bytes(8, "big"), "corrupt"),
        (40, (0).to_bytes(8, "big"), "corrupt"),
        (40, (0xFFFF_FFFF_FFFF_0000).to_bytes(8, "big"), "corrupt"),
        (100, (96).to_bytes(4, "big"), "corrupt"),
        (100, (105).to_bytes(4, "big"), "corrupt"),
        (104, b"\x01", "corrupt"),
        (4, (9).to_bytes(4, "big"), "unsupported"),
        (8, (1).to_bytes(8, "big") + (4096).to_bytes(4, "big"), "corrupt"),
        (8, (1 << 63).to_bytes(8, "big") + (10).to_bytes(4, "big"), "corrupt"),
    ],
)
def test_a_header_that_cannot_be_true_is_refused(
    image: Path, offset: int, value: bytes, code: str
) -> None:
    patch(image, offset, value)
    assert problem(image).startswith(f"{code}:")


def l1_offset(image: Path) -> int:
    return int.from_bytes(image.read_bytes()[40:48], "big")


def l2_offset(image: Path) -> int:
    place = l1_offset(image)
    return int.from_bytes(image.read_bytes()[place : place + 8], "big") & 0x00FF_FFFF_FFFF_FE00


@pytest.mark.parametrize("value", [1 << 40, 0x200, (1 << 56) - 512])
def test_an_l2_table_that_cannot_be_there_is_an_error_when_read(image: Path, value: int) -> None:
    patch(image, l1_offset(image), value.to_bytes(8, "big"))
    with opened(image, READER) as artifact, pytest.raises(CorruptError):
        inside(artifact).read_at(0, 512)


@pytest.mark.parametrize(
    "value",
    [
        1 << 40,
        0x200,
        (1 << 62) | (1 << 50),
        (1 << 62) | 0,
        (1 << 62) | ((1 << 62) - 1),
    ],
)
def test_a_cluster_that_cannot_be_there_is_an_error_when_read(image: Path, value: int) -> None:
    patch(image, l2_offset(image), value.to_bytes(8, "big"))
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        with pytest.raises(CorruptError) as caught:
            disk.read_at(0, 512)
        assert caught.value.origin is not None
        assert bytes(disk.read_at(2 * MIB, 2)) == b"\x33\x33", "the rest is still read"


def test_tables_that_point_at_themselves_end(image: Path) -> None:
    table = l1_offset(image)
    patch(image, table, table.to_bytes(8, "big"))
    with opened(image, READER) as artifact:
        assert len(whole(inside(artifact))) == 4 * MIB
    second = l2_offset(image)
    patch(image, second, second.to_bytes(8, "big") * 64)
    with opened(image, READER) as artifact:
        assert len(whole(inside(artifact))) == 4 * MIB


def test_damage_in_a_compressed_cluster_names_the_place(image: Path) -> None:
    descriptor = int.from_bytes(image.read_bytes()[l2_offset(image) + 16 * 8 :][:8], "big")
    host = descriptor & ((1 << 54) - 1)
    patch(image, host, b"\xff" * 64)
    with opened(image, READER) as artifact:
        disk = inside(artifact)
        disk.will_need([(MIB, 64 * KIB)])
        for _ in range(2):
            with pytest.raises(CorruptError, match="compressed cluster cannot be read") as caught:
                disk.read_at(MIB, 10)
            assert caught.value.offset == host


def read_all(disk: ByteSource) -> int:
    """Read every 64 KiB whatever the others give; return how many could not be read."""
    failed = 0
    for offset in range(0, disk.size, 64 * KIB):
        try:
            disk.read_at(offset, 64 * KIB)
        except CorruptError:
            failed += 1
    return failed


def test_a_truncated_image_never_gives_wrong_bytes(image: Path, tmp_path: Path) -> None:
    expected = qemu_content(image, "qcow2", tmp_path)
    complete = image.read_bytes()
    errors = 0
    for size in [*range(0, 600, 13), *range(600, len(complete), 4096 - 7)]:
        image.write_bytes(complete[:size])
        with opened(image, READER) as artifact:
            node = artifact.nodes[0]
            if node.problem is not None or node.reader is None:
                errors += 1
                continue
            disk = inside(artifact)
            for offset in range(0, disk.size, 64 * KIB):
                try:
                    data = bytes(disk.read_at(offset, 64 * KIB))
                except CorruptError:
                    errors += 1
                else:
                    assert data == expected[offset : offset + 64 * KIB]
    assert errors > 50


@pytest.mark.parametrize("options", ["compression_type=zstd", "extended_l2=on", "cluster_size=512"])
def test_any_changed_byte_gives_bytes_or_a_typed_error(tmp_path: Path, options: str) -> None:
    image = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-o", options, image, "512k")
    qemu_io(image, "write -P 0x11 0 100k", "write -c -P 0x22 128k 64k", "write -z 256k 64k")
    complete = image.read_bytes()
    tables = [*range(120), *range(l1_offset(image), l1_offset(image) + 16)]
    tables += range(l2_offset(image), l2_offset(image) + 160)
    dice = random.Random(11)  # noqa: S311 - repeatable, not secret
    limits = Limits(disk_virtual_bytes=16 * MIB)
    for _ in range(600):
        changed = bytearray(complete)
        for place in dice.choices(tables, k=dice.choice([1, 1, 2, 4])):
            changed[place] = dice.choice([0, 0xFF, 0x80, 1, dice.randrange(256)])
        image.write_bytes(changed)
        with opened(image, READER, limits=limits) as artifact:
            node = artifact.nodes[0]
            if node.problem is None and node.reader is not None:
                read_all(inside(artifact))


# The corpus

_CORPUS_IMAGES = (
    "dfvfs__ext2.qcow2",
    "dissect_backing-chain/backing-chain-1.qcow2",
    "dissect_backing-chain/backing-chain-2.qcow2",
    "dissect_backing-chain/backing-chain-3.qcow2",
)


def corpus(name: str) -> Path:
    path = CORPUS / "qcow2" / name
    if not path.is_file():
        refuse(f"the corpus is not here: {path.name}")
    return path


@pytest.mark.parametrize("name", _CORPUS_IMAGES)
def test_images_of_others_read_as_qemu_reads_them(name: str, tmp_path: Path) -> None:
    path = corpus(name)
    target = tmp_path / "oracle"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, target)
    with opened(path, READER) as artifact:
        ours = digest(inside(artifact))
    assert ours == run("sha256sum", target).stdout.split()[0].decode()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("dissect__data-file-alone.qcow2", UnsupportedError),
        ("dissect_data-file/data-file.qcow2", UnsupportedError),
    ],
)
def test_images_of_others_are_refused_for_their_reason(name: str, error: type[Exception]) -> None:
    with opened(corpus(name), READER) as artifact:
        assert isinstance(artifact.nodes[0].problem, error)
