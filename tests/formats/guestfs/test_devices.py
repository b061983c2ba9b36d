"""Which devices there are and what they are made of, as the appliance tells it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from formats.core.errors import LimitError
from formats.core.finding import Finding
from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.guestfs.devices import Device, find_devices
from formats.guestfs.worker import CallError, Json
from tests.support.guest_double import Answering, Answers, guest_answering

LUKS: Json = {"TYPE": "crypto_LUKS", "UUID": "1234"}
NOTHING: Answers = {
    ("list_devices",): [],
    ("list_partitions",): [],
    ("list_md_devices",): [],
    ("list_dm_devices",): [],
    ("lvs",): [],
    ("vgs",): [],
    ("pvs",): [],
    ("lvm_scan",): None,
    ("blkid",): {},
    ("blockdev_getsize64",): 4096,
}


def found(
    answers: Answers, count: int, keys: Sequence[bytes] = ()
) -> tuple[dict[str, Device], Answering, list[Finding]]:
    """Return the devices of so many sources by name, what was asked, and what was noted."""
    disks = [f"/dev/sd{'abc'[number]}" for number in range(count)]
    numbers: Answers = {("device_index", disk): number for number, disk in enumerate(disks)}
    guest, worker = guest_answering(
        {**NOTHING, **numbers, ("list_devices",): list(disks), **answers}
    )
    sources = [MemorySource(bytes(512), Origin((f"disk{number}",))) for number in range(count)]
    noted: list[Finding] = []
    devices = find_devices(guest, sources, keys, noted)
    return {device.name: device for device in devices}, worker, noted


def test_disks_and_their_partitions_are_on_one_drive() -> None:
    devices, _, _ = found(
        {("list_partitions",): ["/dev/sdb1"], ("part_to_dev", "/dev/sdb1"): "/dev/sdb"}, 2
    )
    assert [(device.drive, set(device.drives)) for device in devices.values()] == [
        (0, {0}),
        (1, {1}),
        (None, {1}),
    ]
    assert [str(device.origin) for device in devices.values()] == ["disk0", "disk1", "disk1 › sdb1"]


def test_arrays_and_volumes_are_on_the_drives_of_what_they_are_made_from() -> None:
    devices, _, _ = found(
        {
            ("list_md_devices",): ["/dev/md127", "/dev/md127p1"],
            ("md_stat", "/dev/md127"): [
                {"mdstat_device": "/dev/sda"},
                {"mdstat_device": "/dev/sdb"},
            ],
            ("vgs",): ["vg0", "vg1"],
            ("vgpvuuids", "vg0"): ["aaa"],
            ("vgpvuuids", "vg1"): ["bbb", "gone"],
            ("pvs",): ["/dev/md127p1", "/dev/sdc", "[unknown]"],
            ("pvuuid", "/dev/md127p1"): "aaa",
            ("pvuuid", "/dev/sdc"): "bbb",
            ("lvs",): ["/dev/vg0/root", "/dev/vg1/root"],
        },
        3,
    )
    places = {name: set(device.drives) for name, device in devices.items()}
    assert places["/dev/md127"] == places["/dev/md127p1"] == places["/dev/vg0/root"] == {0, 1}
    assert places["/dev/vg1/root"] == {2}
    assert {device.drive for name, device in devices.items() if not name.startswith("/dev/sd")} == {
        None
    }


def test_what_nobody_tells_the_parts_of_may_be_on_any_drive() -> None:
    devices, _, _ = found({("list_ldm_volumes",): ["/dev/mapper/ldm_vol_x"]}, 2)
    assert devices["/dev/mapper/ldm_vol_x"].drives == {0, 1}


def test_a_volume_group_inside_of_an_opened_device_is_on_its_drive() -> None:
    volumes: list[Json] = [[], ["/dev/luks/root"]]  # before and after it was opened
    devices, worker, _ = found(
        {
            ("blkid", "/dev/sdb"): LUKS,
            ("open_encrypted", "/dev/sdb", "luks-1234", "key"): None,
            ("vgs",): ["luks"],
            ("vgpvuuids", "luks"): ["aaa"],
            ("pvs",): ["/dev/mapper/luks-1234"],
            ("pvuuid",): "aaa",
            ("lvs",): iter(volumes),
            ("list_dm_devices",): ["/dev/mapper/luks-1234", "/dev/mapper/luks-pool_tdata"],
        },
        2,
        [b"wrong", b"key"],
    )
    assert set(devices) == {"/dev/sda", "/dev/sdb", "/dev/mapper/luks-1234", "/dev/luks/root"}
    assert devices["/dev/mapper/luks-1234"].drives == devices["/dev/luks/root"].drives == {1}
    assert ("open_encrypted", "/dev/sdb", "luks-1234", "wrong") in worker.asked


def test_copies_of_an_encrypted_device_are_opened_by_names_of_their_own() -> None:
    locked: Answers = {("blkid", "/dev/sda"): LUKS, ("blkid", "/dev/sdb"): LUKS}
    devices, _, _ = found({**locked, ("open_encrypted",): None}, 2, [b"key"])
    assert devices["/dev/mapper/luks-1234"].drives == {0}
    assert devices["/dev/mapper/luks-sdb"].drives == {1}


def test_a_device_that_is_encrypted_again_and_again_is_too_much() -> None:
    with pytest.raises(LimitError, match="encrypted more than 8 times over"):
        found({("blkid",): LUKS, ("open_encrypted",): None}, 1, [b"key"])


def test_a_key_that_the_library_cannot_take_is_noted() -> None:
    devices, worker, noted = found({("blkid",): LUKS}, 1, [b"\0key"])
    assert set(devices) == {"/dev/sda"}
    assert not any(question[0] == "open_encrypted" for question in worker.asked)
    assert [finding.rule for finding in noted] == ["key-not-tried"]


def test_of_a_label_that_is_not_utf8_the_kind_is_known_all_the_same() -> None:
    ambiguous = CallError("invalid UTF-8", 0)
    devices, _, _ = found({("blkid",): ambiguous, ("vfs_type", "/dev/sda"): "vfat"}, 1)
    assert devices["/dev/sda"].kind == "vfat"
