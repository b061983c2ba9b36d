"""Handing volumes over to libguestfs: what own readers cannot read, or everything on request.

::

    nodes ─► their bytes, or those of the group around them ─► one appliance
    its devices ─► matched to the nodes ─► tree, or children for what was found in them

One appliance is started for an artifact, with everything in it that may need one: starting takes
from seconds to minutes, and disks cannot be added later.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convert.options import Engine
from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    EncryptedError,
    InputReadError,
    LimitError,
    MissingDependencyError,
    UnsupportedError,
)
from formats.core.finding import Action, Finding
from formats.core.opener import Artifact, Node
from formats.core.reader import Category, Role, Volume
from formats.guestfs.settings import EngineSettings
from formats.recognised.row import RecognisedFormat

if TYPE_CHECKING:
    from formats.guestfs.devices import Device
    from formats.guestfs.engine import Appliance

ENGINE_FACT = "engine"
READ_BY = "read-by-libguestfs"

_FINAL = (AmbiguousError, EncryptedError, InputReadError, LimitError)
"""Problems that no other engine has an answer to."""


@dataclass(frozen=True, slots=True)
class Libguestfs:
    """The engine; see :class:`convert.select.request.SecondEngine`.

    :ivar replaces_native: whether it reads everything, and not only what own readers cannot.
    """

    settings: EngineSettings
    replaces_native: bool = False

    def may_read(self, node: Node, *, is_wanted: bool) -> bool:
        """See :meth:`convert.select.request.SecondEngine.may_read`.

        What belongs to another system than Linux is let be until someone asks for it: nothing in
        it becomes a container.
        """
        if node.problem is None:
            return _may_be_damaged(node) or (is_wanted and node.tree is None)
        if isinstance(node.problem, _FINAL):
            return False
        if isinstance(node.reader, RecognisedFormat) and node.reader.family is not None:
            return is_wanted
        if node.reader is None:  # a logical volume without bytes
            return bool(node.volume.device_names)
        return node.reader.category in {Category.FILESYSTEM, Category.VOLUMES}

    def take(self, artifact: Artifact, nodes: Sequence[Node]) -> None:
        """See :meth:`convert.select.request.SecondEngine.take`."""
        places = _Places(artifact)
        drives = places.drives(nodes)
        if not drives:
            return
        from formats.guestfs.engine import Appliance  # noqa: PLC0415 - seldom needed

        try:
            appliance = Appliance(
                [node.volume.source for node in drives],
                self.settings,
                artifact.progress,
                artifact.keys,
                limits=artifact.limits,
            )
        except MissingDependencyError as missing:
            for node in nodes:
                node.problem = _with_remedy(node, missing)
            return
        artifact.on_close(appliance.close)
        try:
            session = _Session(artifact, appliance, places, drives)
        except ConvertError as error:  # it goes down at what it finds
            for node in nodes:
                node.problem = _both(node, error)
            return
        session.distribute(nodes)
        artifact.findings += appliance.findings


def second_engine(engine: Engine) -> Libguestfs | None:
    """Return what is asked where own readers fail; None if nothing is.

    libguestfs takes its settings from the environment, as everywhere on the machine.
    """
    if engine is Engine.NATIVE:
        return None
    settings = EngineSettings(environment=dict(os.environ))
    return Libguestfs(settings, replaces_native=engine is Engine.LIBGUESTFS)


class _Places:
    """Where the bytes of nodes are."""

    def __init__(self, artifact: Artifact) -> None:
        self._around = {id(child): node for node in artifact.walk() for child in node.children}

    def holder(self, node: Node) -> Node:
        """Return the device that a node is on: itself, or the filesystem or group around it."""
        while not node.members and not node.volume.source.size and id(node) in self._around:
            node = self._around[id(node)]
        return node

    def parts(self, node: Node) -> Sequence[Node]:
        """Return what holds the bytes of the device that a node is on."""
        holder = self.holder(node)
        return holder.members or (holder,)

    def drives(self, nodes: Iterable[Node]) -> list[Node]:
        """Return what an appliance needs to see all of them, each once."""
        found = {id(part): part for node in nodes for part in self.parts(node)}
        return [part for part in found.values() if part.volume.source.size]


class _Session:
    """One appliance, and what it makes of the nodes."""

    def __init__(
        self, artifact: Artifact, appliance: Appliance, places: _Places, drives: Sequence[Node]
    ) -> None:
        self._artifact = artifact
        self._appliance = appliance
        self._places = places
        self._drives = {id(node): index for index, node in enumerate(drives)}
        self._devices = [device for device in appliance.devices() if _has_content(device)]
        self._names = {
            f"/dev/{name}" for node in artifact.walk() for name in node.volume.device_names
        }
        self._taken: set[str] = set()

    def distribute(self, nodes: Sequence[Node]) -> None:
        """Give each node its tree, or what was found on its drives and is no other node."""
        without: list[Node] = []
        for node in nodes:
            device = self._device_of(node)
            if device is None:
                without.append(node)
                continue
            self._taken.add(device.name)
            if device.drive is None:
                self._put_together(node, device)
            else:
                self._read(node, device)
        for node in without:
            inside = self._inside(node)
            self._taken.update(device.name for device in inside)
            if inside:
                self._hang_below(node, inside)
            else:
                node.problem = _both(node, UnsupportedError("finds no filesystem in it"))

    def _device_of(self, node: Node) -> Device | None:
        """Return the device with a filesystem that a node is."""
        names = {f"/dev/{name}" for name in node.volume.device_names}
        drives = self._drives_of(node)
        is_group = bool(self._places.holder(node).members)
        for device in self._devices:
            # any device of a Btrfs stands for all; a part of anything else has no filesystem
            is_drive = device.drive in drives and (device.kind or not is_group)
            if is_drive or device.name in names:
                return device
        return None

    def _drives_of(self, node: Node) -> frozenset[int]:
        numbers = (self._drives.get(id(part)) for part in self._places.parts(node))
        return frozenset(number for number in numbers if number is not None)

    def _inside(self, node: Node) -> list[Device]:
        """Return the devices that are on a node's drives, and are no other node."""
        drives, elsewhere = self._drives_of(node), self._taken | self._names
        return [
            device
            for device in self._devices
            if device.kind and device.drives & drives and device.name not in elsewhere
        ]

    def _read(self, node: Node, device: Device) -> None:
        """Set a node's tree; its problem if that cannot be had."""
        subvolume = node.volume.subvolume
        try:
            tree = self._appliance.tree(device, subvolume.number if subvolume else None)
            others = 0 if subvolume else len(self._appliance.subvolumes(device)) - 1
        except ConvertError as error:
            node.problem = _both(node, error)
            return
        evidence = f"{tree.info.format} read through libguestfs: {_reason(node)}"
        if others > 0:
            evidence += f"; only the default subvolume, and none of {others:,} more"
        node.tree, node.problem = tree, None
        node.facts[ENGINE_FACT] = "libguestfs"
        self._note(node, evidence)

    def _put_together(self, node: Node, device: Device) -> None:
        """Read a volume with own readers, from bytes that libguestfs gives; else let it read."""
        before = node.problem
        self._artifact.reopen(node, self._appliance.block(device))
        if node.tree is None and not node.children:
            node.problem = before
            self._read(node, device)
            return
        node.facts[ENGINE_FACT] = "libguestfs"
        reason = before.message if before is not None else "as asked for"
        self._note(node, f"{device.name} was put together by libguestfs: {reason}")

    def _hang_below(self, node: Node, devices: Sequence[Device]) -> None:
        """Open devices that were found in a node with own readers, or else read them here."""
        reason = _reason(node)
        node.problem = None
        node.facts[ENGINE_FACT] = "libguestfs"
        for device in devices:
            self._note(node, f"{device.name} was opened by libguestfs: {reason}")
            name = device.name.removeprefix("/dev/")
            block = self._appliance.block(device)
            self._artifact.open_inside(node, [Volume(block, name, device_names=(name,))])
            child = node.children[-1]
            if child.tree is None and not child.children:
                self._read(child, device)

    def _note(self, node: Node, evidence: str) -> None:
        place = str(node.origin).encode("utf-8", "surrogateescape")
        self._artifact.findings.append(Finding(READ_BY, place, Action.REPORTED, evidence))


def _has_content(device: Device) -> bool:
    """Tell whether a device may have files of its own; it may if blkid has no word for it."""
    from formats.guestfs.devices import ENCRYPTED_KINDS  # noqa: PLC0415 - as above
    from formats.guestfs.mounts import NOT_MOUNTED  # noqa: PLC0415 - as above

    return not device.kind or device.kind not in ENCRYPTED_KINDS | NOT_MOUNTED.keys()


def _reason(node: Node) -> str:
    """Return why a node is not read by an own reader."""
    if node.problem is not None:
        return node.problem.message
    return "as asked for" if node.tree is not None else "own readers find nothing known in it"


def _may_be_damaged(node: Node) -> bool:
    """Tell whether a volume of a disk should hold something, and nothing known is in it."""
    volume = node.volume
    is_volume = volume.number is not None or bool(volume.device_names)
    return is_volume and node.reader is None and volume.role in {Role.DATA, Role.ROOT}


def _both(node: Node, error: ConvertError) -> ConvertError:
    """Return why neither reader can read a node."""
    if node.problem is None:
        return error.at(node.origin)
    native = node.problem
    kind = type(native) if not isinstance(error, LimitError) else LimitError
    return kind(
        f"{native.message}; libguestfs: {error.message}",
        origin=native.origin or node.origin,
        offset=native.offset,
        hint=native.hint,
    )


def _with_remedy(node: Node, missing: MissingDependencyError) -> ConvertError:
    """Return a node's own problem, and how libguestfs could be had to read it all the same."""
    native = node.problem
    if native is None or isinstance(native, EncryptedError):
        return native or missing
    hint = f"{native.hint}; or " if native.hint else ""
    return type(native)(
        native.message,
        origin=native.origin,
        offset=native.offset,
        hint=f"{hint}let libguestfs read it: {missing.hint or missing.message}",
    )
