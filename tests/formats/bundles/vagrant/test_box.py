"""Boxes of all providers: their disks are found, or they are refused by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from formats.core.errors import AmbiguousError, ConvertError, CorruptError, UnsupportedError
from formats.core.machine import Machine, StatedPort
from tests.formats.bundles.support import archive, disks, heads, named
from tests.images.ovf import package
from tests.images.volumes import opened
from tests.support.programs import need, run

VMX = 'config.version = "8"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "disk.vmdk"\n'
VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.hostname = "shop"
  config.vm.network "forwarded_port", guest: 80, host: 8080
end
"""
DISK_DESCRIPTION = """<?xml version='1.0' encoding='UTF-8'?>
<Parallels_disk_image Version="1.0">
  <Disk_Parameters><Disk_size>8</Disk_size></Disk_Parameters>
  <StorageData>{}</StorageData>
  <Snapshots><Shot><GUID>{{5fbaabe3-6958-40ff-92a7-860e329aab41}}</GUID></Shot></Snapshots>
</Parallels_disk_image>
"""
STORAGE = "<Storage><Start>0</Start><End>8</End><Blocksize>2048</Blocksize>{}</Storage>"
IMAGE = (
    "<Image><GUID>{{5fbaabe3-6958-40ff-92a7-860e329aab41}}</GUID><Type>Plain</Type>"
    "<File>{}</File></Image>"
)


def metadata(provider: str, **more: object) -> str:
    return json.dumps({"provider": provider, **more})


def machine(path: Path) -> Machine:
    with opened(path) as artifact:
        (node,) = artifact.nodes
        assert node.machine is not None, str(node.problem)
        return node.machine


HYPERV = "Virtual Hard Disks/"
BOXES: dict[str, tuple[dict[str, bytes | str], list[str]]] = {
    "virtualbox": (
        {
            "metadata.json": metadata("virtualbox"),
            "box.ovf": package("disk.vmdk").text(),
            "disk.vmdk": named("disk.vmdk"),
        },
        ["disk.vmdk"],
    ),
    "virtualbox with another name": (
        {
            "disk.vmdk": named("disk.vmdk"),
            "packer.ovf": package("disk.vmdk").text(),
            "metadata.json": metadata("virtualbox"),
        },
        ["disk.vmdk"],
    ),
    "virtualbox before there was metadata": (
        {
            "Vagrantfile": VAGRANTFILE,
            "box-disk1.vmdk": named("box-disk1.vmdk"),
            "box.ovf": package("box-disk1.vmdk").text(),
        },
        ["box-disk1.vmdk"],
    ),
    "libvirt": (
        {"metadata.json": metadata("libvirt", format="qcow2"), "box.img": named("box.img")},
        ["box.img"],
    ),
    "libvirt with several disks": (
        {
            "metadata.json": metadata(
                "libvirt", disks=[{"path": "b.qcow2", "format": "qcow2"}, {"path": "a.qcow2"}]
            ),
            "a.qcow2": named("a.qcow2"),
            "b.qcow2": named("b.qcow2"),
            "box.img": named("box.img"),
        },
        ["b.qcow2", "a.qcow2"],
    ),
    **{
        name: (
            {
                "metadata.json": metadata(name),
                "server.vmx": VMX,
                "disk.vmdk": named("disk.vmdk"),
                "other.vmdk": named("other.vmdk"),
            },
            ["disk.vmdk"],
        )
        for name in ("vmware_desktop", "vmware_fusion", "vmware_workstation")
    },
    "hyperv": (
        {
            "metadata.json": metadata("hyperv"),
            "Virtual Machines/1.vmcx": b"\0",
            f"{HYPERV}server.vhdx": named("server.vhdx"),
        },
        ["server.vhdx"],
    ),
    "hyperv with two disks": (
        {
            "metadata.json": metadata("hyperv"),
            f"{HYPERV}b.vhd": named("b.vhd"),
            f"{HYPERV}a.vhdx": named("a.vhdx"),
        },
        ["a.vhdx", "b.vhd"],
    ),
    "parallels": (
        {
            "metadata.json": metadata("parallels"),
            "box.pvm/disk.hdd/DiskDescriptor.xml": DISK_DESCRIPTION.format(
                STORAGE.format(IMAGE.format("disk.hdd.0.hds"))
            ),
            "box.pvm/disk.hdd/disk.hdd": b"",
            "box.pvm/disk.hdd/disk.hdd.0.hds": named("disk.hdd.0.hds"),
        },
        ["disk.hdd.0.hds"],
    ),
    "a provider that is not known": (
        {"metadata.json": metadata("qemu"), "box.qcow2": named("box.qcow2")},
        ["box.qcow2"],
    ),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("top", ["", "./"])
def test_the_disks_of_a_box_are_found(tmp_path: Path, name: str, top: str) -> None:
    files, expected = BOXES[name]
    assert disks("vagrant", archive(tmp_path / "x.box", files, top=top)) == expected


def test_boxes_are_mostly_compressed(tmp_path: Path) -> None:
    files, expected = BOXES["libvirt"]
    plain = archive(tmp_path / "plain", files)
    (tmp_path / "x.box").write_bytes(gzip.compress(plain.read_bytes()))
    with opened(tmp_path / "x.box") as artifact:
        inner = artifact.nodes[0].children[0]
        assert heads(inner) == expected
        assert str(inner.children[0].origin) == "x.box › x.tar › box.img"


def test_the_order_of_disks_of_hyperv_is_said_to_be_a_guess(tmp_path: Path) -> None:
    with opened(archive(tmp_path / "x.box", BOXES["hyperv with two disks"][0])) as artifact:
        assert [finding.rule for finding in artifact.findings] == ["disk-order-unknown"]


def test_a_disk_made_by_qemu_is_read_to_its_end(tmp_path: Path) -> None:
    need("qemu-img")
    (tmp_path / "raw").write_bytes(b"libvirt" * 100_000)
    run("qemu-img", "convert", "-O", "qcow2", tmp_path / "raw", tmp_path / "box.img")
    files: dict[str, bytes | str] = {
        "metadata.json": metadata("libvirt"),
        "box.img": (tmp_path / "box.img").read_bytes(),
    }
    with opened(archive(tmp_path / "x.box", files)) as artifact:
        (child,) = artifact.nodes[0].children
        source = child.children[0].volume.source
        assert bytes(source.read_at(0, 700_000)) == b"libvirt" * 100_000


REFUSED: dict[str, tuple[dict[str, bytes | str], type[ConvertError], str, str]] = {
    "docker": (
        {"metadata.json": metadata("docker"), "Vagrantfile": 'd.image = "example/shop:1"\n'},
        UnsupportedError,
        "is a Vagrant box for docker: what it stands for is a container image already",
        "docker://example/shop:1",
    ),
    "lxc": (
        {"metadata.json": metadata("lxc"), "rootfs.tar.gz": b"\x1f\x8b"},
        UnsupportedError,
        "is a Vagrant box for lxc",
        "rootfs.tar.gz",
    ),
    "aws": (
        {
            "metadata.json": metadata("aws"),
            "Vagrantfile": 'aws.ami = "ami-0123"\naws.region = "eu-west-1"\n',
        },
        UnsupportedError,
        "in the cloud",
        "ami:ami-0123 --region eu-west-1",
    ),
    "azure": ({"metadata.json": metadata("azure")}, UnsupportedError, "in the cloud", "export"),
    "hyperv with checkpoints": (
        {
            "metadata.json": metadata("hyperv"),
            f"{HYPERV}a.vhdx": named("a.vhdx"),
            f"{HYPERV}a_1.avhdx": named("a_1.avhdx"),
        },
        UnsupportedError,
        "checkpoints",
        "export it again",
    ),
    "a box without a disk": (
        {"metadata.json": metadata("qemu")},
        UnsupportedError,
        "for 'qemu' without a disk",
        "give the disk",
    ),
    "virtualbox without a descriptor": (
        {"metadata.json": metadata("virtualbox")},
        UnsupportedError,
        "for 'virtualbox' without a disk",
        "give the disk",
    ),
    "no provider": (
        {"metadata.json": '{"provider": ""}'},
        CorruptError,
        "without a provider",
        "",
    ),
    "a provider that is a list": (
        {"metadata.json": '{"provider": []}'},
        CorruptError,
        "provider",
        "",
    ),
    "metadata that is no JSON": ({"metadata.json": '{"provider": "x"'}, CorruptError, "JSON", ""),
    "metadata that is a list": (
        {"metadata.json": '["provider", "provider"]'},
        CorruptError,
        "object",
        "",
    ),
    "metadata that is nested": (
        {"metadata.json": '{"provider"' + "[" * 100_000},
        CorruptError,
        "JSON",
        "",
    ),
    "two machines of VMware": (
        {"metadata.json": metadata("vmware_desktop"), "a.vmx": VMX, "b.vmx": VMX},
        AmbiguousError,
        "'a.vmx', 'b.vmx'",
        "unpack",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_boxes_without_a_disk_are_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    files, error, message, hint = REFUSED[name]
    with pytest.raises(error) as caught:
        disks("vagrant", archive(tmp_path / "x.box", files))
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def _parallels(*storages: str) -> dict[str, bytes | str]:
    return {
        "metadata.json": metadata("parallels"),
        "box.pvm/disk.hdd/DiskDescriptor.xml": DISK_DESCRIPTION.format("".join(storages)),
        "box.pvm/secret.hds": named("secret"),
        "box.pvm/disk.hdd/0.hds": named("0"),
    }


@pytest.mark.parametrize(
    ("storages", "error", "message"),
    [
        ([STORAGE.format(IMAGE.format("0.hds") * 2)], UnsupportedError, "has snapshots"),
        ([STORAGE.format(IMAGE.format("0.hds"))] * 2, UnsupportedError, "split"),
        ([], UnsupportedError, "without images"),
        ([STORAGE.format("<Image><Type>Plain</Type></Image>")], CorruptError, "no file"),
        ([STORAGE.format(IMAGE.format("none.hds"))], CorruptError, "missing"),
        ([STORAGE.format(IMAGE.format("../secret.hds"))], CorruptError, "missing"),
    ],
)
def test_parallels_disks_of_more_than_a_file_are_refused_by_name(
    tmp_path: Path, storages: list[str], error: type[ConvertError], message: str
) -> None:
    with pytest.raises(error, match=message):
        disks("vagrant", archive(tmp_path / "x.box", _parallels(*storages)))


def test_a_disk_that_is_listed_and_missing_is_an_error(tmp_path: Path) -> None:
    files = {"metadata.json": metadata("libvirt", disks=[{"path": "../a"}, {"path": "none"}])}
    with opened(archive(tmp_path / "x.box", files)) as artifact:
        problems = [child.problem for child in artifact.nodes[0].children]
    assert [type(problem) for problem in problems] == [CorruptError, CorruptError]


def test_a_name_that_is_no_text_is_the_name_of_no_disk(tmp_path: Path) -> None:
    files = {"metadata.json": metadata("libvirt", disks=[{"path": "\ud800"}]), "box.img": ""}
    with opened(archive(tmp_path / "x.box", files)) as artifact:
        (child,) = artifact.nodes[0].children
    assert isinstance(child.problem, CorruptError)
    assert "missing" in str(child.problem)


def test_parallels_disks_of_one_name_have_labels_of_their_own(tmp_path: Path) -> None:
    description = DISK_DESCRIPTION.format(STORAGE.format(IMAGE.format("0.hds")))
    files: dict[str, bytes | str] = {"metadata.json": metadata("parallels")}
    for folder in ("a.pvm/disk.hdd", "b.pvm/disk.hdd"):
        files |= {f"{folder}/DiskDescriptor.xml": description, f"{folder}/0.hds": named(folder)}
    with opened(archive(tmp_path / "x.box", files)) as artifact:
        node = artifact.nodes[0]
        assert [child.volume.label for child in node.children] == heads(node)


def test_what_the_box_says_is_added_to_its_machine(tmp_path: Path) -> None:
    files = {
        **BOXES["virtualbox"][0],
        "metadata.json": metadata("virtualbox", architecture="arm64"),
        "Vagrantfile": VAGRANTFILE,
        "info.json": '{"Author": "Example", "homepage": "http://x", "n": 1, "api_key": "canary"}',
    }
    found = machine(archive(tmp_path / "x.box", files))
    assert found.name == "server"
    assert found.ports == (StatedPort("80/tcp", "Vagrantfile:3"),)
    stated = {
        "vagrant.provider": "virtualbox",
        "vagrant.hostname": "shop",
        "vagrant.info.author": "Example",
        "vagrant.info.n": "1",
        "architecture": "arm64",
        "cpus": "2",
    }
    assert stated.items() <= found.properties.items()
    assert "canary" not in str(found)


def test_a_machine_without_a_descriptor_is_named_after_its_box(tmp_path: Path) -> None:
    assert machine(archive(tmp_path / "shop.box", BOXES["libvirt"][0])).name == "shop"
