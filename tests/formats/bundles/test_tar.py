"""Which archives are appliances, boxes, containers of disks, or none of them."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from tests.formats.bundles.support import archive, opened_by
from tests.images.ovf import pack, package
from tests.images.recipes import tiny_server
from tests.images.volumes import opened, patch, reader_name
from tests.support.programs import need, run

METADATA = '{"provider": "libvirt"}'


def _named(path: Path, names: Iterable[str]) -> Path:
    return archive(path, dict.fromkeys(names, "content"))


def _labels(path: Path) -> list[str]:
    with opened_by("tar", path) as node:
        return [child.volume.label for child in node.children]


def _problem(path: Path) -> ConvertError:
    with opened(path) as artifact:
        problem = artifact.nodes[0].problem
    assert problem is not None
    return problem


OVF = package("a.vmdk").text()
KINDS: dict[str, Mapping[str, str]] = {
    "ova": {"a.vmdk": "", "x/y.raw": "", "server.ovf": OVF},
    "vagrant": {"box.img": "", "metadata.json": METADATA},
    "tar": {"disk.raw": "", "metadata.json": '{"name": "no box"}'},
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_in_an_archive_says_whose_it_is(tmp_path: Path, name: str) -> None:
    assert reader_name(archive(tmp_path / "x", KINDS[name])) == name


def test_a_box_with_a_descriptor_is_a_box(tmp_path: Path) -> None:
    files = {"server.ovf": OVF, "a.vmdk": "", "metadata.json": METADATA}
    assert reader_name(archive(tmp_path / "x", files)) == "vagrant"


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "posix"])
def test_every_format_is_recognised(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "server.ovf").write_text(OVF)
    assert reader_name(pack(folder, ["server.ovf"], command=f"tar --format={form}")) == "ova"


def test_a_wrong_checksum_makes_no_archive(tmp_path: Path) -> None:
    path = _named(tmp_path / "x", ["disk.raw"])
    patch(path, 100, b"1")
    assert reader_name(path) is None


def test_the_disk_of_a_plain_archive_is_read_in_place(tmp_path: Path) -> None:
    """Images for Google's cloud are ``disk.raw`` in a compressed archive with holes left out."""
    need("tar")
    raw = tmp_path / "disk.raw"
    tiny_server.build(raw)
    run("tar", "--format=oldgnu", "-Sczf", tmp_path / "image.tar.gz", "-C", tmp_path, "disk.raw")
    with opened(tmp_path / "image.tar.gz", raw) as artifact:
        packed, plain = artifact.nodes
        (trees, expected) = (
            [node.tree for node in side.walk() if node.tree is not None] for side in (packed, plain)
        )
        assert len(trees) == len(expected) == 1
        assert list(trees[0].entries()) == list(expected[0].entries())
        names = [node.reader.name for node in packed.walk() if node.reader]
    assert names == ["gzip", "tar", "gpt", "ext"]


def test_disks_come_in_the_order_of_the_archive(tmp_path: Path) -> None:
    names = ["b.qcow2", "folder/a.vmdk", "README", "c.IMG"]
    assert _labels(_named(tmp_path / "x", names)) == ["b.qcow2", "folder/a.vmdk", "c.IMG"]


def test_a_folder_of_a_systems_name_makes_no_root_tree(tmp_path: Path) -> None:
    assert _labels(_named(tmp_path / "x", ["home/disk.raw"])) == ["home/disk.raw"]


def test_parts_of_a_split_disk_are_no_disks(tmp_path: Path) -> None:
    names = ["d.vmdk", "d-s001.vmdk", "d-s002.vmdk", "d-flat.vmdk", "e-flat.vmdk", "._d.vmdk"]
    assert _labels(_named(tmp_path / "x", names)) == ["d.vmdk", "e-flat.vmdk"]


@pytest.mark.parametrize(
    "files",
    [
        {"README": ""},
        {"etc/passwd": "", "usr/bin/sh": "", "boot/initramfs.img": "x" * 1000},
        {"./etc/passwd": "", "./bin/sh": "", "./disk.raw": "x" * 1000},
        {"boot/initrd.img": "", **{f"etc/{number}": "" for number in range(600)}},
        {"app/run": "x" * 100, "app/logo.img": "x" * 50, "app/README": ""},
        {"manifest.json": '{"name": "of a browser\'s extension"}', "index.js": ""},
    ],
)
def test_archives_that_are_not_for_disks_are_trees(
    tmp_path: Path, files: Mapping[str, str]
) -> None:
    with opened_by("tar", archive(tmp_path / "x", files)) as node:
        assert not node.children
        assert node.tree is not None
        found = {entry.path.decode() for entry in node.tree.entries()}
    assert {name.removeprefix("./") for name in files} <= found


@pytest.mark.parametrize(
    "files",
    [
        {"oci-layout": "{}", "index.json": "{}"},
        {"x/layer.tar": "", "manifest.json": '[{"Config": "c.json", "Layers": ["x/layer.tar"]}]'},
    ],
)
def test_archives_of_container_images_are_refused_by_name(
    tmp_path: Path, files: Mapping[str, str]
) -> None:
    problem = _problem(archive(tmp_path / "x", files))
    assert isinstance(problem, UnsupportedError)
    assert "container images" in problem.message
    assert "docker-archive:FILE" in (problem.hint or "")


def test_two_disks_of_one_name_are_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x", "w") as target:
        for _ in range(2):
            target.addfile(tarfile.TarInfo("disk.raw"))
    with opened(tmp_path / "x") as artifact:
        (disk,) = artifact.nodes[0].children
    assert isinstance(disk.problem, CorruptError)


def test_damage_behind_the_first_members_is_an_error_not_another_format(tmp_path: Path) -> None:
    path = _named(tmp_path / "x", ["disk.raw", "b"])
    patch(path, 1024, b"garbage")
    problem = _problem(path)
    assert isinstance(problem, CorruptError)
    assert problem.offset == 1024


def test_an_archive_cut_short_in_its_only_disk_is_not_said_to_have_none(tmp_path: Path) -> None:
    path = archive(tmp_path / "x", {"disk.raw": bytes(5000)})
    path.write_bytes(path.read_bytes()[:3000])
    problem = _problem(path)
    assert isinstance(problem, CorruptError)
    assert "cut short" in problem.message


def test_a_disk_that_says_it_is_larger_than_any_is_refused(tmp_path: Path) -> None:
    """A few bytes of a sparse member can state any size."""
    need("tar")
    with (tmp_path / "disk.raw").open("wb") as file:
        file.write(b"x")
        file.truncate(1 << 30)
    run("tar", "-Scf", tmp_path / "x", "-C", tmp_path, "disk.raw")
    with opened(tmp_path / "x") as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.volume.source.size == 1 << 30
    with opened(tmp_path / "x", limits=Limits(disk_virtual_bytes=(1 << 30) - 1)) as artifact:
        (disk,) = artifact.nodes[0].children
        assert isinstance(disk.problem, LimitError)


def test_archives_inside_archives_are_bounded(tmp_path: Path) -> None:
    data = b"disk"
    for number in range(12):
        name = "disk.raw" if number == 0 else "inner.img"
        data = archive(tmp_path / "x", {name: data}).read_bytes()
        if number % 2:
            data = gzip.compress(data)
    (tmp_path / "x").write_bytes(data)
    with opened(tmp_path / "x") as artifact:
        problems = [node.problem for node in artifact.walk() if node.problem is not None]
    assert "nested more than 8 deep" in str(problems[0])
