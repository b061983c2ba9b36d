"""Machine images: which snapshots an AMI is made of, and what is said of it.

Specification: Amazon EC2 API Reference, ``DescribeImages``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from formats.bundles.ami.access import Account, Clients, connect, translated
from formats.bundles.ami.snapshot import open_snapshot
from formats.core.errors import UnsupportedError, UsageError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.machine import Machine
from formats.core.origin import Origin, printable
from formats.core.reader import Volume, Volumes
from formats.core.source import MemorySource

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import ImageTypeDef

IMAGE, SNAPSHOT = "ami:", "snap:"
_IDS = {IMAGE: re.compile(r"ami-[0-9a-f]{8,32}"), SNAPSHOT: re.compile(r"snap-[0-9a-f]{8,32}")}

OnClose = Callable[[Callable[[], None]], object]


def is_in_cloud(name: str) -> bool:
    """Tell whether a source is the name of an image or snapshot, and not of a file."""
    return name.startswith((IMAGE, SNAPSHOT))


def open_in_cloud(
    name: str, account: Account, on_close: OnClose, limits: Limits = DEFAULT_LIMITS
) -> Volume:
    """Return an image or a snapshot as something that can be opened; nothing is read of it yet.

    :param name: ``ami:ami-…`` or ``snap:snap-…``; the second prefix may be left out.
    :param on_close: told what ends the reading.
    :raises UsageError: if the name is none.
    :raises MissingDependencyError: if boto3 is not installed.
    :raises formats.core.errors.ConvertError: if it is not there, or may not be read.
    """
    kind, _, identity = name.partition(":")
    prefix = f"{kind}:"
    identity = identity if identity.startswith(f"{kind}-") else f"{kind}-{identity}"
    if not _IDS[prefix].fullmatch(identity):
        raise UsageError(
            f"'{printable(name)}' names no {'image' if prefix == IMAGE else 'snapshot'}",
            hint=f"an ID looks like {prefix}{kind}-0123456789abcdef0",
        )
    clients = connect(account)
    if prefix == SNAPSHOT:
        source = open_snapshot(clients.ebs, identity, Origin((identity,)), limits)
        on_close(source.close)
        return Volume(source, identity)
    return open_image(clients, identity, on_close, limits)


def open_image(clients: Clients, identity: str, on_close: OnClose, limits: Limits) -> Volume:
    """Return an image as the disks of one machine.

    :raises UnsupportedError: if it is not there, or has no disk in a snapshot.
    :raises formats.core.errors.ConvertError: if it may not be read.
    """
    origin = Origin((identity,))
    with translated(origin):
        images = clients.ec2.describe_images(ImageIds=[identity])["Images"]
    if not images:
        raise UnsupportedError("is not there", origin=origin, hint="check the ID and --region")
    (image,) = images
    disks: list[Volume] = []
    for device, snapshot in _snapshots(image):
        source = open_snapshot(clients.ebs, snapshot, origin.child(device), limits)
        on_close(source.close)
        disks.append(Volume(source, device, uuid=snapshot))
    if not disks:
        raise UnsupportedError(
            "has no disk in a snapshot: its root is on instance store, or it was deleted",
            origin=origin,
            hint="start it once and make an image of the running machine",
        )
    content = Volumes(tuple(disks), _facts(image), _machine(image, identity))
    return Volume(MemorySource(b"", origin), identity, content=content)


def _snapshots(image: ImageTypeDef) -> list[tuple[str, str]]:
    """Return device and snapshot of each disk, the root's first, then by the device's name."""
    root = image.get("RootDeviceName", "")
    found = [
        (printable(mapping.get("DeviceName", "")).removeprefix("/dev/"), snapshot)
        for mapping in image.get("BlockDeviceMappings", [])
        if (snapshot := mapping.get("Ebs", {}).get("SnapshotId"))
    ]
    root = printable(root).removeprefix("/dev/")
    return sorted(found, key=lambda disk: (disk[0] != root, disk[0]))


def _facts(image: ImageTypeDef) -> dict[str, str]:
    said = {
        "name": image.get("Name"),
        "architecture": image.get("Architecture"),
        "created": image.get("CreationDate"),
        "owner": image.get("OwnerId"),
    }
    return {name: printable(value) for name, value in said.items() if value}


def _machine(image: ImageTypeDef, identity: str) -> Machine:
    said = {
        "ami": identity,
        "description": image.get("Description"),
        "platform": image.get("PlatformDetails"),
    }
    return Machine(
        identity,
        title=printable(image.get("Name", "")) or None,
        properties={name: printable(value) for name, value in said.items() if value},
    )
