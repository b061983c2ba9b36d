"""The tiny server in all the forms that the docs and the command line's tests use."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
from pathlib import Path

from tests.images.luks import PASSPHRASE, luks1_of_qemu
from tests.images.recipes import tiny_server

FORMS = {
    "server.qcow2": ("-c", "-O", "qcow2"),
    "server.vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
}


_OVF = """\
<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References><File ovf:id="file1" ovf:href="server.vmdk"/></References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{size}"
        ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <VirtualSystem ovf:id="server">
    <Info>A machine</Info>
    <VirtualHardwareSection>
      <Info>Its parts</Info>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""
_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.network "forwarded_port", guest: 8443, host: 443
end
"""


def build_all(folder: Path) -> None:
    """Make the server as a disk of every kind, as an appliance, a box, and on several disks.

    ``server.raw``, ``.raw.gz``, ``.qcow2``, ``.vmdk``, ``.luks`` with ``passphrase.txt``, ``.ova``,
    ``.box``; ``split.raw``; ``system.qcow2`` and ``data.qcow2``.
    """
    raw = folder / "server.raw"
    tiny_server.build(raw)
    for name, options in FORMS.items():
        _convert(raw, folder / name, *options)
    (folder / "server.raw.gz").write_bytes(gzip.compress(raw.read_bytes(), 1))
    _encrypt(raw, folder)
    _wrap(folder, raw.stat().st_size)
    tiny_server.build(folder / "split.raw", separate_var=True)
    system, data = folder / "system.raw", folder / "data.raw"
    tiny_server.build(system, var_disk=data)
    for disk in (system, data):
        _convert(disk, disk.with_suffix(".qcow2"), "-O", "qcow2")
        disk.unlink()


def _encrypt(raw: Path, folder: Path) -> None:
    luks1_of_qemu(raw).rename(folder / "server.luks")
    (folder / "passphrase.txt").write_bytes(PASSPHRASE)


def _wrap(folder: Path, size: int) -> None:
    """Put the disk into an appliance, and into a box for libvirt."""
    (folder / "server.ovf").write_text(_OVF.format(size=size))
    with tarfile.open(folder / "server.ova", "w") as archive:
        for name in ("server.ovf", "server.vmdk"):
            archive.add(folder / name, name)
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": 1}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (folder / "Vagrantfile").write_text(_VAGRANTFILE)
    with tarfile.open(folder / "server.box", "w:gz", compresslevel=1) as archive:
        for name in ("metadata.json", "Vagrantfile"):
            archive.add(folder / name, name)
        archive.add(folder / "server.qcow2", "box.img")
    for name in ("server.ovf", "metadata.json", "Vagrantfile"):
        (folder / name).unlink()


def _convert(source: Path, target: Path, *options: str) -> None:
    subprocess.run(["qemu-img", "convert", *options, source, target], check=True)
