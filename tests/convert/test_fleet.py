"""Machines as fleets have them, from the vendor's wrapping to an image."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from convert.select.root import select_root
from tests.formats.bundles.ami.server import REGION, clients, cloud, image_of, snapshot_of
from tests.images import btrfs_layouts, rhel
from tests.images.systems import Ext4, disk, root_files
from tests.images.volumes import opened
from tests.support.command import convert, succeed
from tests.support.listing import difference, kernel_listing, tree_listing
from tests.support.programs import need, need_root, run

AMD64 = ("--platform", "linux/amd64")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the OVA of a RHEL-like machine, and the files of it."""
    return rhel.build(tmp_path_factory.mktemp("rhel"))


def test_xfs_on_lvm_on_two_disks_of_an_appliance_is_one_tree(appliance: tuple[Path, Path]) -> None:
    ova, tree = appliance
    with opened(ova) as artifact:
        selected = select_root(artifact)
        ours = tree_listing(selected.tree)
    assert selected.root.parts[-1] == "lvm:rhel/root"
    assert [(path, origin.parts[-1]) for path, origin in selected.mounts] == [
        ("/boot", "gpt:1"),
        ("/home", "lvm:rhel/home"),
        ("/var", "lvm:rhel/var"),
    ]
    kernel = kernel_listing(tree) | {b"boot/vmlinuz-5.14": ours[b"boot/vmlinuz-5.14"]}
    assert difference(kernel, ours) == []


def test_the_appliance_converts_to_an_image_that_tells_of_its_product(
    appliance: tuple[Path, Path], tmp_path: Path
) -> None:
    ova, _ = appliance
    image = f"oci:{tmp_path / 'out'}:latest"
    report = json.loads(succeed("run", ova, image, "--json"))
    assert report["decisions"]["machine"] == "rhel-server"
    config = json.loads(run("skopeo", "inspect", "--config", image).stdout)["config"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "Order Server"
    assert labels["org.opencontainers.image.vendor"] == "Example Works"
    assert labels["org.opencontainers.image.version"] == "4.2"
    succeed("verify", image, ova)


def test_a_changed_disk_does_not_match_its_manifest(
    appliance: tuple[Path, Path], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.ova"
    data = bytearray(appliance[0].read_bytes())
    with tarfile.open(appliance[0]) as archive:
        place = archive.getmember("disk2.vmdk").offset_data
    data[place + 100_000] ^= 1
    damaged.write_bytes(data)
    done = convert("inspect", damaged)
    assert done.code == 4
    assert "disk2.vmdk" in done.out


def test_a_vagrant_box_for_libvirt_with_btrfs_exposes_its_ports(tmp_path: Path) -> None:
    need_root()
    need("qemu-img", "tar", "skopeo")
    btrfs_layouts.build(tmp_path / "disk.raw", "fedora")
    run("qemu-img", "convert", "-O", "qcow2", tmp_path / "disk.raw", tmp_path / "box.img")
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": 1}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "Vagrantfile").write_text(
        'Vagrant.configure("2") do |config|\n'
        '  config.vm.network "forwarded_port", guest: 8080, host: 80\n'
        "end\n"
    )
    box = tmp_path / "fedora.box"
    run("tar", "-C", tmp_path, "-czf", box, "metadata.json", "Vagrantfile", "box.img")
    image = f"oci:{tmp_path / 'out'}:latest"
    succeed("run", box, image, *AMD64)
    config = json.loads(run("skopeo", "inspect", "--config", image).stdout)["config"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]


@pytest.mark.usefixtures("_credentials")
def test_an_image_in_the_cloud_converts_like_its_disk(service: str, tmp_path: Path) -> None:
    root = disk(tmp_path / "disk.raw", Ext4(root_files("Cloud")))
    account = clients(service)
    image = image_of(account, "a server", snapshot_of(account, root))
    where = ("--region", REGION, "--endpoint-url", service, *AMD64)
    local = json.loads(succeed("run", root, f"oci:{tmp_path / 'local'}:a", *AMD64, "--json"))
    remote = json.loads(
        succeed("run", f"ami:{image}", f"oci:{tmp_path / 'remote'}:a", *where, "--json")
    )
    layers = [done["image"]["layers"][0]["diff_id"] for done in (local, remote)]
    assert layers[0] == layers[1]
    assert remote["decisions"]["root"] == f"{image} › sda1 › gpt:1"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with cloud() as address:
        yield address


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
