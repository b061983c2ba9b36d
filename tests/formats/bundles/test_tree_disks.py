"""Zip archives of virtual machines: what people download most of them in."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.opener import Node
from tests.formats.bundles.support import archive, head, named, opened_by
from tests.images.ovf import package
from tests.images.recipes import tiny_server
from tests.images.volumes import opened
from tests.support.programs import need, run


def _zip(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


def _labels(path: Path) -> list[str]:
    with opened_by("zip", path) as node:
        return [child.volume.label for child in node.children]


def _walk_names(node: Node) -> list[str]:
    return [found.reader.name for found in node.walk() if found.reader is not None]


def test_a_disk_in_a_zip_archive_is_opened(tmp_path: Path) -> None:
    need("qemu-img")
    tiny_server.build(tmp_path / "raw")
    run("qemu-img", "convert", "-O", "vmdk", tmp_path / "raw", tmp_path / "server.vmdk")
    path = _zip(
        tmp_path / "server.zip",
        {
            "server/server.vmdk": (tmp_path / "server.vmdk").read_bytes(),
            "server/README.txt": "user: root",
            "__MACOSX/._server.vmdk": "junk",
        },
    )
    with opened_by("zip", path) as node:
        assert _walk_names(node) == ["zip", "vmdk", "gpt", "ext"]


def test_parts_of_a_disk_are_found_beside_it(tmp_path: Path) -> None:
    need("qemu-img")
    tiny_server.build(tmp_path / "raw")
    run(
        *("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=monolithicFlat"),
        *(tmp_path / "raw", tmp_path / "d.vmdk"),
    )
    files = {f"vm/{name}": (tmp_path / name).read_bytes() for name in ("d.vmdk", "d-flat.vmdk")}
    with opened_by("zip", _zip(tmp_path / "x.zip", files)) as node:
        assert [child.volume.label for child in node.children] == ["vm/d.vmdk"]
        assert _walk_names(node) == ["zip", "vmdk", "gpt", "ext"]


def test_a_missing_part_is_an_error(tmp_path: Path) -> None:
    descriptor = (
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
        'createType="monolithicFlat"\nRW 2048 FLAT "d-flat.vmdk" 0\n'
    )
    with opened(_zip(tmp_path / "x.zip", {"d.vmdk": descriptor})) as artifact:
        (disk,) = artifact.nodes[0].children
    assert isinstance(disk.problem, CorruptError)


def test_an_appliance_in_a_zip_archive_is_opened_with_its_disks(tmp_path: Path) -> None:
    text = package("a.vmdk").text()
    path = _zip(tmp_path / "x.zip", {"vm/server.ovf": text, "vm/a.vmdk": named("a")})
    with opened_by("zip", path) as node:
        (appliance,) = node.children
        assert appliance.reader is not None
        assert appliance.reader.name == "ovf"
        assert [head(disk) for disk in appliance.children] == ["a"]


def test_a_packed_appliance_in_a_zip_archive_is_opened(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "server.ovf": package("a.vmdk").text(),
        "a.vmdk": named("a"),
    }
    ova = archive(tmp_path / "server.ova", files).read_bytes()
    with opened_by("zip", _zip(tmp_path / "x.zip", {"server.ova": ova, "LICENSE": "x"})) as node:
        assert _walk_names(node)[:2] == ["zip", "ova"]


@pytest.mark.parametrize(
    "files",
    [
        {"bin/app": "x" * 3000, "share/logo.img": "x" * 50, "README": ""},
        {"etc/passwd": "", "usr/bin/sh": "", "boot/initrd.img": "x" * 1000},
    ],
)
def test_an_image_among_other_files_is_one_of_them(
    tmp_path: Path, files: Mapping[str, str]
) -> None:
    path = _zip(tmp_path / "x.zip", files)
    assert _labels(path) == []
    with opened_by("zip", path) as node:
        assert node.tree is not None
