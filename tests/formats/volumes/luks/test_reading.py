"""What qemu-img and cryptsetup encrypted is what is read, in every cipher and form that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.opener import open_artifact
from formats.volumes.luks import READERS
from tests.formats.volumes.luks.support import content
from tests.images.luks import (
    FAST,
    PASSPHRASE,
    cryptsetup,
    key_file,
    luks1,
    luks1_of_qemu,
    luks2,
    plain_file,
)
from tests.images.lvm import lvm_on
from tests.images.volumes import MIB, blank, patch
from tests.support.disks import check_extents, inside, opened, whole
from tests.support.programs import run

_UUID_OFFSET = 168
"""In LUKS1 and LUKS2 alike."""
_ARGON2 = ["--pbkdf-memory", "1024", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2"]


@pytest.mark.parametrize(
    "options",
    [
        "--key-size 256 --hash sha1",
        "--key-size 512 --hash sha512",
        "--cipher aes-cbc-essiv:sha256 --key-size 128",
        "--cipher aes-cbc-plain64 --key-size 192",
        "--cipher aes-ecb",
    ],
)
def test_luks1_that_cryptsetup_encrypted_is_read(tmp_path: Path, options: str) -> None:
    plain = plain_file(tmp_path)
    assert content(luks1(plain, *options.split()))[:MIB] == plain.read_bytes()


def test_luks1_that_qemu_img_encrypted_is_read(tmp_path: Path) -> None:
    plain = plain_file(tmp_path)
    assert content(luks1_of_qemu(plain)) == plain.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        "--cipher aes-xts-plain64 --key-size 256",
        "--cipher aes-xts-plain64 --key-size 512",
        "--sector-size 1024",
        "--sector-size 2048",
        "--sector-size 4096",
        "--sector-size 4096 --cipher aes-cbc-essiv:sha256 --key-size 256",
        "--cipher aes-cbc-plain64 --key-size 192",
        "--cipher aes-cbc-plain --hash sha1",
        "--cipher aes-cbc-essiv:sha256 --hash sha512",
        "--cipher aes-ecb",
        "--hash ripemd160",
    ],
)
def test_luks2_that_cryptsetup_encrypted_is_read(tmp_path: Path, options: str) -> None:
    plain = plain_file(tmp_path)
    assert content(luks2(plain, *options.split()))[:MIB] == plain.read_bytes()


@pytest.mark.parametrize("function", ["argon2i", "argon2id"])
def test_keys_that_argon2_derives_are_found(tmp_path: Path, function: str) -> None:
    plain = plain_file(tmp_path)
    assert content(luks2(plain, "--pbkdf", function, *_ARGON2))[:MIB] == plain.read_bytes()


def test_any_of_several_keys_in_any_slot_opens_it(tmp_path: Path) -> None:
    plain = plain_file(tmp_path)
    image = luks2(plain)
    other = key_file(tmp_path, bytes(range(256)))
    key = ("--key-file", key_file(tmp_path))
    cryptsetup("luksAddKey", *FAST, "--key-slot", "1", *key, image, other)
    cryptsetup("luksKillSlot", image, "0")
    assert content(image, [PASSPHRASE, other.read_bytes()])[:MIB] == plain.read_bytes()
    with open_artifact([image], keys=[PASSPHRASE, other.read_bytes()]) as artifact:
        assert artifact.nodes[0].facts["opened-by"] == "key slot 1"


@pytest.mark.parametrize("step", [1, 511, 65_537, 300_000])
def test_ranges_of_any_size_are_what_was_encrypted(tmp_path: Path, step: int) -> None:
    plain = plain_file(tmp_path)
    expected = plain.read_bytes()
    with open_artifact([luks2(plain)], keys=[PASSPHRASE]) as artifact:
        source = inside(artifact)
        source.will_need([(0, step), (500_000, 200_000), (0, 1 << 40)])
        for offset in range(0, MIB, 77_777):
            data = bytes(source.read_at(offset, step))
            assert len(data) == step
            assert data[: MIB - offset] == expected[offset : offset + step]
        assert source.read_at(source.size, 1) == b""


def test_the_whole_volume_is_data_even_where_its_file_has_holes(tmp_path: Path) -> None:
    image = luks2(plain_file(tmp_path))
    with image.open("r+b") as file:
        file.truncate(16 * MIB)
    with open_artifact([image], keys=[PASSPHRASE]) as artifact:
        assert check_extents(inside(artifact)) == 0


def test_identity_is_what_cryptsetup_prints(tmp_path: Path) -> None:
    image = luks2(plain_file(tmp_path), "--label", "secrets")
    uuid = run("cryptsetup", "luksUUID", image).stdout.decode().strip()
    with open_artifact([image], keys=[PASSPHRASE]) as artifact:
        (node,) = artifact.nodes
        (child,) = node.children
    assert node.facts == {
        "uuid": uuid,
        "cipher": "aes-xts-plain64",
        "sector-bytes": "512",
        "opened-by": "key slot 0",
        "label": "secrets",
    }
    assert (child.volume.uuid, child.volume.device_names) == (uuid, (f"mapper/luks-{uuid}",))
    assert str(child.origin) == "plain.luks2 › luks2"


def test_identity_is_printable_whatever_the_header_says(tmp_path: Path) -> None:
    image = luks1(plain_file(tmp_path))
    patch(image, _UUID_OFFSET, b"\x1b[2J\0")
    with open_artifact([image], keys=[PASSPHRASE]) as artifact:
        (node,) = artifact.nodes
    assert node.facts["uuid"] == r"\x1b[2j"
    assert node.children[0].volume.device_names == (r"mapper/luks-\x1b[2j",)


def test_a_volume_group_inside_is_found_as_if_it_were_on_a_disk(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.raw", 8 * MIB)
    ext4 = tmp_path / "ext4.img"
    run("mke2fs", "-q", "-t", "ext4", "-L", "inner", ext4, "4M")
    with lvm_on(tmp_path, disk) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
        lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
        lvm.create("vg/root", "-L", "4M")
        lvm.write(lvm.volumes()[0], ext4.read_bytes())
    with open_artifact([luks2(disk)], keys=[PASSPHRASE]) as artifact:
        found = {str(node.origin): node.tree.info.label for node in artifact.walk() if node.tree}
    assert found == {"disk.luks2 › luks2 › lvm:vg/root": "inner"}


@pytest.mark.parametrize("key", [b"line\n", b"\0binary\xff\n", b"x" * 512])
def test_a_key_is_taken_byte_for_byte(tmp_path: Path, key: bytes) -> None:
    plain = plain_file(tmp_path)
    image = luks2(plain)
    new = key_file(tmp_path, key)
    cryptsetup("luksChangeKey", *FAST, "--key-file", key_file(tmp_path), image, new)
    assert content(image, [key])[:MIB] == plain.read_bytes()


def test_no_key_is_kept_where_it_could_be_printed(tmp_path: Path) -> None:
    image = luks2(plain_file(tmp_path))
    with open_artifact([image], keys=[b"wrong", PASSPHRASE]) as artifact:
        shown = repr([(node.facts, node.problem, node.volume) for node in artifact.walk()])
        assert PASSPHRASE.decode() not in shown
    with opened(image, *READERS) as artifact:
        assert artifact.nodes[0].children == []


def test_a_volume_that_is_read_twice_is_the_same(tmp_path: Path) -> None:
    with open_artifact([luks2(plain_file(tmp_path))], keys=[PASSPHRASE]) as artifact:
        assert whole(inside(artifact)) == whole(inside(artifact), 4096)
