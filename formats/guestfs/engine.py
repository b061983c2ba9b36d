"""The appliance: disks go in, devices, trees and blocks come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from formats.core.finding import Finding
from formats.core.reader import Subvolume
from formats.core.source import ByteSource
from formats.core.tree import Tree
from formats.guestfs.settings import EngineSettings

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Device:
    """A block device that the appliance found, or made from others.

    :ivar name: ``/dev/sda``, ``/dev/sda1``, ``/dev/vg0/root``, ``/dev/md127``,
        ``/dev/mapper/luks-…``; the letters follow the order of the sources.
    :ivar kind: as ``blkid`` says: ``ext4``, ``ntfs``, ``LVM2_member``, ``crypto_LUKS``; empty if
        it is nothing that blkid knows.
    :ivar size: bytes.
    :ivar source_index: which source it is, or is a partition of; None for what is made from others.
    """

    name: str
    kind: str
    size: int
    label: str | None = None
    uuid: str | None = None
    source_index: int | None = None


class Appliance:
    """A running appliance with the given disks; close it, or use it as a context manager.

    :param sources: whole disks, partitions or volumes; their bytes are never changed.
    :param progress: told of the start, as ``("starting libguestfs", done, total)``.
    :param keys: passphrases and contents of key files to try on encrypted devices.
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
    ) -> None:
        del sources, settings, progress, keys
        self.findings: list[Finding] = []
        raise NotImplementedError

    def devices(self) -> tuple[Device, ...]:
        """Return every device, after RAID, LUKS and LVM were put together; by name."""
        raise NotImplementedError

    def subvolumes(self, device: Device) -> tuple[Subvolume, ...]:
        """Return the subvolumes of a Btrfs; empty for all else."""
        raise NotImplementedError

    def tree(self, device: Device, subvolume: int | None = None) -> Tree:
        """Mount a filesystem read-only and return its tree, valid until the appliance is closed.

        :param subvolume: number of a Btrfs subvolume; None is what mounts by default.
        :raises UnsupportedError: if it is no filesystem that the appliance's kernel knows.
        :raises CorruptError: if it cannot be mounted.
        """
        raise NotImplementedError

    def block(self, device: Device) -> ByteSource:
        """Return the bytes of a device, for a native reader on a thin or decrypted volume."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop the appliance; nothing is left of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
