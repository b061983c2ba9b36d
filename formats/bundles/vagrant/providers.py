"""How the disks of a machine lie in a box, by the provider that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from formats.bundles.disk_names import is_machine
from formats.bundles.members import Members, folder_of, path_of, text_of
from formats.bundles.ovf.ova import open_member
from formats.bundles.parts import unreadable
from formats.bundles.tar import (
    descriptor_path,
    disk_paths,
    disk_volumes,
    only,
    vmware_machines,
)
from formats.bundles.vagrant.box import Box
from formats.bundles.vagrant.parallels import image_of, parallels_disks
from formats.core.errors import ConvertError, UnsupportedError, quoted
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import OpenContext, Volume, Volumes

Opener: TypeAlias = Callable[[Members, Box, OpenContext], Volumes]


@dataclass(frozen=True, slots=True)
class Without:
    """A provider whose boxes hold no disk: what they hold, and what to do."""

    what: str
    hint: str


def open_disks(members: Members, box: Box, context: OpenContext) -> Volumes:
    """Open what a box holds.

    :raises UnsupportedError: if that is no disk.
    :raises CorruptError: if what its provider needs is missing.
    """
    without = _WITHOUT_DISKS.get(box.provider)
    if without is not None:
        raise UnsupportedError(
            f"is a Vagrant box for {box.provider}: {without.what}",
            origin=members.archive.origin,
            hint=_way_out(box) or without.hint,
        )
    return _OPENERS.get(box.provider, _open_any)(members, box, context)


def _way_out(box: Box) -> str | None:
    """Return what to give instead, where the Vagrantfile names it."""
    if box.vagrantfile.amis:
        ami, region = box.vagrantfile.amis[0]
        return f"convert the image itself: ami:{ami}" + (f" --region {region}" if region else "")
    if box.provider == "docker" and (image := box.vagrantfile.settings.get("image")):
        return f"use it as it is: docker://{image}"
    return None


def _open_virtualbox(members: Members, box: Box, context: OpenContext) -> Volumes:
    path = b"box.ovf" if b"box.ovf" in members else descriptor_path(members)
    if path is None:
        return _open_any(members, box, context)
    return open_member(members, path, context)


def _open_vmware(members: Members, box: Box, context: OpenContext) -> Volumes:
    found = [path for path in members.paths() if is_machine(path)]
    path = only(found, "VMware machines", members.archive)
    if path is None:
        return _open_any(members, box, context)
    return vmware_machines(members, [path], context)


def _open_libvirt(members: Members, box: Box, context: OpenContext) -> Volumes:
    """Open ``box.img``, or the disks that the metadata lists."""
    paths = [path_of(name) for name in box.disks] or ([b"box.img"] if b"box.img" in members else [])
    if not paths:
        return _open_any(members, box, context)
    return Volumes(disk_volumes(members, paths))


def _open_hyperv(members: Members, box: Box, context: OpenContext) -> Volumes:
    """Open the disks in ``Virtual Hard Disks``; which comes first is only in a binary file.

    So is which disk a checkpoint belongs to, and without it the disks are out of date.
    """
    if any(path.lower().endswith((b".avhd", b".avhdx")) for path in members.paths()):
        raise UnsupportedError(
            "is a Vagrant box for hyperv with checkpoints (.avhdx)",
            origin=members.archive.origin,
            hint="delete the machine's checkpoints, which merges them, and export it again",
        )
    disks = [path for path in disk_paths(members) if path.lower().endswith((b".vhd", b".vhdx"))]
    if len(disks) > 1:
        where = str(members.archive.origin).encode()
        evidence = f"has {len(disks)} disks; they are taken in the order of their names"
        context.note(Finding("disk-order-unknown", where, Action.REPORTED, evidence))
    if not disks:
        return _open_any(members, box, context)
    return Volumes(disk_volumes(members, sorted(disks)))


def _open_parallels(members: Members, box: Box, context: OpenContext) -> Volumes:
    descriptions = parallels_disks(members)
    if not descriptions:
        return _open_any(members, box, context)
    return Volumes(tuple(_parallels_disk(members, path, context) for path in descriptions))


def _parallels_disk(members: Members, description: bytes, context: OpenContext) -> Volume:
    label = text_of(folder_of(description))
    try:
        source = image_of(members, description, context.limits)
    except ConvertError as error:
        return unreadable(label, error, members.archive.origin)
    return Volume(source, printable(label))


def _open_any(members: Members, box: Box, context: OpenContext) -> Volumes:
    """Open whatever disk images there are: for providers that come and go."""
    del context
    paths = disk_paths(members)
    if not paths:
        raise UnsupportedError(
            f"is a Vagrant box for {quoted(box.provider)} without a disk in it",
            origin=members.archive.origin,
            hint=_way_out(box) or "give the disk or image that the box stands for",
        )
    return Volumes(disk_volumes(members, paths))


_OPENERS: Mapping[str, Opener] = {
    "hyperv": _open_hyperv,
    "libvirt": _open_libvirt,
    "parallels": _open_parallels,
    "virtualbox": _open_virtualbox,
    "vmware": _open_vmware,
    "vmware_desktop": _open_vmware,
    "vmware_fusion": _open_vmware,
    "vmware_workstation": _open_vmware,
}

_ELSEWHERE = "its machine is in the cloud, and the box only names it"
_IN_CLOUD = Without(_ELSEWHERE, "export the image that the Vagrantfile names, and convert that")
_WITHOUT_DISKS: Mapping[str, Without] = {
    "docker": Without(
        "what it stands for is a container image already",
        "use the image that the Vagrantfile names as it is",
    ),
    "lxc": Without(
        "it holds the files of a container, and no disk",
        "unpack its rootfs.tar.gz and import it: 'tar xf BOX rootfs.tar.gz'",
    ),
    **dict.fromkeys(
        ("aws", "azure", "digital_ocean", "google", "hcloud", "linode", "openstack", "rackspace"),
        _IN_CLOUD,
    ),
}
