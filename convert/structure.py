"""What is inside what: an opened artifact as plain objects that outlive its files."""

from __future__ import annotations

from dataclasses import dataclass, field

from formats.core.errors import ConvertError
from formats.core.machine import Machine
from formats.core.opener import Artifact, Node
from formats.core.reader import Role


@dataclass(frozen=True, slots=True)
class Part:
    """A file, a partition, a logical volume, a filesystem: one thing in an artifact.

    :ivar name: what it is called in its container, as ``--root`` takes it.
    :ivar size: bytes.
    :ivar format: reader's word for what it is; None where nothing known is in it.
    :ivar uuid: of the filesystem if there is one, otherwise of the volume.
    :ivar label: of the filesystem if there is one, otherwise of the volume.
    :ivar used: bytes of a filesystem that are taken, where it says so.
    :ivar facts: further things worth showing, as the format names them.
    :ivar made_of: names of the volumes that it was put together from (LVM).
    :ivar machine: what a descriptor says of the machine whose disks are inside.
    :ivar problem: why what is inside cannot be read.
    """

    name: str
    origin: str
    size: int
    role: Role
    format: str | None = None
    uuid: str | None = None
    label: str | None = None
    used: int | None = None
    facts: dict[str, str] = field(default_factory=dict)
    made_of: tuple[str, ...] = ()
    machine: Machine | None = None
    problem: ConvertError | None = None
    parts: tuple[Part, ...] = ()


def structure(artifact: Artifact) -> tuple[Part, ...]:
    """Return the parts of an artifact, one for each file and each assembled group."""
    return tuple(_part(node, node.machine if node.members else None) for node in artifact.nodes)


def _part(node: Node, around: Machine | None) -> Part:
    volume, info = node.volume, node.tree.info if node.tree is not None else None
    reader = node.reader.name if node.reader is not None else None
    if reader is None and node.holds_disks:
        reader = "machine"
    return Part(
        name=_name(node),
        origin=str(node.origin),
        size=0 if node.members else volume.source.size,
        role=volume.role,
        format=info.format if info is not None else reader,
        uuid=(info.uuid if info is not None else None) or volume.uuid,
        label=(info.label if info is not None else None) or volume.part_label,
        used=info.used_bytes if info is not None else None,
        facts={**node.facts, **(info.facts if info is not None else {})},
        made_of=tuple(str(member.origin) for member in node.members),
        machine=node.machine if node.machine is not around else None,
        problem=node.problem,
        parts=tuple(_part(child, node.machine) for child in node.children),
    )


def _name(node: Node) -> str:
    """Return the volume's name; a group of members is called by its reader."""
    if node.members and node.reader is not None:
        return node.reader.name
    return node.volume.label
