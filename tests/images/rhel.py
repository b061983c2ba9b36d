"""A machine as RHEL is installed: XFS on LVM on two disks, in one appliance.

::

    appliance.ova ─┬─ machine.ovf, machine.mf
                   ├─ disk1.vmdk ─ gpt ─┬─ 1: XFS, /boot
                   │                    └─ 2: PV of rhel ┐  rhel/root, XFS
                   └─ disk2.vmdk ─ PV of rhel ───────────┤  rhel/var, XFS, on both
                                                         └─ rhel/home, XFS
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.images.lvm import lvm_on
from tests.images.matrix import write_sparse
from tests.images.systems import root_files, write_files
from tests.images.volumes import MIB, blank, sfdisk
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, need_root, run

MTIME = 1_650_000_000
FSTAB = """\
/dev/mapper/rhel-root / xfs defaults 0 0
UUID={boot} /boot xfs defaults 0 0
/dev/mapper/rhel-home /home xfs defaults 0 0
/dev/rhel/var /var xfs defaults 0 0
"""
BOOT_UUID = "0b9d7c5e-1d4c-4f0e-9f27-3f2f1a2b3c4d"
_VOLUME = 20 * MIB
_EXTENT = 4 * MIB

_DESCRIPTOR = """\
<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
    <File ovf:id="file1" ovf:href="disk1.vmdk"/>
    <File ovf:id="file2" ovf:href="disk2.vmdk"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="two" ovf:fileRef="file2" ovf:capacity="{size2}"
        ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
    <Disk ovf:diskId="one" ovf:fileRef="file1" ovf:capacity="{size1}"
        ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <VirtualSystem ovf:id="rhel-server">
    <Info>A machine</Info>
    <ProductSection>
      <Info>The product</Info>
      <Product>Order Server</Product>
      <Vendor>Example Works</Vendor>
      <Version>4.2</Version>
    </ProductSection>
    <VirtualHardwareSection>
      <Info>Its parts</Info>
      <Item>
        <rasd:ElementName>SCSI</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>6</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>1</rasd:AddressOnParent>
        <rasd:ElementName>second</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/two</rasd:HostResource>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:Parent>1</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>first</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/one</rasd:HostResource>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:Parent>1</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


def build(folder: Path) -> tuple[Path, Path]:
    """Make the appliance, and return it with the folder that holds all its files. Needs root."""
    need_root()
    need("lvm", "mkfs.xfs", "qemu-img", "tar", "mount")
    tree = _tree(folder / "tree")
    volumes = _volumes(tree, folder)
    first, second = (blank(folder / name, 15 * _EXTENT) for name in ("pv1", "pv2"))
    _fill_group(folder, first, second, volumes)
    disk1 = folder / "disk1.raw"
    boot, physical = (path.stat().st_size // 512 for path in (volumes["boot"], first))
    script = f"label: gpt\nstart=2048, size={boot}\nsize={physical}, type=lvm\n"
    sfdisk(disk1, (boot + physical + 4096) * 512, script)
    write_sparse(volumes["boot"], disk1, 2048 * 512)
    write_sparse(first, disk1, (2048 + boot) * 512)
    return _appliance(folder, disk1, second), tree


def _tree(root: Path) -> Path:
    root.mkdir()
    files = root_files("RHEL", FSTAB.format(boot=BOOT_UUID))
    more = {"var/lib/app/data": "d" * 3_000_000, "var/log/app.log": "started\n"}
    more |= {"home/admin/.bashrc": "# a shell's\n", "usr/lib/libx.so": "x" * 9000, "boot/": ""}
    write_files(root, files | more | {f"var/lib/app/{number}": "n" for number in range(300)})
    need("busybox")
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to("busybox")
    os.link(root / "var/log/app.log", root / "var/lib/app/log")
    os.setxattr(root / "home/admin", "user.owner", b"admin")
    _set_times(root)
    return root


def _set_times(root: Path) -> None:
    for folder, names, files in os.walk(root, topdown=False):
        for name in (*names, *files, "."):
            os.utime(Path(folder, name), (MTIME, MTIME), follow_symlinks=False)


def _volumes(tree: Path, folder: Path) -> dict[str, Path]:
    """Make each filesystem of its part of the tree."""
    parts = {"root": tree, "var": tree / "var", "home": tree / "home", "boot": tree / "boot"}
    made: dict[str, Path] = {}
    for name, source in parts.items():
        made[name] = blank(folder / f"{name}.xfs", _VOLUME)
        uuid = f"uuid={BOOT_UUID}" if name == "boot" else "crc=1"
        run("mkfs.xfs", "-q", "-f", "--unsupported", "-m", uuid, made[name])
        with loop_mounted_writable(made[name], "xfs") as mounted:
            run("cp", "--archive", f"{source}/.", mounted)
            if name == "root":
                for other in ("var", "home"):
                    run("sh", "-c", 'rm -r "$1"; mkdir "$1"', "sh", mounted / other)
            if name == "boot":
                (mounted / "vmlinuz-5.14").write_text("a kernel\n")
            _set_times(mounted)
    return made


def _fill_group(folder: Path, first: Path, second: Path, volumes: Mapping[str, Path]) -> None:
    """Put the volumes into a group on two devices; one of them has a part on each."""
    with lvm_on(folder, first, second) as lvm:
        one, two = lvm.devices
        lvm("pvcreate", "-y", one, two)
        lvm("vgcreate", "rhel", one, two)
        lvm("lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", "root", "-l", "5", "rhel", one)
        lvm("lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", "var", "-l", "2", "rhel", one)
        lvm("lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", "home", "-l", "5", "rhel", two)
        lvm("lvextend", "-An", "-l", "5", "rhel/var", two)
        files = {str(one): first, str(two): second}
        found = {item.label: item.segments for item in lvm.volumes()}
    assert len(found["rhel/var"]) == 2
    for label, segments in found.items():
        volume = volumes[label.removeprefix("rhel/")]
        for segment in segments:
            (leg,) = segment.legs
            write_sparse(volume, files[leg.device], leg.offset, segment.start, segment.size)


def _appliance(folder: Path, *disks: Path) -> Path:
    sizes = {}
    digests = []
    for number, disk in enumerate(disks, start=1):
        target = folder / f"disk{number}.vmdk"
        sizes[f"size{number}"] = disk.stat().st_size
        options = ("-O", "vmdk", "-o", "subformat=streamOptimized")
        run("qemu-img", "convert", "-f", "raw", *options, disk, target)
    (folder / "machine.ovf").write_text(_DESCRIPTOR.format(**sizes))
    members = ["machine.ovf", *(f"disk{number}.vmdk" for number in range(1, len(disks) + 1))]
    for name in members:
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        digests.append(f"SHA256({name})= {digest}\n")
    (folder / "machine.mf").write_text("".join(digests))
    ova = folder / "appliance.ova"
    run(
        "tar", "--format=ustar", "-C", folder, "-cf", ova, "machine.ovf", "machine.mf", *members[1:]
    )
    return ova
