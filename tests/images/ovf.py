"""OVF descriptors, as VMware, VirtualBox and the specification's examples have them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from tests.support.programs import need, run

DMTF1 = "http://schemas.dmtf.org/ovf/envelope/1"
DMTF2 = "http://schemas.dmtf.org/ovf/envelope/2"
VMWARE = "http://www.vmware.com/schema/ovf/1/envelope"
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_"
IDE, SCSI, SATA = 5, 6, 20
STREAM = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive: what is in it, which controller it is on (kind and number), and where on it."""

    resource: str
    bus: int = SCSI
    controller: int = 0
    address: int | None = 0
    kind: int = 17
    configuration: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A ``VirtualSystem``; ``more`` is XML that goes into it as it is."""

    id: str = "server"
    drives: tuple[Drive, ...] = ()
    more: str = ""
    name: str | None = None
    networks: tuple[str, ...] = ("VM Network",)


@dataclass(frozen=True, slots=True)
class Package:
    """A descriptor to be written.

    :ivar files: ``File`` elements, by id and further attributes.
    :ivar disks: ``Disk`` elements likewise.
    """

    files: tuple[dict[str, str], ...] = ()
    disks: tuple[dict[str, str], ...] = ()
    machines: tuple[Machine, ...] = ()
    namespace: str = DMTF1
    more: str = ""
    collection: str = ""
    prologue: str = '<?xml version="1.0" encoding="UTF-8"?>\n'
    attributes: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the descriptor."""
        spaces = {
            "xmlns": self.namespace,
            "xmlns:ovf": self.namespace,
            "xmlns:rasd": f"{_CIM}ResourceAllocationSettingData",
            "xmlns:sasd": f"{_CIM}StorageAllocationSettingData",
            "xmlns:vssd": f"{_CIM}VirtualSystemSettingData",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
        }
        top = " ".join(f"{key}={quoteattr(value)}" for key, value in spaces.items())
        files = "".join(f"<File {_attributes(file)}/>" for file in self.files)
        disks = "".join(f"<Disk {_attributes(disk)}/>" for disk in self.disks)
        systems = "".join(self._system(machine) for machine in self.machines)
        if self.collection:
            systems = (
                f'<VirtualSystemCollection ovf:id="all"><Info/>{self.collection}{systems}'
                "</VirtualSystemCollection>"
            )
        section = self._section("DiskSection", f"<Info>Disks</Info>{disks}")
        return (
            f"{self.prologue}<Envelope {top} {_attributes(self.attributes)}>"
            f"<References>{files}</References>{section}{self.more}{systems}</Envelope>"
        )

    def _section(self, kind: str, content: str) -> str:
        if self.namespace == VMWARE:
            return f'<Section xsi:type="ovf:{kind}_Type">{content}</Section>'
        return f"<{kind}>{content}</{kind}>"

    def _system(self, machine: Machine) -> str:
        hardware = self._section("VirtualHardwareSection", self._hardware(machine))
        name = f"<Name>{escape(machine.name)}</Name>" if machine.name else ""
        content = f"<Info>A machine</Info>{name}{machine.more}{hardware}"
        if self.namespace == VMWARE:
            kind = 'xsi:type="ovf:VirtualSystem_Type"'
            return f"<Content {kind} ovf:id={quoteattr(machine.id)}>{content}</Content>"
        return f"<VirtualSystem ovf:id={quoteattr(machine.id)}>{content}</VirtualSystem>"

    def _hardware(self, machine: Machine) -> str:
        """Return the items: drives come before their controllers, which is allowed."""
        family = "<System><vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>"
        items = [
            _item(ResourceType="3", VirtualQuantity="2", InstanceID="1"),
            _item(
                ResourceType="4",
                VirtualQuantity="2",
                AllocationUnits="byte * 2^30",
                InstanceID="2",
            ),
        ]
        for number, drive in enumerate(machine.drives):
            tag, prefix = ("StorageItem", "sasd") if self.namespace == DMTF2 else ("Item", "rasd")
            at = {} if drive.address is None else {"AddressOnParent": str(drive.address)}
            items.append(
                _item(
                    tag,
                    prefix,
                    drive.configuration,
                    HostResource=drive.resource,
                    InstanceID=str(100 + number),
                    Parent=str(_controller(drive)),
                    ResourceType=str(drive.kind),
                    **at,
                )
            )
        for bus, controller in sorted({(drive.bus, drive.controller) for drive in machine.drives}):
            number = bus * 10 + controller
            items.append(
                _item(ResourceType=str(bus), Address=str(controller), InstanceID=str(number))
            )
        for number, network in enumerate(machine.networks):
            items.append(_item(ResourceType="10", Connection=network, InstanceID=str(300 + number)))
        return f"<Info>Hardware</Info>{family}{''.join(items)}"


def _controller(drive: Drive) -> int:
    return drive.bus * 10 + drive.controller


def _item(
    tag: str = "Item", prefix: str = "rasd", configuration: str | None = None, **fields: str
) -> str:
    content = "".join(
        f"<{prefix}:{key}>{escape(value)}</{prefix}:{key}>" for key, value in sorted(fields.items())
    )
    options = f" ovf:configuration={quoteattr(configuration)}" if configuration else ""
    return f"<{tag}{options}>{content}</{tag}>"


def _attributes(values: dict[str, str]) -> str:
    return " ".join(f"ovf:{key}={quoteattr(value)}" for key, value in values.items())


def package(*hrefs: str, namespace: str = DMTF1, more: str = "") -> Package:
    """Return a machine with these files as disks, in their order on one SCSI controller.

    :param more: XML that the machine has beside its hardware.
    """
    files = [{"id": f"file{number}", "href": href} for number, href in enumerate(hrefs)]
    disks = [
        {"diskId": f"disk{number}", "fileRef": f"file{number}", "capacity": "1", "format": STREAM}
        for number in range(len(hrefs))
    ]
    drives = [Drive(f"ovf:/disk/disk{number}", address=number) for number in range(len(hrefs))]
    machine = Machine(drives=tuple(drives), more=more)
    return Package(tuple(files), tuple(disks), (machine,), namespace)


def manifest(folder: Path, names: Iterable[str], algorithm: str = "sha256") -> str:
    """Return a manifest as ``openssl dgst`` writes it."""
    digests = {name: hashlib.new(algorithm, (folder / name).read_bytes()) for name in names}
    return "".join(
        f"{algorithm.upper()}({name})= {digest.hexdigest()}\n" for name, digest in digests.items()
    )


def pack(folder: Path, names: Sequence[str], *, command: str = "tar --format=ustar") -> Path:
    """Pack files of a folder, in this order, into an archive beside it."""
    target = folder.with_suffix(".ova")
    program, *options = command.split()
    need(program)
    run(program, *options, "-cf", target, "-C", folder, *names)
    return target


def stream_optimised(raw: Path, target: Path) -> Path:
    """Convert a raw disk to what OVF packages hold most."""
    need("qemu-img")
    options = ("-O", "vmdk", "-o", "subformat=streamOptimized")
    run("qemu-img", "convert", *options, raw, target)
    return target


def tarfile_of(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write an archive with any members, also such that tar(1) would not."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
