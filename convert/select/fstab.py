"""fstab(5): which volumes a system mounts where.

https://man7.org/linux/man-pages/man5/fstab.5.html, and systemd.mount(5) for ``x-systemd.*``.

Not carried out, and said so by whoever mounts: network filesystems, bind and loop mounts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from convert.kernel_filesystems import KERNELS_OWN
from formats.core.errors import LimitError
from formats.core.tree import TreeIndex

FSTAB = b"etc/fstab"

_LINES_MAX = 1000
"""That mount something; a large server has a few dozen."""

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_BLANKS = re.compile(rb"[ \t]+")

_IN_MEMORY = KERNELS_OWN | {"openpromfs", "ramfs", "spufs", "tmpfs", "usbfs"}
"""Filesystems of the kernel, which are on no disk."""

_FROM_ELSEWHERE = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "prl_fs",
        "smb3",
        "smbfs",
        "sshfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)
"""Filesystems that come over a network, or from the hypervisor's host."""


class MountKind(Enum):
    """What stands in the way of finding a line's content on a disk."""

    VOLUME = "on a volume"
    SWAP = "swap"
    IN_MEMORY = "in memory"
    NETWORK = "on another machine"
    REBOUND = "another path, or a file, of this machine"


@dataclass(frozen=True, slots=True)
class FstabLine:
    """One line that mounts something.

    :ivar spec: what is mounted, escapes decoded: ``UUID=…``, ``/dev/sda2``.
    :ivar target: where, as it is written; ``none`` for swap.
    :ivar options: in their order: ``noauto``, ``subvol=@home``.
    :ivar number: of the line, counted from 1.
    """

    spec: bytes
    target: bytes
    type: str
    options: tuple[str, ...]
    number: int

    @property
    def path(self) -> bytes:
        """The mount point, as in :class:`~formats.core.entry.Entry`; ``..`` taken back by name."""
        parts: list[bytes] = []
        for part in self.target.split(b"/"):
            if part == b"..":
                del parts[-1:]
            elif part not in {b"", b"."}:
                parts.append(part)
        return b"/".join(parts)

    @property
    def kind(self) -> MountKind:
        """What kind of thing is mounted."""
        if self.type == "swap":
            return MountKind.SWAP
        if self.type in _IN_MEMORY:
            return MountKind.IN_MEMORY
        if {"bind", "rbind", "loop"} & set(self.options) or self._has_option("loop="):
            return MountKind.REBOUND
        if self.type in _FROM_ELSEWHERE or self.spec.startswith(b"//") or b":/" in self.spec:
            return MountKind.NETWORK
        if self.type == "overlay" or (self.type == "none" and self.spec.startswith(b"/")):
            return MountKind.REBOUND
        return MountKind.VOLUME

    @property
    def is_mounted_at_boot(self) -> bool:
        """Whether it is there on a running system without anyone's doing."""
        return "noauto" not in self.options or "x-systemd.automount" in self.options

    @property
    def is_optional(self) -> bool:
        """Whether the system starts without it."""
        return "nofail" in self.options

    def _has_option(self, start: str) -> bool:
        return any(option.startswith(start) for option in self.options)


def parse_fstab(text: bytes) -> list[FstabLine]:
    """Return the lines of an fstab that have at least device, mount point and type.

    The other fields may be missing; what is wrong in the last two does not matter here.
    """
    found: list[FstabLine] = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        fields = _BLANKS.split(line.strip(b" \t\r"))
        if len(fields) < 3 or fields[0].startswith(b"#"):
            continue
        spec, target, kind, options = (*map(_unescaped, fields[:4]), b"defaults")[:4]
        found.append(
            FstabLine(
                spec,
                target,
                kind.decode("utf-8", "surrogateescape"),
                tuple(options.decode("utf-8", "surrogateescape").split(",")),
                number,
            )
        )
    return found


def fstab_of(index: TreeIndex) -> list[FstabLine]:
    """Return what a tree's own ``/etc/fstab`` says; nothing if it has none.

    :raises LimitError: if it is larger than ``limits.descriptor_bytes``, or has too many lines.
    """
    lines = parse_fstab(index.content(FSTAB) or b"")
    if len(lines) > _LINES_MAX:
        raise LimitError(
            f"/etc/fstab mounts {len(lines):,} things, more than the {_LINES_MAX:,} expected",
            origin=index.tree.origin,
        )
    return lines


def _unescaped(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)
