"""What volumes are called: in fstab, below ``/dev``, and by users.

A disk's letter is its place: the first disk that was given is ``sda`` (and ``vda``, ``xvda``,
``nvme0n1``, ``mmcblk0``), the second ``sdb``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from formats.core.opener import Artifact, Node
from formats.core.origin import printable
from formats.core.reader import Category

_LETTERED = re.compile(r"(?:sd|vd|xvd|hd|dasd)([a-z]{1,3})([0-9]{0,3})")
_NUMBERED = re.compile(r"(?:nvme([0-9]{1,3})n1|mmcblk([0-9]{1,3}))(?:p([0-9]{1,3}))?")
_UDEV_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")

_BY_FOLDER = {
    "disk/by-uuid/": "UUID",
    "disk/by-label/": "LABEL",
    "disk/by-partuuid/": "PARTUUID",
    "disk/by-partlabel/": "PARTLABEL",
}
"""Folders of links that udev makes, and the tag that says the same in fstab."""
_WITHOUT_CASE = frozenset({"UUID", "PARTUUID"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the kernel would find a volume: which disk, and which partition; 0 is the whole."""

    disk: int
    partition: int


class VolumeNames:
    """All volumes of an artifact by name. What they hold was found out by opening it."""

    def __init__(self, artifact: Artifact) -> None:
        self.nodes: list[Node] = []
        """Every volume, parents first; groups are not volumes, what is in them is."""
        self._by_tag: dict[str, list[Node]] = {}
        self._by_place: dict[_Place, Node] = {}
        self._places: dict[int, _Place] = {}
        self._disks = 0
        self._groups: dict[int, Node] = {}
        self._around: dict[int, Node] = {}
        for node in artifact.walk():
            if not node.members:
                self._take(node)
            self._around.update((id(child), node) for child in node.children)
            self._groups.update((id(member), node) for member in node.members)
        for node in artifact.nodes:
            if not node.members:
                self._take_disks(node)

    def named(self, spec: str) -> list[Node]:
        """Return the volumes that a device field of fstab means.

        :param spec: ``UUID=…``, ``LABEL=…``, ``PARTUUID=…``, ``PARTLABEL=…`` or a path below
            ``/dev``; escapes of fstab decoded. A filesystem with subvolumes is all of them.
        """
        return list(_unique(tree for node in self._named(spec) for tree in self._trees(node)))

    def beside(self, node: Node) -> list[Node]:
        """Return everything that is in the same container as a volume, itself included."""
        around = self._around.get(id(node))
        return around.children if around is not None else [node]

    def _named(self, spec: str) -> list[Node]:
        if spec.startswith("/dev/"):
            return self._devices(spec.removeprefix("/dev/"))
        tag, equals, value = spec.partition("=")
        value = value.removeprefix('"').removesuffix('"')
        return self._tagged(tag, value) if equals else []

    def matching(self, wanted: str) -> list[Node]:
        """Return the volumes that a user may mean: also by bare label, UUID, name or breadcrumb."""
        exact = [node for node in self.nodes if wanted in {node.volume.label, str(node.origin)}]
        tags = [f"{tag}={wanted}" for tag in _BY_FOLDER.values()]
        found = [self.named(name) for name in (wanted, f"/dev/{wanted}", *tags)]
        return list(_unique(node for group in (exact, *found) for node in group))

    def name(self, node: Node) -> str:
        """Return the shortest name that means this volume and no other."""
        device = self._kernel_name(node)
        for name in (node.volume.label, *([device] if device else [])):
            found = self.matching(name)
            if len(found) == 1 and found[0] is node:
                return name
        return str(node.origin)

    def _trees(self, node: Node) -> list[Node]:
        """Return the trees of the filesystem that a device is, or is a part of."""
        filesystem = self._groups.get(id(node), node)
        reader = filesystem.reader
        if reader is None or reader.category is not Category.FILESYSTEM:
            return [node]
        return filesystem.children or [node]

    def _take(self, node: Node) -> None:
        self.nodes.append(node)
        volume, info = node.volume, node.tree.info if node.tree is not None else None
        tags = [
            ("PARTUUID", volume.uuid),
            ("PARTLABEL", volume.part_label),
            ("UUID", info.uuid if info is not None else None),
            ("LABEL", info.label if info is not None else None),
            *(("/dev", name) for name in volume.device_names),
        ]
        for tag, value in tags:
            if value:  # readers have made it printable
                self._by_tag.setdefault(_key(tag, value), []).append(node)

    def _take_disks(self, node: Node) -> None:
        """Number disks and their partitions; what is inside of a partition is neither."""
        if node.children and is_wrapping(node):
            for child in node.children:
                self._take_disks(child)
            return
        self._place(node, _Place(self._disks, 0))
        for child in node.children:
            self._place(child, _Place(self._disks, child.volume.number or 0))
        self._disks += 1

    def _place(self, node: Node, place: _Place) -> None:
        self._by_place.setdefault(place, node)
        self._places[id(node)] = place

    def _devices(self, name: str) -> list[Node]:
        for folder, tag in _BY_FOLDER.items():
            if name.startswith(folder):
                value = name.removeprefix(folder)
                value = _UDEV_ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)
                return self._tagged(tag, value)
        place = _place_of(name)
        if place is None:
            return self._tagged("/dev", name)
        node = self._by_place.get(place)
        return [node] if node is not None else []

    def _tagged(self, tag: str, value: str) -> list[Node]:
        return self._by_tag.get(_key(tag, printable(value)), [])

    def _kernel_name(self, node: Node) -> str | None:
        place = self._places.get(id(node))
        if place is None:
            return None
        return f"/dev/sd{_letters(place.disk)}{place.partition or ''}"


def is_wrapping(node: Node) -> bool:
    """Tell whether a node is something around disks, and none that the kernel sees."""
    category = node.reader.category if node.reader is not None else None
    return node.holds_disks or category in {Category.COMPRESSION, Category.DISK}


def _unique(nodes: Iterable[Node]) -> Iterable[Node]:
    return {id(node): node for node in nodes}.values()


def _key(tag: str, value: str) -> str:
    return f"{tag}={value.lower() if tag in _WITHOUT_CASE else value}"


def _place_of(name: str) -> _Place | None:
    """Return which disk and partition a kernel's name means; None if it is no such name."""
    match = _LETTERED.fullmatch(name)
    if match is not None:
        number = 0
        for letter in match[1]:
            number = number * 26 + ord(letter) - ord("a") + 1
        return _Place(number - 1, int(match[2] or 0))
    match = _NUMBERED.fullmatch(name)
    if match is not None:
        return _Place(int(match[1] or match[2]), int(match[3] or 0))
    return None


def _letters(disk: int) -> str:
    letters = ""
    number = disk + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
