"""What block devices there are, once everything that is made from others has been made."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from formats.core.errors import LimitError
from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.guestfs.guest import Guest
from formats.guestfs.worker import CallError

ENCRYPTED_KINDS = frozenset({"crypto_LUKS", "BitLocker"})
_DISKS = ("/dev/sd", "/dev/vd")
_MAPPER = "/dev/mapper/"
_ARRAY_PARTITION = re.compile(r"(/dev/md\d+)p\d+")
_NESTED_MAX = 8


@dataclass(frozen=True, slots=True)
class Device:
    """A block device that the appliance found, or made from others.

    :ivar name: ``/dev/sda``, ``/dev/sda1``, ``/dev/vg0/root``, ``/dev/md127``,
        ``/dev/mapper/luks-…``; the letters follow the order of the sources.
    :ivar kind: as ``blkid`` says: ``ext4``, ``ntfs``, ``LVM2_member``, ``crypto_LUKS``; empty if
        it is nothing that blkid knows.
    :ivar size: bytes.
    :ivar origin: breadcrumb: of the source that it is or is a part of, or made up of the name.
    :ivar drive: number of the source that it is the whole of; None for all else.
    :ivar drives: numbers of the sources that it is on; all of them where nobody says which.
    """

    name: str
    kind: str
    size: int
    origin: Origin
    label: str | None = None
    uuid: str | None = None
    drive: int | None = None
    drives: frozenset[int] = frozenset()


def find_devices(
    guest: Guest, sources: Sequence[ByteSource], keys: Sequence[bytes], findings: list[Finding]
) -> tuple[Device, ...]:
    """Return every device, sorted by name.

    RAID arrays and volume groups are assembled when the appliance starts. Encrypted devices are
    opened with the keys, and looked into in turn, until nothing new comes up.

    :raises LimitError: if they are nested without end.
    """
    found: dict[str, Device] = {}
    opened: dict[str, str] = {}
    names = [*_disks(guest), *_volumes(guest, opened)]
    for _ in range(_NESTED_MAX):
        new = [name for name in names if name not in found]
        places = _Places(guest, len(sources), opened)
        found.update((name, _device(guest, name, sources, places)) for name in new)
        known = len(opened)
        for name in new:
            if found[name].kind in ENCRYPTED_KINDS:
                opened.update(_open(guest, found[name], keys, opened, findings))
        if len(opened) == known:
            return tuple(found[name] for name in sorted(found, key=_natural))
        guest.run("lvm_scan", 1)
        names = _volumes(guest, opened)
    raise LimitError(
        f"volumes are encrypted more than {_NESTED_MAX} times over", origin=guest.origin
    )


def _natural(name: str) -> tuple[int, str]:
    """Sort ``/dev/sda10`` after ``/dev/sda9``, and ``/dev/sdaa`` after ``/dev/sdz``."""
    return len(name), name


def _disks(guest: Guest) -> list[str]:
    """Return what is there from the start: disks, their partitions, arrays."""
    functions = ("list_devices", "list_partitions", "list_md_devices")
    names = [name for function in functions for name in guest.texts(function)]
    return sorted(set(names), key=_natural)  # partitions of arrays are arrays, too


def _volumes(guest: Guest, opened: Mapping[str, str]) -> list[str]:
    """Return what device-mapper makes of others, without what only volumes are made of.

    :param opened: encrypted devices by the names under which they were opened.
    """
    # pools, mirror legs: GROUP-VOLUME, dashes doubled in both
    inner = tuple(f"{_MAPPER}{group.replace('-', '--')}-" for group in guest.texts("vgs"))
    mapped = guest.texts("list_dm_devices")
    names = [*guest.texts("lvs"), *opened]
    names += [name for name in mapped if not name.startswith(inner)]
    for function in ("list_ldm_volumes", "list_ldm_partitions"):
        with contextlib.suppress(CallError):  # the appliance was built without it: none are there
            names += guest.texts(function)
    return sorted(set(names), key=_natural)


class _Places:
    """Which sources devices are on."""

    def __init__(self, guest: Guest, count: int, opened: Mapping[str, str]) -> None:
        self._guest = guest
        self._all = frozenset(range(count))
        self._opened = opened
        self._groups = _groups(guest)

    def drives(self, name: str) -> frozenset[int]:
        """Return the numbers of the sources that a device is on."""
        if name.startswith(_DISKS):
            disk = self._guest.text("part_to_dev", name) if name[-1].isdigit() else name
            return self._all & {self._guest.number("device_index", disk)}
        below = [self.drives(other) for other in self._below(name)]
        return frozenset().union(*below) or self._all

    def _below(self, name: str) -> list[str]:
        """Return what a device was made from."""
        if name in self._opened:
            return [self._opened[name]]
        if partition := _ARRAY_PARTITION.fullmatch(name):
            return [partition[1]]
        if name.startswith("/dev/md"):
            members = [
                record.get("mdstat_device") for record in self._guest.records("md_stat", name)
            ]
            return [member for member in members if isinstance(member, str)]
        return self._groups.get(name.removeprefix("/dev/").partition("/")[0], [])


def _groups(guest: Guest) -> dict[str, list[str]]:
    """Return the physical volumes of each volume group."""
    owners: dict[str, str] = {}
    for group in guest.texts("vgs"):
        owners.update(dict.fromkeys(guest.texts("vgpvuuids", group), group))
    groups: dict[str, list[str]] = {}
    for name in guest.texts("pvs"):
        with contextlib.suppress(CallError):  # of one that is missing
            groups.setdefault(owners.get(guest.text("pvuuid", name), ""), []).append(name)
    return groups


def _device(guest: Guest, name: str, sources: Sequence[ByteSource], places: _Places) -> Device:
    drives = places.drives(name)
    drive: int | None = None
    origin = Origin(("libguestfs", name.removeprefix("/dev/")))
    if name.startswith(_DISKS) and len(drives) == 1:
        (drive,) = drives
        origin = sources[drive].origin
        if name[-1].isdigit():
            origin, drive = origin.child(name.rpartition("/")[2]), None
    known = _known(guest, name)
    return Device(
        name,
        kind=known.get("TYPE", ""),
        size=sources[drive].size if drive is not None else guest.number("blockdev_getsize64", name),
        origin=origin,
        label=known.get("LABEL"),
        uuid=known.get("UUID"),
        drive=drive,
        drives=drives,
    )


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


def _open(
    guest: Guest,
    device: Device,
    keys: Sequence[bytes],
    opened: Mapping[str, str],
    findings: list[Finding],
) -> dict[str, str]:
    """Open an encrypted device with the first key that fits; return it by its new name."""
    name = f"luks-{device.uuid}"
    if not device.uuid or _MAPPER + name in opened:  # copies of a device have one UUID
        name = f"luks-{device.name.rpartition('/')[2]}"
    for key in keys:
        if b"\0" in key:  # the library takes keys as C strings
            continue
        try:
            guest.open_encrypted(device.name, key, name)
        except CallError:
            continue
        return {_MAPPER + name: device.name}
    if any(b"\0" in key for key in keys):
        place = str(device.origin).encode("utf-8", "surrogateescape")
        evidence = "libguestfs takes no key that holds NUL bytes, as a key file may"
        findings.append(Finding("key-not-tried", place, Action.REPORTED, evidence))
    return {}
