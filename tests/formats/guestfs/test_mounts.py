"""What is done before and after a mount, for states that are hard to bring a filesystem into."""

from __future__ import annotations

import struct

import pytest

from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    MissingDependencyError,
    UnsupportedError,
)
from formats.core.finding import Finding
from formats.core.origin import Origin
from formats.guestfs.devices import Device
from formats.guestfs.mounts import mount
from formats.guestfs.worker import CallError
from tests.support.guest_double import Answering, Answers, guest_answering

MOUNTS: Answers = {("mkmountpoint",): None, ("mount_vfs",): None}
FAILS = CallError("mount_vfs: wrong fs type", 32)


def mounted(kind: str, answers: Answers) -> tuple[Answering, list[str]]:
    """Mount a device; return what was asked for, and the rules that were noted."""
    guest, worker = guest_answering({**MOUNTS, **answers})
    noted: list[Finding] = []
    device = Device("/dev/sda", kind, 64 << 20, Origin(("disk.img",)))
    mount(guest, device, "/oci0", None, noted)
    return worker, [finding.rule for finding in noted]


def jfs(status: int) -> Answers:
    """Return a dirty JFS, and how its fsck ends."""
    return {
        ("read_device", "/dev/sda", 0x8000): bytes(40) + b"\1" + bytes(471),
        ("fsck", "jfs", "/dev/sda"): status,
    }


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_dirty_jfs_whose_log_was_replayed_is_noted(status: int) -> None:
    assert mounted("jfs", jfs(status))[1] == ["journal-replayed"]


def test_a_dirty_jfs_is_not_mounted_as_it_is() -> None:
    with pytest.raises(MissingDependencyError, match="status 8") as caught:
        mounted("jfs", jfs(8))
    assert "libguestfs-jfs" in (caught.value.hint or "")
    with pytest.raises(CorruptError, match="status 4"):
        mounted("jfs", jfs(4))


@pytest.mark.parametrize(("state", "rules"), [(0, []), (14, ["filesystem-unclean"])])
def test_a_hibernated_windows_is_noted(state: int, rules: list[str]) -> None:
    assert mounted("ntfs", {("ntfs_3g_probe", 1, "/dev/sda"): state})[1] == rules


@pytest.mark.parametrize(("attributes", "rules"), [(0x100, []), (0, ["filesystem-unclean"])])
def test_an_hfs_plus_that_was_in_use_is_noted(attributes: int, rules: list[str]) -> None:
    header = struct.pack(">2sHI", b"H+", 4, attributes) + bytes(504)
    assert mounted("hfsplus", {("read_device", "/dev/sda", 1024): header})[1] == rules


def test_flavours_of_ufs_are_tried_one_after_the_other() -> None:
    worker, _ = mounted(
        "ufs",
        {
            ("mount_vfs",): FAILS,
            ("mount_vfs", "ro,ufstype=44bsd", "ufs", "/dev/sda", "/oci0"): None,
        },
    )
    assert len([question for question in worker.asked if question[0] == "mount_vfs"]) == 2


@pytest.mark.parametrize(
    ("fault", "tried"),
    [
        (None, ["mount_vfs", "e2fsck", "mount_vfs"]),
        (CorruptError("a cluster is damaged", origin=Origin(("disk.qcow2",))), ["mount_vfs"]),
    ],
    ids=["and is repaired", "and is not, on a disk that cannot be read"],
)
def test_an_ext_cannot_be_mounted(fault: ConvertError | None, tried: list[str]) -> None:
    """What e2fsck cannot read it throws away."""
    guest, worker = guest_answering({**MOUNTS, ("mount_vfs",): FAILS, ("e2fsck",): None}, fault)
    device = Device("/dev/sda", "ext4", 64 << 20, Origin(("disk.img",)))
    said = r"disk\.qcow2: a cluster is damaged" if fault else "ext4 cannot be mounted: mount_vfs: "
    with pytest.raises(CorruptError, match=said):
        mount(guest, device, "/oci0", None, [])
    asked = [str(question[0]) for question in worker.asked]
    assert [name for name in asked if name in {"mount_vfs", "e2fsck"}] == tried


def test_the_error_is_what_the_kernel_said_of_this_device() -> None:
    log = "[1.5] JFS (sdb): other\n[2.5] XFS (sda): log is bad\n[3.5] clocksource: slow"
    with pytest.raises(CorruptError, match=r"xfs cannot be mounted: XFS \(sda\): log is bad"):
        mounted("xfs", {("mount_vfs",): FAILS, ("dmesg",): log})


def test_what_the_kernel_does_not_know_is_unsupported() -> None:
    refusal = CallError("mount: /sysroot/oci0: unknown filesystem type 'apfs'.", 32)
    with pytest.raises(UnsupportedError, match="apfs as it is here is unknown to the kernel"):
        mounted("apfs", {("mount_vfs",): refusal})


@pytest.mark.parametrize("kind", ["crypto_LUKS", "BitLocker"])
def test_what_is_encrypted_is_not_mounted(kind: str) -> None:
    with pytest.raises(EncryptedError):
        mounted(kind, {})
