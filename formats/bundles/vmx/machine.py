"""The machine that a .vmx describes, with its disks in their order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from formats.bundles.controllers import MAX_DISKS, Bus
from formats.bundles.members import beside
from formats.bundles.parts import unreadable
from formats.bundles.texts import clean_facts, clean_machine
from formats.bundles.vmx.text import Settings, parse_vmx
from formats.core.errors import (
    ConvertError,
    EncryptedError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.finding import Action, Finding
from formats.core.machine import Machine
from formats.core.origin import Origin, printable
from formats.core.reader import OpenContext, Siblings, Volume, Volumes
from formats.core.source import ByteSource

_BUSES: Mapping[str, Bus] = {
    "scsi": Bus.SCSI,
    "sata": Bus.SATA,
    "nvme": Bus.NVME,
    "ide": Bus.IDE,
}
_DEVICE = re.compile(r"(scsi|sata|nvme|ide)(\d{1,3}):(\d{1,3})\.filename")
_FLOPPY = re.compile(r"floppy\d+\.filename")
_NETWORK = re.compile(r"(ethernet\d{1,3})\.present")
_NO_DISK_TYPES = ("cdrom", "atapi-cdrom", "passthru")
_NO_DISK_ENDINGS = (".iso", ".img", ".flp")

# Property here → key in the file.
_PROPERTIES: Mapping[str, str] = {
    "os": "guestOS",
    "cpus": "numvcpus",
    "annotation": "annotation",
    "hardware-version": "virtualHW.version",
    "uuid": "uuid.bios",
    "firmware": "firmware",
}


@dataclass(frozen=True, slots=True)
class Attached:
    """A device with a file.

    :ivar name: ``scsi0:0``.
    :ivar file_name: as written: a plain name, or a path on the host it ran on.
    """

    name: str
    place: tuple[Bus, int, int]
    file_name: str


def open_machine(
    source: ByteSource, siblings: Siblings, context: OpenContext, origin: Origin
) -> Volumes:
    """Open the disks of a .vmx, which lie beside it.

    :param origin: of what holds the machine: the .vmx itself, or an archive.
    :raises EncryptedError: if the machine is encrypted.
    :raises UnsupportedError: if it has no disk.
    :raises CorruptError: for lines that make no sense.
    :raises LimitError: if the text is too large, or the disks are too many.
    """
    settings = parse_vmx(source, context.limits)
    if any(key.startswith("encryption.") for key in settings.values):
        raise EncryptedError(
            "describes an encrypted machine",
            origin=source.origin,
            hint="decrypt it in VMware (VM settings, Options, Access Control) first",
        )
    disks, others = _devices(settings)
    if not disks:
        raise UnsupportedError(
            "describes a machine without a disk",
            origin=source.origin,
            hint="there is nothing in it to convert",
        )
    if len(disks) > MAX_DISKS:
        raise LimitError(f"has more than {MAX_DISKS} disks", origin=source.origin)
    machine = _machine(settings, source.origin)
    names = [_last_component(disk.file_name) for disk in disks]
    opener = _Disks(siblings, context, source.origin, origin, names)
    facts = {"machine": machine.name, **_facts(machine)}
    facts["disks"] = ", ".join(f"{disk.name}: {disk.file_name}" for disk in disks)
    facts["other-files"] = ", ".join(others)
    volumes = tuple(opener.volume(disk) for disk in disks)
    return Volumes(volumes, clean_facts(facts), machine)


def _devices(settings: Settings) -> tuple[list[Attached], list[str]]:
    """Return the disks in their order, and what else has a file, for people."""
    disks: list[Attached] = []
    others: list[str] = []
    for key, value in settings.values.items():
        match = _DEVICE.fullmatch(key)
        if match is None:
            if _FLOPPY.fullmatch(key) and value:
                others.append(f"{value} ({key.partition('.')[0]})")
            continue
        controller, name = f"{match[1]}{match[2]}", key.removesuffix(".filename")
        attached = Attached(name, (_BUSES[match[1]], int(match[2]), int(match[3])), value)
        if _is_other(settings, attached):
            others.append(f"{value} ({name}, {settings.get(f'{name}.deviceType') or 'no disk'})")
        elif not settings.is_true(f"{name}.present") or settings.is_false(f"{controller}.present"):
            others.append(f"{value} ({name}, not attached)")
        else:
            disks.append(attached)
    return sorted(disks, key=lambda disk: disk.place), others


def _is_other(settings: Settings, device: Attached) -> bool:
    kind = settings.get(f"{device.name}.deviceType").lower()
    is_image = device.file_name.lower().endswith(_NO_DISK_ENDINGS)
    return not device.file_name or kind.startswith(_NO_DISK_TYPES) or is_image


def _machine(settings: Settings, origin: Origin) -> Machine:
    stated = {name: settings.get(key) for name, key in _PROPERTIES.items()}
    memory = settings.get("memsize")
    stated["memory"] = f"{memory} MiB" if memory else ""
    stated["networks"] = ", ".join(_networks(settings))
    stem = re.sub(r"\.vmx$", "", origin.parts[-1], flags=re.IGNORECASE)
    title = settings.get("displayName").strip()
    machine = Machine(
        name=title or stem or "machine",
        title=title or None,
        properties={name: value for name, value in stated.items() if value},
    )
    return clean_machine(machine)


def _networks(settings: Settings) -> list[str]:
    found: list[str] = []
    for key in settings.values:
        match = _NETWORK.fullmatch(key)
        if match is None or not settings.is_true(key):
            continue
        card = match[1]
        name = settings.get(f"{card}.networkName") or settings.get(f"{card}.connectionType")
        if name and name not in found:
            found.append(name)
    return found


def _facts(machine: Machine) -> dict[str, str]:
    names = ("os", "cpus", "memory", "networks", "hardware-version")
    return {name: machine.properties[name] for name in names if name in machine.properties}


@dataclass(frozen=True, slots=True)
class _Disks:
    """Opens disks beside the .vmx.

    :ivar names: last component of every disk's name; a path is only cut where it stays unique.
    """

    siblings: Siblings
    context: OpenContext
    described: Origin
    origin: Origin
    names: list[str]

    def volume(self, disk: Attached) -> Volume:
        label = _last_component(disk.file_name)
        if not label or self.names.count(label) > 1:
            label = disk.name
        try:
            name = self._name(disk)
            source = self.siblings.open(name, self.origin)
        except ConvertError as error:
            return unreadable(label, error, self.origin)
        return Volume(source, printable(label), siblings=beside(self.siblings, name))

    def _name(self, disk: Attached) -> str:
        """Return the sibling that is meant: as written, or the last component of a path.

        A machine that was copied away from its host still has its disks' paths there.
        """
        last = _last_component(disk.file_name)
        is_path = last != disk.file_name and not self.siblings.exists(disk.file_name)
        if not is_path or self.names.count(last) > 1 or not self.siblings.exists(last):
            return disk.file_name
        evidence = f"{disk.name} is {quoted(disk.file_name)}; {quoted(last)} beside it was taken"
        where = str(self.described).encode()
        self.context.note(Finding("vmx-disk-path", where, Action.REPORTED, evidence))
        return last


def _last_component(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]
