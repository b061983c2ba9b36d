"""The virtual hardware of one machine: its disks in order, processors, memory, networks.

Specification: DSP0243 clause 8 (virtual hardware), and the CIM classes that its items are:
``CIM_ResourceAllocationSettingData``, and for 2.x ``CIM_StorageAllocationSettingData`` and
``CIM_EthernetPortAllocationSettingData``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from formats.bundles.controllers import Bus
from formats.bundles.ovf.descriptor import sections
from formats.bundles.ovf.units import bytes_of, shown_bytes
from formats.bundles.xml import attribute, child_text, children

_ITEMS = ("Item", "StorageItem", "EthernetPortItem")

# Values of ResourceType (CIM_ResourceAllocationSettingData).
_PROCESSOR, _MEMORY, _ETHERNET, _HARD_DISK = 3, 4, 10, 17
_REMOVABLE = {14: "floppy", 15: "CD", 16: "DVD"}
_IDE, _SCSI, _ISCSI, _OTHER_STORAGE = 5, 6, 8, 20
_CONTROLLERS = (_IDE, _SCSI, _ISCSI, _OTHER_STORAGE)

_RESOURCE = re.compile(r"(?:ovf:)?/{0,2}(disk|file)/(.+)", re.IGNORECASE)
_LAST = 1 << 32
"""Sorts behind every address that is stated."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What a drive refers to: ``ovf:/disk/ID`` or ``ovf:/file/ID``.

    :ivar kind: ``disk`` or ``file``; "" where the text is neither.
    :ivar name: the id, or the whole text.
    """

    kind: str
    name: str


@dataclass(slots=True)
class Hardware:
    """What was found.

    :ivar disks: of hard disks, in the order of their controllers and addresses.
    :ivar removable: drive and resource of what is in CD and floppy drives.
    :ivar family: ``vmx-08``, ``virtualbox-2.2``.
    """

    disks: list[Resource] = field(default_factory=list)
    removable: list[tuple[str, Resource]] = field(default_factory=list)
    processors: str | None = None
    memory: str | None = None
    networks: list[str] = field(default_factory=list)
    family: str | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    position: int
    instance: str | None
    kind: int
    element: Element
    is_for_all: bool

    def text(self, *names: str) -> str | None:
        return child_text(self.element, *names)

    def number(self, *names: str) -> int | None:
        text = self.text(*names) or ""
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def read_hardware(system: Element, configuration: str | None) -> Hardware:
    """Return the hardware of a machine.

    Of several hardware sections, which are alternatives for different hypervisors, the first
    counts.

    :param configuration: the deployment option that applies.
    """
    found = Hardware()
    section = next(sections(system, "VirtualHardwareSection"), None)
    if section is None:
        return found
    for settings in children(section, "System"):
        found.family = child_text(settings, "VirtualSystemType")
    items = _items(section, configuration)
    for item in items:
        _take(item, found)
    found.networks = list(dict.fromkeys(found.networks))
    controllers = {item.instance: item for item in items if item.kind in _CONTROLLERS}
    drives = [item for item in items if item.kind == _HARD_DISK]
    drives.sort(key=lambda drive: _place(drive, controllers))
    found.disks = [resource for drive in drives for resource in _resources(drive)]
    return found


def _items(section: Element, configuration: str | None) -> list[_Item]:
    """Return the items that apply.

    One for the deployment option replaces the one of its kind that has the same instance for all
    (8.2); items that only bound a range say nothing of what is there.
    """
    found: list[_Item] = []
    replaced: set[tuple[str | None, int]] = set()
    for position, element in enumerate(children(section, *_ITEMS)):
        options = (attribute(element, "configuration") or "").split()
        if options and configuration not in options:
            continue
        if attribute(element, "bound") in {"min", "max"}:
            continue
        kind = child_text(element, "ResourceType") or ""
        number = int(kind) if re.fullmatch(r"[0-9]{1,5}", kind) else 0
        item = _Item(
            position,
            child_text(element, "InstanceID", "InstanceId"),
            number,
            element,
            is_for_all=not options,
        )
        if options:
            replaced.add((item.instance, item.kind))
        found.append(item)
    return [
        item for item in found if not item.is_for_all or (item.instance, item.kind) not in replaced
    ]


def _take(item: _Item, found: Hardware) -> None:
    quantity = item.text("VirtualQuantity")
    if item.kind == _PROCESSOR:
        found.processors = quantity
    elif item.kind == _MEMORY and quantity:
        size = bytes_of(quantity, item.text("AllocationUnits") or "MegaBytes")
        found.memory = shown_bytes(size) if size is not None else quantity
    elif item.kind == _ETHERNET:
        if network := item.text("Connection"):
            found.networks.append(network)
    elif item.kind in _REMOVABLE:
        found.removable += [(_REMOVABLE[item.kind], resource) for resource in _resources(item)]


def _place(drive: _Item, controllers: Mapping[str | None, _Item]) -> tuple[int, int, int, int, int]:
    """Return where a drive comes: by kind of controller, its number, and the address on it."""
    address = drive.number("AddressOnParent")
    controller = controllers.get(drive.text("Parent"))
    if controller is None:
        bus, number, position = Bus.OTHER, _LAST, _LAST
    else:
        stated = controller.number("Address", "BusNumber")
        bus, number, position = _bus(controller), stated or 0, controller.position
    return bus, number, position, _LAST if address is None else address, drive.position


def _bus(controller: _Item) -> Bus:
    if controller.kind == _OTHER_STORAGE:
        is_nvme = "nvme" in (controller.text("ResourceSubType") or "").lower()
        return Bus.NVME if is_nvme else Bus.SATA
    return {_SCSI: Bus.SCSI, _ISCSI: Bus.SCSI, _IDE: Bus.IDE}.get(controller.kind, Bus.OTHER)


def _resources(item: _Item) -> Iterator[Resource]:
    for element in children(item.element, "HostResource"):
        text = (element.text or "").strip()
        match = _RESOURCE.fullmatch(text)
        if match:
            yield Resource(match[1].lower(), match[2])
        elif text:
            yield Resource("", text)
