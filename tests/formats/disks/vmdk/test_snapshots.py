from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from tests.formats.disks.vmdk.support import (
    opened,
    qemu_content,
    qemu_disk,
    read_disk,
)
from tests.images.vmdk import (
    SECTOR,
    cowd,
    descriptor,
    grains_of,
    mixed_content,
    sesparse,
    write_set,
)
from tests.support.disks import check_extents, whole
from tests.support.programs import need, run

SIZE = (6 << 20) + SECTOR
TEXT_END = 21 * SECTOR
WRITES = ["write -P 17 100k 200k", "write -P 0 1M 64k", "write -P 18 6M 512"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return qemu_disk(mixed_content(SIZE), tmp_path, "subformat=monolithicSparse", name="base.vmdk")


def child_of(parent: Path, name: str, *options: str, writes: list[str] = WRITES) -> Path:
    need("qemu-img", "qemu-io")
    path = parent.with_name(name)
    backing = ("-b", parent.name, "-F", "vmdk")
    command = ("qemu-img", "create", "-f", "vmdk", *backing, *options, path.name)
    run(*command, cwd=parent.parent)
    commands = [part for write in writes for part in ("-c", write)]
    run("qemu-io", "-f", "vmdk", *commands, path)
    return path


def embedded(path: Path) -> bytes:
    """Return the descriptor that qemu-img has put into a sparse disk."""
    return path.read_bytes()[SECTOR:TEXT_END].rstrip(b"\0")


def embed(path: Path, text: bytes) -> None:
    data = path.read_bytes()
    text = text.ljust(TEXT_END - SECTOR, b"\0")
    path.write_bytes(data[:SECTOR] + text + data[TEXT_END:])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-o", "zeroed_grain=on"),
        ("-o", "subformat=twoGbMaxExtentSparse"),
    ],
)
def test_a_snapshot_reads_as_qemu_reads_it(options: tuple[str, ...], base: Path) -> None:
    child = child_of(base, "child.vmdk", *options)
    with opened(child) as disk:
        assert whole(disk.source, 77_777) == qemu_content(child)
        check_extents(disk.source)
        assert disk.facts["parent"] == "base.vmdk"


def test_a_chain_of_snapshots_is_followed_to_its_base(base: Path) -> None:
    path = base
    for number in range(4):
        path = child_of(path, f"s{number}.vmdk", writes=[f"write -P {number} {number}M 128k"])
    assert read_disk(path) == qemu_content(path)


def test_a_zeroed_grain_hides_the_parent(base: Path) -> None:
    writes = ["write -z 128k 1M"]
    child = child_of(base, "child.vmdk", "-o", "zeroed_grain=on", writes=writes)
    ours = read_disk(child)
    assert ours == qemu_content(child)
    assert ours[128 << 10 : (128 << 10) + (1 << 20)] == bytes(1 << 20)


def test_a_snapshot_larger_than_its_parent_is_zeros_behind_it(base: Path) -> None:
    child = child_of(base, "child.vmdk", writes=[])
    large = base.with_name("large.vmdk")
    run("qemu-img", "create", "-f", "vmdk", large, "9M")
    embed(large, embedded(child))
    with opened(large) as disk:
        assert whole(disk.source) == read_disk(base).ljust(9 << 20, b"\0")
        check_extents(disk.source)


@pytest.mark.parametrize("kind", ["VMFSSPARSE", "SESPARSE"])
def test_an_esxi_snapshot_over_a_flat_disk_reads_as_qemu_reads_it(
    kind: str, tmp_path: Path
) -> None:
    below, above = mixed_content(SIZE, seed=1), mixed_content(SIZE, seed=2)
    sectors = SIZE // SECTOR
    text = descriptor("vmfs", [f'RW {sectors} VMFS "base-flat.vmdk"'], cid="0000beef")
    write_set(tmp_path, "base.vmdk", text, {"base-flat.vmdk": below})
    grain_bytes = 4096
    grains = dict(list(grains_of(above, grain_bytes).items())[::2])
    data = cowd(sectors, grains, 8) if kind == "VMFSSPARSE" else sesparse(sectors, grains)
    text = descriptor(
        "vmfsSparse" if kind == "VMFSSPARSE" else "seSparse",
        [f'RW {sectors} {kind} "snap-data.vmdk"'],
        parent_cid="0000beef",
        parent="base.vmdk",
    )
    path = write_set(tmp_path, "snap.vmdk", text, {"snap-data.vmdk": data})
    expected = bytearray(below)
    for number, grain in grains.items():
        start = number * grain_bytes
        expected[start : start + grain_bytes] = grain[: SIZE - start]
    assert read_disk(path) == bytes(expected) == qemu_content(path)


@pytest.mark.parametrize(
    "hint", [b"/vmfs/volumes/datastore/vm/base.vmdk", b"C:\\Machines\\vm\\base.vmdk"]
)
def test_the_hint_may_have_a_path_of_the_host_where_the_parent_is_beside(
    hint: bytes, base: Path
) -> None:
    child = child_of(base, "child.vmdk")
    expected = read_disk(child)
    embed(child, embedded(child).replace(b'"base.vmdk"', b'"%s"' % hint))
    assert hint in embedded(child)
    assert read_disk(child) == expected


def test_a_missing_parent_is_named(base: Path) -> None:
    child = child_of(base, "child.vmdk")
    base.unlink()
    with pytest.raises(CorruptError, match=r"snapshot of 'base\.vmdk', which is missing"):
        read_disk(child)


def test_a_parent_that_changed_after_the_snapshot_is_refused(base: Path) -> None:
    child = child_of(base, "child.vmdk")
    text = embedded(base)
    cid = text.split(b"\nCID=", 1)[1][:8]
    embed(base, text.replace(b"CID=" + cid, b"CID=0badcafe", 1))
    with pytest.raises(CorruptError, match="now has CID 0badcafe: it was changed"):
        read_disk(child)


@pytest.mark.parametrize(
    ("parent_cid", "parent", "message"),
    [
        ("ffffffff", "base.vmdk", "says that it has none"),
        ("11111111", None, "does not name it"),
        ("11111111", "", "does not name it"),
        ("12345678", "../base.vmdk", r"snapshot of '\.\./base\.vmdk', which is missing"),
        ("12345678", "/etc/passwd", "snapshot of '/etc/passwd', which is missing"),
        ("12345678", "..", "not a plain name"),
        ("12345678", "link.vmdk", "symlink"),
    ],
)
def test_a_parent_that_is_not_stated_well_is_refused(
    parent_cid: str, parent: str | None, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "vm"
    folder.mkdir()
    base = descriptor("vmfs", ["RW 8 ZERO"])
    write_set(tmp_path, "base.vmdk", base, {})
    (folder / "link.vmdk").symlink_to(tmp_path / "base.vmdk")
    text = descriptor("vmfsSparse", ["RW 8 ZERO"], parent_cid=parent_cid, parent=parent)
    path = write_set(folder, "child.vmdk", text, {})
    with pytest.raises((CorruptError, UnsupportedError), match=message):
        read_disk(path)


def test_a_parent_in_an_allowed_folder_is_taken(base: Path, tmp_path: Path) -> None:
    child = child_of(base, "child.vmdk")
    expected = read_disk(child)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.move(base, folder / "moved.vmdk")
    embed(child, embedded(child).replace(b'"base.vmdk"', b'"elsewhere/moved.vmdk"'))
    with opened(child, allow=[folder]) as disk:
        assert whole(disk.source) == expected
    with pytest.raises(CorruptError, match="which is missing"):
        read_disk(child)


def test_a_disk_that_is_its_own_parent_ends_at_a_limit(tmp_path: Path) -> None:
    text = descriptor("vmfsSparse", ["RW 8 ZERO"], parent_cid="12345678", parent="child.vmdk")
    path = write_set(tmp_path, "child.vmdk", text, {})
    with pytest.raises(LimitError, match="chain of backing images"):
        read_disk(path)
