"""The envelope of an OVF descriptor: files, disks, and the machines that use them.

Specification: DMTF DSP0243, versions 1.1.0 and 2.1.0 (clauses 7 to 9), and the draft that VMware
shipped as 0.9, where sections are ``Section`` elements with an ``xsi:type``.

Not followed: external string bundles, ``ovf:required`` sections that are not known (nothing is
deployed here).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from formats.bundles.texts import clean_line
from formats.bundles.xml import attribute, children, local_name, namespace
from formats.core.errors import (
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.origin import Origin

# Namespace of the envelope → version, and what its attribute may say.
_VERSIONS: Mapping[str, tuple[str, str]] = {
    "http://www.vmware.com/schema/ovf/1/envelope": ("0.9", r"0\.9"),
    "http://schemas.dmtf.org/ovf/1/envelope": ("1.x", r"[01](\.\d+)*"),  # drafts of 1.0
    "http://schemas.dmtf.org/ovf/envelope/1": ("1.x", r"1(\.\d+)*"),
    "http://schemas.dmtf.org/ovf/envelope/2": ("2.x", r"2(\.\d+)*"),
}

_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_MAX_MACHINES = 256


@dataclass(frozen=True, slots=True)
class File:
    """A ``File`` of the references (7.1).

    :ivar size: as stated, of all chunks together; None if it is not.
    :ivar chunk_bytes: size of each chunk but the last; None for a file in one piece.
    """

    id: str
    href: str
    size: int | None
    chunk_bytes: int | None
    is_gzip: bool


@dataclass(frozen=True, slots=True)
class Disk:
    """A ``Disk`` of the disk section (9.1).

    :ivar file: None for a disk that starts empty.
    :ivar capacity: as stated: a number, or ``${property}``.
    :ivar parent: id of the disk that this one has the changes to.
    """

    id: str
    file: File | None
    capacity: str
    capacity_unit: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class System:
    """A ``VirtualSystem`` (7.2).

    :ivar elements: itself, then the collections around it, innermost first.
    """

    id: str
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed envelope.

    :ivar configuration: id of the deployment option that applies; None if there are none.
    :ivar configurations: ids of all.
    """

    version: str
    files: Mapping[str, File]
    disks: Mapping[str, Disk]
    systems: tuple[System, ...]
    configuration: str | None
    configurations: tuple[str, ...]


def section_kind(element: Element) -> str:
    """Return what a section or content is, the same for all versions: ``DiskSection``."""
    name = local_name(element.tag)
    if name not in {"Section", "Content"}:
        return name
    return element.get(_TYPE, "").rpartition(":")[2].removesuffix("_Type")


def sections(element: Element, kind: str) -> Iterator[Element]:
    """Yield the sections of one kind that are right inside an element."""
    for child in element:
        if section_kind(child) == kind:
            yield child


def parse_envelope(root: Element, origin: Origin) -> Descriptor:
    """Return what the envelope says of files, disks and machines.

    :raises UnsupportedError: for versions that are not known, and encrypted packages.
    :raises CorruptError: if it contradicts itself or leaves out what has to be there.
    :raises LimitError: for too many machines.
    """
    version = _version(root, origin)
    if next(sections(root, "EncryptionSection"), None) is not None:
        raise EncryptedError(
            "is an encrypted OVF package", origin=origin, hint="decrypt it with what made it"
        )
    files = _files(root, origin)
    configuration, configurations = _configurations(root, origin)
    return Descriptor(
        version=version,
        files=files,
        disks=_disks(root, files, origin),
        systems=_systems(root, origin),
        configuration=configuration,
        configurations=configurations,
    )


def _version(root: Element, origin: Origin) -> str:
    if local_name(root.tag) != "Envelope":
        raise CorruptError(
            f"has the root element {quoted(local_name(root.tag))}, where OVF has 'Envelope'",
            origin=origin,
        )
    known, stated = _VERSIONS.get(namespace(root.tag)), attribute(root, "version")
    if known is None or not re.fullmatch(known[1], stated or known[0].replace("x", "0")):
        raise UnsupportedError(
            "is OVF of a version that is not known:"
            f" {quoted((known and stated) or namespace(root.tag))}",
            origin=origin,
            hint="export it as OVF 1.1",
        )
    return stated or known[0]


def _required(element: Element, name: str, origin: Origin) -> str:
    value = attribute(element, name)
    if not value:
        kind = section_kind(element)
        raise CorruptError(f"has a {kind} without its attribute {name}", origin=origin)
    return value


def _number(element: Element, name: str, origin: Origin) -> int | None:
    text = attribute(element, name)
    if text is None:
        return None
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", text):
        raise CorruptError(
            f"has a {local_name(element.tag)} whose {name} is {quoted(text[:40])}", origin=origin
        )
    return int(text)


def _files(root: Element, origin: Origin) -> dict[str, File]:
    found: dict[str, File] = {}
    hrefs: set[str] = set()
    for references in children(root, "References"):
        for element in children(references, "File"):
            file = _file(element, origin)
            if file.id in found or file.href in hrefs:
                what = file.id if file.id in found else file.href
                raise CorruptError(f"lists the file {quoted(what)} twice", origin=origin)
            found[file.id] = file
            hrefs.add(file.href)
    return found


def _file(element: Element, origin: Origin) -> File:
    compression = attribute(element, "compression") or "identity"
    if compression not in {"", "identity", "gzip"}:
        raise UnsupportedError(
            f"has a file compressed by {quoted(compression)}",
            origin=origin,
            hint="OVF knows gzip only: export it again",
        )
    chunk = _number(element, "chunkSize", origin)
    if chunk == 0:
        raise CorruptError("has a file in chunks of 0 bytes", origin=origin)
    return File(
        id=_required(element, "id", origin),
        href=_required(element, "href", origin),
        size=_number(element, "size", origin),
        chunk_bytes=chunk,
        is_gzip=compression == "gzip",
    )


def _disks(root: Element, files: Mapping[str, File], origin: Origin) -> dict[str, Disk]:
    found: dict[str, Disk] = {}
    for kind, name in (("DiskSection", "Disk"), ("SharedDiskSection", "SharedDisk")):
        for section in sections(root, kind):
            for element in children(section, name):
                disk = _disk(element, files, origin)
                if disk.id in found:
                    raise CorruptError(f"lists the disk {quoted(disk.id)} twice", origin=origin)
                found[disk.id] = disk
    return found


def _disk(element: Element, files: Mapping[str, File], origin: Origin) -> Disk:
    name = _required(element, "diskId", origin)
    file_name = attribute(element, "fileRef")
    if file_name and file_name not in files:
        raise CorruptError(
            f"has a disk {quoted(name)} in the file {quoted(file_name)}, which it does not list",
            origin=origin,
        )
    return Disk(
        id=name,
        file=files[file_name] if file_name else None,
        capacity=_required(element, "capacity", origin),
        capacity_unit=attribute(element, "capacityAllocationUnits") or "byte",
        parent=attribute(element, "parentRef") or None,
    )


def _systems(root: Element, origin: Origin) -> tuple[System, ...]:
    """Return all machines in their order, those in collections too."""
    found: dict[str, System] = {}
    pending: list[tuple[Element, ...]] = []
    pending += [(child,) for child in root][::-1]
    while pending:
        element, *around = pending.pop()
        kind = section_kind(element)
        if kind == "VirtualSystemCollection":
            pending += [(child, element, *around) for child in element][::-1]
        elif kind == "VirtualSystem":
            system = System(clean_line(_required(element, "id", origin)), (element, *around))
            if system.id in found:
                raise CorruptError(f"has two machines {quoted(system.id)}", origin=origin)
            found[system.id] = system
            if len(found) > _MAX_MACHINES:
                raise LimitError(f"has more than {_MAX_MACHINES} machines", origin=origin)
    if not found:
        raise CorruptError("describes no machine: it has no VirtualSystem", origin=origin)
    return tuple(found.values())


def _configurations(root: Element, origin: Origin) -> tuple[str | None, tuple[str, ...]]:
    """Return the deployment option that applies where the user chooses none (9.8), and all."""
    names: list[str] = []
    default: str | None = None
    for section in sections(root, "DeploymentOptionSection"):
        for element in children(section, "Configuration"):
            name = _required(element, "id", origin)
            names.append(name)
            if default is None and attribute(element, "default") in {"true", "1"}:
                default = name
    return default or (names[0] if names else None), tuple(names)


def strings_of(root: Element) -> dict[str, str]:
    """Return the messages that stand in the descriptor itself (10), by their id.

    Of several languages that of the envelope counts, or else the first.
    """
    language = "{http://www.w3.org/XML/1998/namespace}lang"
    bundles = [element for element in children(root, "Strings") if len(element)]
    bundles.sort(key=lambda bundle: bundle.get(language) != root.get(language))
    found: dict[str, str] = {}
    for bundle in bundles[:1]:
        for message in children(bundle, "Msg"):
            name = attribute(message, "msgid")
            if name and message.text:
                found.setdefault(name, message.text)
    return found
