"""Appliances: descriptor and files in one archive, read in place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from formats.core.errors import AmbiguousError, ConvertError, CorruptError, UnsupportedError
from formats.core.opener import Node
from tests.images.lvm import blank_disks, lvm_on
from tests.images.ovf import manifest, pack, package, stream_optimised, tarfile_of
from tests.images.recipes import tiny_server
from tests.images.volumes import opened, patch
from tests.support.disks import whole
from tests.support.listing import difference, kernel_listing, loop_mounted, tree_listing
from tests.support.programs import need, need_root, run

FILES = ("server.ovf", "server.mf", "one.vmdk", "two.vmdk")
COMMANDS = (
    "tar --format=v7",
    "tar --format=ustar",
    "tar --format=gnu",
    "tar --format=posix",
    "bsdtar --format=ustar",
    "bsdtar --format=pax",
    "tar --sparse --format=posix",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two disks, each stream-optimised, with descriptor and manifest."""
    made = tmp_path_factory.mktemp("ova") / "server"
    made.mkdir()
    for name in ("one", "two"):
        raw = made.parent / f"{name}.raw"
        raw.write_bytes(name.encode() * 300_000 + bytes(1 << 20))
        stream_optimised(raw, made / f"{name}.vmdk")
    (made / "server.ovf").write_text(package("one.vmdk", "two.vmdk").text())
    (made / "server.mf").write_text(manifest(made, ["server.ovf", "one.vmdk", "two.vmdk"]))
    return made


def _contents(node: Node) -> list[bytes]:
    found = []
    for disk in node.children:
        if disk.problem is not None:
            raise disk.problem
        assert disk.reader is not None
        assert disk.reader.name == "vmdk"
        found.append(whole(disk.children[0].volume.source))
    return found


def _check(path: Path, folder: Path) -> None:
    with opened(path) as artifact:
        (node,) = artifact.nodes
        while node.reader is not None and node.reader.name != "ova":
            assert node.problem is None, str(node.problem)
            (node,) = node.children
        assert node.problem is None, str(node.problem)
        assert "3 files verified" in node.facts["manifest"]
        for found, name in zip(_contents(node), ("one", "two"), strict=True):
            raw = (folder.parent / f"{name}.raw").read_bytes()
            assert found[: len(raw)] == raw


@pytest.mark.parametrize("command", COMMANDS)
def test_archives_of_all_formats_are_read(folder: Path, command: str) -> None:
    _check(pack(folder, FILES, command=command), folder)


@pytest.mark.parametrize(
    "names", [FILES[::-1], ("one.vmdk", "server.mf", "server.ovf", "two.vmdk"), (".",)]
)
def test_members_may_come_in_any_order(folder: Path, names: tuple[str, ...]) -> None:
    _check(pack(folder, names), folder)


def test_a_package_may_be_packed_with_its_folder(folder: Path, tmp_path: Path) -> None:
    run("tar", "-cf", tmp_path / "x.ova", "-C", folder.parent, folder.name)
    _check(tmp_path / "x.ova", folder)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_compressed_appliances_are_read(folder: Path, tmp_path: Path, ending: str) -> None:
    data = pack(folder, FILES).read_bytes()
    (tmp_path / f"x.ova.{ending}").write_bytes(COMPRESSIONS[ending](data))
    _check(tmp_path / f"x.ova.{ending}", folder)


def test_breadcrumbs_lead_from_the_appliance_to_the_disk(folder: Path) -> None:
    with opened(pack(folder, FILES)) as artifact:
        origins = [str(node.origin) for node in artifact.walk()]
    assert origins[1] == "server.ova › one.vmdk"


def test_a_changed_byte_in_a_member_is_found_by_the_manifest(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.ova"
    path.write_bytes(pack(folder, FILES).read_bytes())
    with tarfile.open(path) as archive:
        offset = archive.getmember("two.vmdk").offset_data
    patch(path, offset + 600, b"x")
    with opened(path) as artifact:
        problem = artifact.nodes[0].problem
    assert isinstance(problem, CorruptError)
    assert "x.ova › two.vmdk: is not what the manifest says" in str(problem)


def test_an_archive_cut_short_is_an_error_with_its_place(folder: Path, tmp_path: Path) -> None:
    data = pack(folder, FILES).read_bytes()
    with tarfile.open(folder.with_suffix(".ova")) as archive:
        last = archive.getmember("two.vmdk")
    for end in (last.offset + 100, last.offset_data, last.offset_data + last.size - 1):
        (tmp_path / "x.ova").write_bytes(data[:end])
        with opened(tmp_path / "x.ova") as artifact:
            problem = artifact.nodes[0].problem
        assert isinstance(problem, CorruptError)
        assert problem.offset == last.offset


def test_chunks_are_found_among_the_members(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    content = bytes(range(256)) * 40
    names = [f"disk.raw.{number:09}" for number in range(3)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(content[number * 4096 : (number + 1) * 4096])
    what = package("disk.raw")
    file = {**what.files[0], "chunkSize": "4096", "size": str(len(content))}
    (folder / "server.ovf").write_text(replace(what, files=(file,)).text())
    with opened(pack(folder, [*names, "server.ovf"])) as artifact:
        (disk,) = artifact.nodes[0].children
        assert whole(disk.volume.source) == content


def test_extents_and_parents_are_found_among_the_members(tmp_path: Path) -> None:
    need("qemu-img")
    folder = tmp_path / "server"
    (folder / "my disks").mkdir(parents=True)
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"extents" * 100_000 + bytes(1 << 20))
    options = ("-O", "vmdk", "-o", "subformat=twoGbMaxExtentFlat")
    run("qemu-img", "convert", *options, raw, folder / "my disks" / "split.vmdk")
    backing = ("-o", "backing_file=base.qcow2,backing_fmt=qcow2")
    run("qemu-img", "convert", "-O", "qcow2", raw, folder / "my disks" / "base.qcow2")
    run("qemu-img", "create", "-f", "qcow2", *backing, "top.qcow2", cwd=folder / "my disks")
    what = package("my%20disks/split.vmdk", "my disks/top.qcow2")
    (folder / "server.ovf").write_text(what.text())
    with opened(pack(folder, ["my disks", "server.ovf"])) as artifact:
        split, top = artifact.nodes[0].children
        for disk in (split, top):
            assert disk.problem is None, str(disk.problem)
            assert whole(disk.children[0].volume.source)[:700_000] == b"extents" * 100_000


def _info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _disk_problem(path: Path) -> ConvertError | None:
    with opened(path) as artifact:
        (node,) = artifact.nodes
        return node.problem or node.children[0].problem


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc/hostname"), (tarfile.LNKTYPE, "/etc/hostname"), (tarfile.CHRTYPE, "")],
)
def test_links_and_devices_are_no_disks(tmp_path: Path, kind: bytes, target: str) -> None:
    descriptor = package("disk.vmdk").text().encode()
    members = [(_info("server.ovf"), descriptor), (_info("disk.vmdk", kind, target), b"")]
    problem = _disk_problem(tarfile_of(tmp_path / "x.ova", members))
    assert isinstance(problem, UnsupportedError)
    assert "'disk.vmdk', which is a" in problem.message


@pytest.mark.parametrize("name", ["../disk.vmdk", "/disk.vmdk", "a/../../disk.vmdk"])
def test_members_that_lead_out_of_the_archive_are_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "disk.vmdk").write_bytes(b"canary")
    (tmp_path / "in").mkdir()
    descriptor = package(name).text().encode()
    members = [(_info("server.ovf"), descriptor), (_info(name), b"disk")]
    problem = _disk_problem(tarfile_of(tmp_path / "in" / "x.ova", members))
    assert isinstance(problem, UnsupportedError | CorruptError)


def test_two_members_of_one_name_are_an_error(tmp_path: Path) -> None:
    descriptor = package("disk.vmdk").text().encode()
    members = [
        (_info("server.ovf"), descriptor),
        (_info("disk.vmdk"), b"1"),
        (_info("disk.vmdk"), b"2"),
    ]
    problem = _disk_problem(tarfile_of(tmp_path / "x.ova", members))
    assert isinstance(problem, CorruptError)
    assert "two members named 'disk.vmdk'" in str(problem)


def test_of_several_descriptors_the_user_has_to_choose(tmp_path: Path) -> None:
    descriptor = package("disk.vmdk").text().encode()
    members = [(_info("a.ovf"), descriptor), (_info("b.ovf"), descriptor), (_info("._c.ovf"), b"")]
    problem = _disk_problem(tarfile_of(tmp_path / "x.ova", members))
    assert isinstance(problem, AmbiguousError)
    assert "'a.ovf', 'b.ovf'" in str(problem)


@pytest.fixture(scope="module")
def across(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an appliance whose volume group lies on both of its disks, and the root in it."""
    need("lvm", "mke2fs")
    need_root()
    folder = tmp_path_factory.mktemp("across")
    root = folder / "root.ext4"
    tree = folder / "tree"
    tiny_server._make_tree(tree, separate_var=False)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, root, "40M")
    disks = blank_disks(folder, 2, 32 << 20)
    with lvm_on(folder, *disks) as lvm:
        lvm("pvcreate", "-q", *lvm.devices)
        lvm("vgcreate", "-q", "system", *lvm.devices)
        lvm.create("system/root", "--size", "40M")
        (volume,) = lvm.volumes()
        assert len({leg.device for segment in volume.segments for leg in segment.legs}) == 2
        lvm.write(volume, root.read_bytes())
    made = folder / "server"
    made.mkdir()
    for number, disk in enumerate(disks):
        stream_optimised(disk, made / f"disk{number}.vmdk")
    names = ["disk0.vmdk", "disk1.vmdk"]
    (made / "server.ovf").write_text(package(*names).text())
    (made / "server.mf").write_text(manifest(made, ["server.ovf", *names]))
    return pack(made, ["server.ovf", "server.mf", *names]), root


def test_a_volume_group_across_two_disks_is_put_together(across: tuple[Path, Path]) -> None:
    appliance, root = across
    with opened(appliance) as artifact:
        trees = [node for node in artifact.walk() if node.tree is not None]
        (node,) = trees
        assert node.volume.label == "system/root"
        assert node.machine is not None
        assert node.machine.name == "server"
        assert node.tree is not None
        with loop_mounted(root, "ext4") as mounted:
            assert difference(kernel_listing(mounted), tree_listing(node.tree)) == []


def test_volume_groups_of_cloned_machines_are_kept_apart(
    across: tuple[Path, Path], tmp_path: Path
) -> None:
    """Both machines have disks with the same UUIDs, as templates have."""
    appliance, _ = across
    folder = tmp_path / "twins"
    folder.mkdir()
    run("tar", "-xf", appliance, "-C", folder)
    names = [f"{twin}{number}.vmdk" for twin in "ab" for number in range(2)]
    for name in names:
        (folder / name).write_bytes((folder / f"disk{name[1]}.vmdk").read_bytes())
    what = package(*names)
    machine = what.machines[0]
    machines = (
        replace(machine, id="a", drives=machine.drives[:2]),
        replace(machine, id="b", drives=machine.drives[2:]),
    )
    (folder / "twins.ovf").write_text(replace(what, machines=machines, collection=" ").text())
    with opened(pack(folder, ["twins.ovf", *names])) as artifact:
        roots = [node for node in artifact.walk() if node.tree is not None]
        assert [node.machine.name for node in roots if node.machine] == ["a", "b"]
        assert all(node.problem is None for node in artifact.walk())
