"""From a descriptor to the disks of its machines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from formats.bundles.controllers import MAX_DISKS
from formats.bundles.members import beside
from formats.bundles.ovf.descriptor import (
    Descriptor,
    Disk,
    File,
    System,
    parse_envelope,
    strings_of,
)
from formats.bundles.ovf.files import OpenOnce, open_file, stored_names
from formats.bundles.ovf.hardware import Resource, read_hardware
from formats.bundles.ovf.machine import property_values, read_machine
from formats.bundles.ovf.manifest import verify
from formats.bundles.ovf.units import bytes_of, shown_bytes
from formats.bundles.parts import machine_label, machine_volume, unreadable
from formats.bundles.texts import clean_facts
from formats.bundles.xml import parse_xml
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError, quoted
from formats.core.machine import Machine
from formats.core.origin import Origin, printable
from formats.core.reader import OpenContext, Siblings, Volume, Volumes
from formats.core.source import ByteSource, MappedSource, Segment

_SHOWN_FACTS = ("os", "cpus", "memory", "networks", "configuration")
_PROPERTY = re.compile(r"\$\{(.+)\}")


def open_package(
    source: ByteSource, name: str, siblings: Siblings, context: OpenContext, origin: Origin
) -> Volumes:
    """Open a descriptor with the files beside it.

    A disk that cannot be opened is in the result and says why; the others are read all the same.

    :param source: the descriptor.
    :param name: its name among the siblings, ``NAME.ovf``; that of the manifest follows from it.
    :param origin: of the package, for what is in it: the descriptor itself, or the archive.
    :raises CorruptError: if the descriptor contradicts itself, or a file its manifest.
    :raises UnsupportedError: for what is refused by name, and where there is no disk.
    """
    root = parse_xml(source, context.limits)
    descriptor = parse_envelope(root, source.origin)
    stem = re.sub(r"\.ovf$", "", name, flags=re.IGNORECASE)
    stored = (stored_names(file, siblings) for file in descriptor.files.values())
    names = [name, *chain.from_iterable(stored)]
    files = OpenOnce(siblings)
    manifest = verify(stem, names, files, context, origin)
    package = _Package(descriptor, strings_of(root), siblings, files, context, origin)
    return package.open({"ovf-version": descriptor.version, **manifest})


@dataclass(frozen=True, slots=True)
class _Package:
    descriptor: Descriptor
    strings: Mapping[str, str]
    siblings: Siblings
    files: OpenOnce
    context: OpenContext
    origin: Origin

    def open(self, facts: dict[str, str]) -> Volumes:
        descriptor = self.descriptor
        if len(descriptor.configurations) > 1:
            facts["configurations"] = ", ".join(descriptor.configurations)
        if len(descriptor.systems) == 1:
            opened = self._machine(descriptor.systems[0])
            facts = clean_facts({**facts, **opened.facts})
            return Volumes(opened.volumes, facts, opened.machine)
        volumes = tuple(self._member(system) for system in descriptor.systems)
        facts["machines"] = ", ".join(system.id for system in descriptor.systems)
        return Volumes(volumes, clean_facts(facts))

    def _member(self, system: System) -> Volume:
        """Return a machine of a collection; what is wrong with it is no matter for the others."""
        try:
            return machine_volume(system.id, self._machine(system), self.origin)
        except ConvertError as error:
            return unreadable(machine_label(system.id), error, self.origin)

    def _machine(self, system: System) -> Volumes:
        hardware = read_hardware(system.elements[0], self.descriptor.configuration)
        values = property_values(system, self.descriptor.configuration)
        machine = read_machine(
            system, self.descriptor.configuration, hardware, values, self.strings
        )
        disks = [self._disk_of(resource, system) for resource in hardware.disks]
        self._check(disks, system)
        facts = _shown(machine)
        media = [self._medium(drive, resource) for drive, resource in hardware.removable]
        if media:
            facts["removable-media"] = ", ".join(media)
        if len(self.descriptor.systems) == 1:
            facts |= self._other_files({resource.name for _, resource in hardware.removable})
        blank = [
            f"{disk.id} ({self._shown_capacity(disk, values)})" for disk in disks if not disk.file
        ]
        if blank:
            facts["blank-disks"] = ", ".join(blank)
        volumes = tuple(self._volume(disk, values) for disk in disks)
        return Volumes(volumes, clean_facts(facts), machine)

    def _check(self, disks: Sequence[Disk], system: System) -> None:
        if not disks:
            raise UnsupportedError(
                f"describes the machine {quoted(system.id)} without a disk",
                origin=self.origin,
                hint="there is nothing in it to convert",
            )
        if len(disks) > MAX_DISKS:
            raise LimitError(
                f"attaches more than {MAX_DISKS} disks to {quoted(system.id)}", origin=self.origin
            )
        files = Counter(disk.file.href for disk in disks if disk.file is not None)
        for name, count in files.items():
            if count > 1:
                raise CorruptError(
                    f"attaches the file {quoted(name)} to {quoted(system.id)} twice",
                    origin=self.origin,
                )

    def _disk_of(self, resource: Resource, system: System) -> Disk:
        """Return the disk that a drive refers to; a drive may refer to a file right away (8.3)."""
        disk: Disk | None = None
        if resource.kind == "disk":
            disk = self.descriptor.disks.get(resource.name)
        elif resource.kind == "file" and (file := self.descriptor.files.get(resource.name)):
            disk = Disk(file.id, file, "", "")
        if disk is None:
            raise CorruptError(
                f"attaches {quoted(resource.name)} to {quoted(system.id)}, which is no disk of it",
                origin=self.origin,
            )
        return disk

    def _medium(self, drive: str, resource: Resource) -> str:
        file = self.descriptor.files.get(resource.name)
        return f"{file.href if file else resource.name} ({drive})"

    def _other_files(self, media: set[str]) -> dict[str, str]:
        """Return the files that are listed and hold no disk: nvram, text, installers."""
        used = {disk.file.id for disk in self.descriptor.disks.values() if disk.file} | media
        others = [file.href for file in self.descriptor.files.values() if file.id not in used]
        return {"other-files": ", ".join(others)} if others else {}

    def _volume(self, disk: Disk, values: Mapping[str, str]) -> Volume:
        name, siblings = f"disk:{disk.id}", None
        if disk.file is not None:
            name = disk.file.href
            siblings = beside(self.siblings, next(stored_names(disk.file, self.siblings)))
        try:
            source = self._source(disk, disk.file, values)
        except ConvertError as error:
            return unreadable(name, error, self.origin)
        return Volume(source, printable(name), siblings=siblings)

    def _source(self, disk: Disk, file: File | None, values: Mapping[str, str]) -> ByteSource:
        if disk.parent is not None:
            raise UnsupportedError(
                f"has only what the disk {quoted(disk.id)} changed of {quoted(disk.parent)}",
                origin=self.origin,
                hint="export it without delta disks ('ovftool --makeDeltaDisks' makes them)",
            )
        if file is not None:
            return open_file(file, self.files, self.context, self.origin)
        return self._blank(disk, values)

    def _blank(self, disk: Disk, values: Mapping[str, str]) -> ByteSource:
        """Return a disk that has no file: it is made empty, with so many bytes (9.1)."""
        size = _capacity(disk, values)
        limit = self.context.limits.disk_virtual_bytes
        if size is None:
            raise UnsupportedError(
                f"has an empty disk {quoted(disk.id)} of a size that is not known:"
                f" {quoted(disk.capacity)} {quoted(disk.capacity_unit)}",
                origin=self.origin,
            )
        if size > limit:
            raise LimitError(
                f"has an empty disk of {size:,} bytes, more than the {limit:,} allowed",
                origin=self.origin,
            )
        return MappedSource([Segment(0, size, None)], self.origin.child(f"disk:{disk.id}"))

    @staticmethod
    def _shown_capacity(disk: Disk, values: Mapping[str, str]) -> str:
        size = _capacity(disk, values)
        return shown_bytes(size) if size is not None else disk.capacity


def _capacity(disk: Disk, values: Mapping[str, str]) -> int | None:
    """Return a disk's size in bytes; it may be left to a property, which has a default."""
    match = _PROPERTY.fullmatch(disk.capacity.strip())
    stated = values.get(match[1], "") if match else disk.capacity
    return bytes_of(stated, disk.capacity_unit)


def _shown(machine: Machine) -> dict[str, str]:
    product = " ".join(part for part in (machine.title, machine.version) if part)
    facts = {"machine": machine.name, "product": product, "vendor": machine.vendor or ""}
    return facts | {name: machine.properties.get(name, "") for name in _SHOWN_FACTS}
