"""What block devices there are, once everything that is made from others has been made."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.guestfs.guest import Guest
from formats.guestfs.worker import CallError

ENCRYPTED_KINDS = frozenset({"crypto_LUKS", "BitLocker"})
_MAPPER = "/dev/mapper/"


@dataclass(frozen=True, slots=True)
class Device:
    """A block device that the appliance found, or made from others.

    :ivar name: ``/dev/sda``, ``/dev/sda1``, ``/dev/vg0/root``, ``/dev/md127``,
        ``/dev/mapper/luks-…``; the letters follow the order of the sources.
    :ivar kind: as ``blkid`` says: ``ext4``, ``ntfs``, ``LVM2_member``, ``crypto_LUKS``; empty if
        it is nothing that blkid knows.
    :ivar size: bytes.
    :ivar origin: breadcrumb: of the source that it is or is a part of, or made up of the name.
    :ivar source_index: which source it is, or is a partition of; None for what is made from others.
    """

    name: str
    kind: str
    size: int
    origin: Origin
    label: str | None = None
    uuid: str | None = None
    source_index: int | None = None


def find_devices(
    guest: Guest, sources: Sequence[ByteSource], keys: Sequence[bytes], findings: list[Finding]
) -> tuple[Device, ...]:
    """Return every device, sorted by name.

    RAID arrays and volume groups are assembled when the appliance starts. Encrypted devices are
    opened with the keys, and looked into in turn, until nothing new comes up.
    """
    found: dict[str, Device] = {}
    names = [*_disks(guest), *_volumes(guest)]
    while True:
        new = [name for name in names if name not in found]
        found.update((name, _device(guest, name, sources)) for name in new)
        locked = [found[name] for name in new if found[name].kind in ENCRYPTED_KINDS]
        opened = [_open(guest, device, keys, findings) for device in locked]
        if not any(opened):
            return tuple(found[name] for name in sorted(found, key=_natural))
        guest.run("lvm_scan", 1)
        names = _volumes(guest)


def _natural(name: str) -> tuple[int, str]:
    """Sort ``/dev/sda10`` after ``/dev/sda9``, and ``/dev/sdaa`` after ``/dev/sdz``."""
    return len(name), name


def _disks(guest: Guest) -> list[str]:
    """Return what is there from the start: disks, their partitions, arrays."""
    functions = ("list_devices", "list_partitions", "list_md_devices")
    names = [name for function in functions for name in guest.texts(function)]
    return sorted(set(names), key=_natural)  # partitions of arrays are arrays, too


def _volumes(guest: Guest) -> list[str]:
    """Return what device-mapper makes of others, without what only volumes are made of."""
    # pools, mirror legs: GROUP-VOLUME, dashes doubled in both
    inner = tuple(f"{_MAPPER}{group.replace('-', '--')}-" for group in guest.texts("vgs"))
    mapped = [name for name in guest.texts("list_dm_devices") if not name.startswith(inner)]
    names = [*guest.texts("lvs"), *mapped]
    for function in ("list_ldm_volumes", "list_ldm_partitions"):
        with contextlib.suppress(CallError):  # the appliance was built without it: none are there
            names += guest.texts(function)
    return sorted(set(names), key=_natural)


def _device(guest: Guest, name: str, sources: Sequence[ByteSource]) -> Device:
    index = _source_index(guest, name)
    size: int | None = None
    origin = Origin(("libguestfs", name.removeprefix("/dev/")))
    if index is not None and index < len(sources):
        origin = sources[index].origin
        if name[-1].isdigit():
            origin = origin.child(name.rpartition("/")[2])
        else:
            size = sources[index].size
    known = _known(guest, name)
    return Device(
        name,
        kind=known.get("TYPE", ""),
        size=guest.number("blockdev_getsize64", name) if size is None else size,
        origin=origin,
        label=known.get("LABEL"),
        uuid=known.get("UUID"),
        source_index=index,
    )


def _source_index(guest: Guest, name: str) -> int | None:
    """Return which of the sources a device is, or is a partition of."""
    if not name.startswith(("/dev/sd", "/dev/vd")):
        return None
    if name[-1].isdigit():
        name = guest.text("part_to_dev", name)
    return guest.number("device_index", name)


def _known(guest: Guest, name: str) -> dict[str, str]:
    """Return what blkid says of a device."""
    try:
        return guest.mapping("blkid", name)
    except CallError:  # it knows nothing, or more than one thing, or a label is not UTF-8
        pass
    try:
        return {"TYPE": guest.text("vfs_type", name)}
    except CallError:
        return {}


def _open(guest: Guest, device: Device, keys: Sequence[bytes], findings: list[Finding]) -> bool:
    """Open an encrypted device with the first key that fits."""
    name = f"luks-{device.uuid}" if device.uuid else f"luks-{device.name.rpartition('/')[2]}"
    for key in keys:
        if b"\0" in key:  # the library takes keys as C strings
            continue
        try:
            guest.open_encrypted(device.name, key, name)
        except CallError:
            continue
        return True
    if any(b"\0" in key for key in keys):
        place = str(device.origin).encode("utf-8", "surrogateescape")
        evidence = "libguestfs takes no key that holds NUL bytes, as a key file may"
        findings.append(Finding("key-not-tried", place, Action.REPORTED, evidence))
    return False
