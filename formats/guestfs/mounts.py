"""Mounting each kind of filesystem so that its tree is whole: never a stale one without a word.

Everything is mounted read-only, on a disk that can be written (to an overlay): ext3/4, XFS, Btrfs,
ReiserFS, F2FS and NILFS2 then replay their journals as on any mount. The others are checked here.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Mapping

from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    MissingDependencyError,
    UnsupportedError,
)
from formats.core.finding import Action, Finding
from formats.guestfs.devices import ENCRYPTED_KINDS, Device
from formats.guestfs.guest import Guest
from formats.guestfs.worker import CallError

NOT_MOUNTED = {
    "": "nothing that libguestfs knows",
    "LVM2_member": "a part of a volume group",
    "linux_raid_member": "a part of a RAID array",
    "isw_raid_member": "a part of a RAID array",
    "ddf_raid_member": "a part of a RAID array",
    "bcache": "a part of a bcache",
    "swap": "swap space",
    "swsuspend": "a hibernated system's memory",
    "jbd": "a journal of another filesystem",
    "xfs_external_log": "a journal of another filesystem",
    "zfs_member": "a part of a ZFS pool, which the kernel of the appliance does not know",
}

_OPTIONS = {
    "xfs": ("ro,nouuid",),
    "vfat": ("ro,utf8",),
    "iso9660": ("ro,utf8",),
    "udf": ("ro,utf8",),
    "hfs": ("ro,iocharset=utf8",),
    # the flavour is not on the disk; each of these looks for a magic number of its own
    "ufs": tuple(f"ro,ufstype={kind}" for kind in ("ufs2", "44bsd", "sunx86", "sun", "old")),
}
_EXT_KINDS = frozenset({"ext2", "ext3", "ext4", "ext4dev"})
_UNKNOWN_TO_KERNEL = ("unknown filesystem type", "unsupported", "not supported", "incompatible")
_TOOLS_HINT = "install 'libguestfs-{kind}', which gives the appliance its tools"


def mount(
    guest: Guest, device: Device, point: str, subvolume: int | None, findings: list[Finding]
) -> str:
    """Mount a device's filesystem and return its kind.

    :param subvolume: of a Btrfs.
    :raises UnsupportedError: if it holds no filesystem that the appliance's kernel knows.
    :raises EncryptedError: if it is encrypted.
    :raises CorruptError: if it cannot be mounted.
    """
    kind = device.kind
    if not kind and _has_backup_superblock(guest, device):
        kind = "ext4"
        _repair_ext(guest, device, findings)
    _refuse(device, kind)
    check = _CHECKS.get(kind)
    if check is not None:
        check(guest, device, findings)
    guest.run("mkmountpoint", point)
    problem = _try_to_mount(guest, device, kind, point, subvolume)
    # what e2fsck cannot read it throws away, so a disk with a fault is not repaired
    if isinstance(problem, CorruptError) and kind in _EXT_KINDS and guest.fault() is None:
        _repair_ext(guest, device, findings)
        problem = _try_to_mount(guest, device, kind, point, subvolume)
    if problem is not None:
        raise problem
    return kind


def _refuse(device: Device, kind: str) -> None:
    if kind in ENCRYPTED_KINDS:
        raise EncryptedError(
            "is encrypted, and no key was given that opens it",
            origin=device.origin,
            hint="give one with --passphrase-file or --key-file",
        )
    if kind in NOT_MOUNTED:
        raise UnsupportedError(
            f"holds no filesystem: it is {NOT_MOUNTED[kind]}", origin=device.origin
        )


def _try_to_mount(
    guest: Guest, device: Device, kind: str, point: str, subvolume: int | None
) -> ConvertError | None:
    """Mount with the first options that work; return why none does."""
    *others, last = _OPTIONS.get(kind, ("ro",))
    for options in others:
        with contextlib.suppress(CallError):
            guest.run("mount_vfs", options, kind, device.name, point)
            return None
    wanted = last if subvolume is None else f"{last},subvolid={subvolume}"
    try:
        guest.run("mount_vfs", wanted, kind, device.name, point)
    except CallError as error:
        return guest.explain(error, _cannot_mount(guest, device, kind, error))
    return None


def _cannot_mount(guest: Guest, device: Device, kind: str, refusal: CallError) -> ConvertError:
    """Return the error, with what the appliance's kernel said."""
    origin = device.origin
    evidence = _kernel_line(guest, device) or refusal.reason
    if any(word in f"{refusal.reason} {evidence}".lower() for word in _UNKNOWN_TO_KERNEL):
        return UnsupportedError(
            f"{kind} as it is here is unknown to the kernel of libguestfs: {evidence}",
            origin=origin,
            hint="copy the files on a machine that mounts it onto an ext4 disk, and convert that",
        )
    return CorruptError(
        f"{kind} cannot be mounted: {evidence}",
        origin=origin,
        hint="check the filesystem on a copy of the image",
    )


def _kernel_line(guest: Guest, device: Device) -> str:
    """Return the last line that the kernel logged about a device; empty if there is none."""
    try:
        log = guest.text("dmesg")
    except CallError:
        return ""
    name = device.name.rpartition("/")[2]
    lines = [line for line in log.split("\n") if f"({name})" in line or f"{name}:" in line]
    return lines[-1].partition("] ")[2] if lines else ""


# ext: a superblock that cannot be used. The backups do not say that the journal is to be replayed
# (they are written when the filesystem is made), e2fsck looks into the journal all the same.

_EXT_BACKUPS = ((8193, 1024), (16384, 2048), (32768, 4096), (65536, 65536))
"""First backup superblock for each size of blocks: block and bytes."""
_EXT_MAGIC_OFFSET = 0x38
_EXT_MAGIC = b"\x53\xef"


def _has_backup_superblock(guest: Guest, device: Device) -> bool:
    for block, block_bytes in _EXT_BACKUPS:
        offset = block * block_bytes
        if offset + 1024 <= device.size:
            superblock = guest.read_device(device.name, offset, 1024)
            magic = superblock[_EXT_MAGIC_OFFSET : _EXT_MAGIC_OFFSET + 2]
            (log_block_bytes,) = struct.unpack_from("<I", superblock, 0x18)
            if magic == _EXT_MAGIC and 1024 << min(log_block_bytes, 10) == block_bytes:
                return True
    return False


def _repair_ext(guest: Guest, device: Device, findings: list[Finding]) -> None:
    try:
        guest.run("e2fsck", device.name, forceall=True)
    except CallError as error:
        last_line = error.message.rstrip().rpartition("\n")[2]
        otherwise = CorruptError(f"cannot be repaired: {last_line}", origin=device.origin)
        raise guest.explain(error, otherwise) from error
    _note(
        device,
        findings,
        "filesystem-repaired",
        "e2fsck -fy changed it, in memory: files may be missing, or in lost+found",
    )


def _note(device: Device, findings: list[Finding], rule: str, evidence: str) -> None:
    path = str(device.origin).encode("utf-8", "surrogateescape")
    findings.append(Finding(rule, path, Action.REPORTED, evidence))


_JFS_SUPERBLOCK = 0x8000
_JFS_STATE = 40


def _check_jfs(guest: Guest, device: Device, findings: list[Finding]) -> None:
    """Replay the log: the kernel does not, and mounts a dirty JFS read-only as it is."""
    superblock = guest.read_device(device.name, _JFS_SUPERBLOCK, 512)
    if superblock[_JFS_STATE : _JFS_STATE + 4] == bytes(4):
        return
    status = guest.number("fsck", "jfs", device.name)
    if status & ~3:  # fsck(8): 1 errors corrected, 2 reboot
        missing = status & 8 != 0  # operational error: no fsck.jfs
        error = MissingDependencyError if missing else CorruptError
        raise error(
            f"the log of this JFS has to be replayed, and fsck.jfs ended with status {status}",
            origin=device.origin,
            hint=_TOOLS_HINT.format(kind="jfs") if missing else None,
        )
    _note(device, findings, "journal-replayed", "by fsck.jfs, in memory")


_NTFS_STATES = {
    14: "Windows is hibernated on it: what it had not written yet is missing",
    15: "Windows did not unmount it: what its log holds is missing; start Windows and shut it down",
}
"""What ntfs-3g.probe(8) returns."""


def _check_ntfs(guest: Guest, device: Device, findings: list[Finding]) -> None:
    state = guest.number("ntfs_3g_probe", 1, device.name)
    if state in _NTFS_STATES:
        _note(device, findings, "filesystem-unclean", _NTFS_STATES[state])


_HFS_HEADER = 1024
_HFS_UNMOUNTED = 0x100


def _check_hfsplus(guest: Guest, device: Device, findings: list[Finding]) -> None:
    """Look at the attributes of the volume header (Apple's TN1150)."""
    header = guest.read_device(device.name, _HFS_HEADER, 512)
    if header[:2] in {b"H+", b"HX"}:
        (attributes,) = struct.unpack_from(">I", header, 4)
        if not attributes & _HFS_UNMOUNTED:
            evidence = "it was in use; Linux does not replay its journal, the last changes may lack"
            _note(device, findings, "filesystem-unclean", evidence)


_CHECKS: Mapping[str, Callable[[Guest, Device, list[Finding]], None]] = {
    "jfs": _check_jfs,
    "ntfs": _check_ntfs,
    "hfsplus": _check_hfsplus,
}
