"""The appliance: disks go in, devices, trees and blocks come out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.reader import Subvolume
from formats.core.source import ByteSource
from formats.core.tree import Tree, TreeInfo
from formats.guestfs.block import BlockSource
from formats.guestfs.devices import Device, find_devices
from formats.guestfs.guest import Guest
from formats.guestfs.mounts import mount
from formats.guestfs.settings import EngineSettings
from formats.guestfs.start import start
from formats.guestfs.tree import GuestTree
from formats.guestfs.worker import CallError, Json

Progress = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


class Appliance:
    """A running appliance with the given disks; close it, or use it as a context manager.

    :param sources: whole disks, partitions or volumes; their bytes are never changed.
    :param progress: told of the start, as ``("starting libguestfs", done, total)``.
    :param keys: passphrases and contents of key files to try on encrypted devices.
    :ivar version: of libguestfs.
    :ivar is_emulated: whether it runs without KVM, and is slow.
    :ivar findings: what was noted so far: repaired superblocks, unclean filesystems.
    :raises MissingDependencyError: if libguestfs is not there or does not start, with the remedy.
    :raises LimitError: if it does not start in time.
    """

    def __init__(
        self,
        sources: Sequence[ByteSource],
        settings: EngineSettings,
        progress: Progress | None = None,
        keys: Sequence[bytes] = (),
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.findings: list[Finding] = []
        self._sources = tuple(sources)
        self._settings = settings
        self._limits = limits
        self._keys = tuple(keys)
        self._devices: tuple[Device, ...] | None = None
        self._mounts: dict[tuple[str, int | None], tuple[str, GuestTree]] = {}
        self._numbers = itertools.count()
        origin = sources[0].origin if len(sources) == 1 else Origin(("libguestfs",))
        self._machine = start(sources, settings, origin, progress or _silent)
        self.version = self._machine.binding.version
        self.is_emulated = self._machine.is_emulated
        self._guest = Guest(self._machine.worker, settings.call_seconds, self._cause)

    def devices(self) -> tuple[Device, ...]:
        """Return every device, after RAID, LUKS and LVM were put together.

        :raises CorruptError: if the appliance goes down at what it finds.
        :raises LimitError: if it gives no answer in time.
        """
        if self._devices is None:
            with self._explained():
                self._devices = find_devices(self._guest, self._sources, self._keys, self.findings)
        return self._devices

    def subvolumes(self, device: Device) -> tuple[Subvolume, ...]:
        """Return the subvolumes of a Btrfs, its top first; empty for all else."""
        if device.kind != "btrfs":
            return ()
        with self._explained():
            point, _ = self._mounted(device, _BTRFS_TOP)
            default = self._guest.number("btrfs_subvolume_get_default", point)
            found = self._guest.records("btrfs_subvolume_list", point)
        top = Subvolume(_BTRFS_TOP, b"", is_default=default == _BTRFS_TOP)
        return (top, *_subvolumes(found, default))

    def tree(self, device: Device, subvolume: int | None = None) -> Tree:
        """Mount a filesystem read-only and return its tree, valid until the appliance is closed.

        :param subvolume: number of a Btrfs subvolume; None is what mounts by default.
        :raises UnsupportedError: if it is no filesystem that the appliance's kernel knows.
        :raises CorruptError: if it cannot be mounted.
        """
        with self._explained():
            return self._mounted(device, subvolume)[1]

    def block(self, device: Device) -> ByteSource:
        """Return the bytes of a device, for a native reader on a thin or decrypted volume."""
        return BlockSource(self._guest, device.name, device.size, device.origin)

    def knows(self, filesystem: str) -> bool:
        """Tell whether a filesystem can be mounted, by the kernel or by ntfs-3g."""
        with self._explained():
            if filesystem == "ntfs":
                return bool(self._guest.number("feature_available", ["ntfs3g"]))
            return bool(self._guest.number("filesystem_available", filesystem))

    def close(self) -> None:
        """Stop the appliance; nothing is left of it, and its trees cannot be read any more."""
        self._machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _mounted(self, device: Device, subvolume: int | None) -> tuple[str, GuestTree]:
        """Return where a filesystem is mounted, and its tree; it is mounted at the first call."""
        known = self._mounts.get((device.name, subvolume))
        if known is not None:
            return known
        point = f"/oci{next(self._numbers)}"
        kind = mount(self._guest, device, point, subvolume, self.findings)
        info = TreeInfo(
            format=kind,
            uuid=device.uuid.lower() if device.uuid else None,
            label=device.label,
            size_bytes=device.size,
            facts={"read by": f"libguestfs {self.version}"},
        )
        tree = GuestTree(self._guest, point, info, device.origin, self._limits, self._note)
        self._mounts[device.name, subvolume] = (point, tree)
        return point, tree

    def _note(self, finding: Finding) -> None:
        """Keep a finding; a tree that is walked again finds the same."""
        if finding not in self.findings:
            self.findings.append(finding)

    def _cause(self) -> ConvertError | None:
        """Return what went wrong with a disk, as the appliance's kernel cannot know it."""
        if self._machine.budget.is_exceeded:
            return LimitError(
                f"libguestfs wrote more than the {self._settings.overlay_mib:,} MiB that are set"
                " aside for replayed journals and repairs",
                origin=self._guest.origin,
            )
        return self._machine.server.problem

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a refused call into an error for users."""
        try:
            yield
        except CallError as error:
            otherwise = CorruptError(f"libguestfs: {error.reason}", origin=self._guest.origin)
            raise self._guest.explain(error, otherwise) from error


_BTRFS_TOP = 5
"""Number of the subvolume that every Btrfs begins with."""


def _subvolumes(found: Sequence[Mapping[str, Json]], default: int) -> Iterator[Subvolume]:
    for record in found:
        number, path = record.get("btrfssubvolume_id"), record.get("btrfssubvolume_path")
        if isinstance(number, int) and isinstance(path, str):
            yield Subvolume(
                number, path.encode("utf-8", "surrogateescape"), is_default=number == default
            )
