from __future__ import annotations

from pathlib import Path

import pytest

from convert.select.request import Request
from convert.select.root import select_browsable, select_root, select_volume
from formats.core.errors import AmbiguousError, ConvertError, UnsupportedError
from formats.core.tree import Tree, TreeIndex
from tests.images.systems import Ext4, Made, Part, disk, merged_root_files, root_files, usr_files
from tests.images.volumes import MIB, blank, opened, patch
from tests.support.programs import need, run

UUID = "b8a1f0c4-3f0b-4b8e-8f0a-7d2f9e6c5b22"
LUKS = (
    "cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
    " {image} /etc/os-release"
)
FREEBSD_UFS = "type=516E7CB6-6ECF-11D6-8FF8-00022D09712B"
WINDOWS_DATA = "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
EFI = Part(Made("mkfs.vfat {image}"), "type=uefi")
SWAP = Part(Made("mkswap {image}"), "type=swap")


def refused(*images: Path) -> ConvertError:
    """Return the error of selection."""
    with opened(*images) as artifact, pytest.raises(ConvertError) as caught:
        select_root(artifact)
    return caught.value


@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_root_is_found_wherever_it_is(tmp_path: Path, place: int) -> None:
    parts: list[Part | Ext4] = [Ext4({"lots": "x" * 99_000}, size_mib=6), EFI, SWAP]
    image = disk(tmp_path / "disk.raw", *parts[:place], Ext4(root_files()), *parts[place:])
    with opened(image) as artifact:
        assert select_root(artifact).root.parts == ("disk.raw", f"gpt:{place + 1}")


NO_ROOTS = {
    "a boot partition": {"vmlinuz-6.1": "", "grub/grub.cfg": "", "config-6.1": ""},
    "homes": {"me/etc/os-release": "ID=x", "me/usr/bin/env": "", "me/sbin/init": ""},
    "a volume for /usr": usr_files(),
    "etc alone": {"etc/os-release": "ID=x", "etc/passwd": ""},
    "programs without etc": {"bin/sh": "", "sbin/init": "", "usr/lib/os-release": "ID=x"},
    "an /usr with an etc": {**usr_files(), "etc/os-release": "-> ../lib/os-release"},
}
ROOTS = {
    "the usual": root_files(),
    "merged, its /usr elsewhere": merged_root_files(),
    "without os-release": {
        "bin/busybox": "",
        "dev/": "",
        "etc/inittab": "",
        "sbin/init": "-> ../bin/busybox",
    },
    "without init": {"etc/os-release": "-> ../usr/lib/os-release", "usr/lib/os-release": "ID=x"},
    "old Red Hat": {"bin/sh": "", "etc/redhat-release": "", "proc/": "", "usr/bin/env": ""},
}


@pytest.mark.parametrize("case", NO_ROOTS)
def test_what_is_no_root_is_not_taken_for_one(tmp_path: Path, case: str) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(NO_ROOTS[case]))
    assert refused(image).message.startswith("no Linux root in it: gpt:1 has /")


@pytest.mark.parametrize("case", ROOTS)
def test_what_is_a_root_is_seen(tmp_path: Path, case: str) -> None:
    image = disk(tmp_path / "disk.raw", Ext4({"a": ""}), Ext4(ROOTS[case]))
    with opened(image) as artifact:
        assert select_root(artifact, Request(drop=["/usr"])).root.parts[-1] == "gpt:2"


def test_several_systems_are_listed_as_the_option_takes_them(tmp_path: Path) -> None:
    first = disk(tmp_path / "a.raw", EFI, Ext4(root_files("Alpha")), Ext4(root_files("Beta")))
    second = disk(tmp_path / "b.raw", Ext4({"x": ""}), Ext4(root_files("Gamma")))
    names = ["/dev/sda2", "gpt:3", "/dev/sdb2"]
    with opened(first, second) as artifact:
        with pytest.raises(AmbiguousError) as caught:
            select_root(artifact)
        assert caught.value.exit_code == 3
        assert caught.value.message == (
            "holds 3 systems: /dev/sda2 (Alpha Linux 1), gpt:3 (Beta Linux 1),"
            " /dev/sdb2 (Gamma Linux 1)"
        )
        assert caught.value.hint == "choose one: " + " or ".join(f"--root {x}" for x in names)
        chosen = [select_root(artifact, Request(root=name)).root.parts for name in names]
    assert chosen == [("a.raw", "gpt:2"), ("a.raw", "gpt:3"), ("b.raw", "gpt:2")]


def test_a_system_that_another_one_mounts_is_a_part_of_it(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files("Chroot"), uuid=UUID),
        Ext4(root_files("Host", fstab=f"UUID={UUID} /srv/chroot ext4\n")),
    )
    with opened(image) as artifact:
        selected = select_root(artifact)
    assert selected.root.parts[-1] == "gpt:2"
    assert [path for path, _ in selected.mounts] == ["/srv/chroot"]


def test_two_systems_that_mount_each_other_are_several(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files("One", fstab="/dev/sda2 /srv/two ext4\n")),
        Ext4(root_files("Two", fstab="/dev/sda1 /srv/one ext4\n")),
    )
    assert isinstance(refused(image), AmbiguousError)


NAMES = {
    "label of the volume": "gpt:2",
    "device": "/dev/sda2",
    "device without /dev": "vda2",
    "label": "the root",
    "label as in fstab": "LABEL=the root",
    "UUID": UUID.upper(),
    "UUID as in fstab": f"UUID={UUID}",
    "PARTLABEL": "its partition",
    "by-label": r"/dev/disk/by-label/the\x20root",
    "breadcrumb": "disk.raw › gpt:2",
}


@pytest.mark.parametrize("case", NAMES)
def test_a_volume_has_many_names(tmp_path: Path, case: str) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files()),
        Part(Ext4(root_files(), uuid=UUID, label="the root"), 'name="its partition"'),
    )
    with opened(image) as artifact:
        assert select_root(artifact, Request(root=NAMES[case])).root.parts[-1] == "gpt:2"
        assert select_volume(artifact, Request(root=NAMES[case])).origin.parts[-1] == "gpt:2"


def test_a_disk_stands_for_the_root_on_it(tmp_path: Path) -> None:
    first = disk(tmp_path / "a.raw", Ext4(root_files("A")))
    second = disk(tmp_path / "b.raw", Ext4({"x": ""}), Ext4(root_files("B")))
    with opened(first, second) as artifact:
        assert select_root(artifact, Request(root="b.raw")).root.parts == ("b.raw", "gpt:2")
        assert select_root(artifact, Request(root="/dev/sda")).root.parts == ("a.raw", "gpt:1")


def test_a_name_that_means_nothing_gets_the_list(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files()), Ext4({"a": "", "b/": ""}), SWAP)
    with opened(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, Request(root="gpt:9"))
    assert str(caught.value) == (
        "disk.raw: has no volume 'gpt:9'; there is gpt:1 (Small Linux 1),"
        " gpt:2 (/a, /b, /lost+found)"
    )


def test_a_name_that_means_several_gets_the_list(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", *[Ext4(root_files(), label="same")] * 2)
    with opened(image) as artifact, pytest.raises(AmbiguousError) as caught:
        select_root(artifact, Request(root="same"))
    assert str(caught.value) == (
        "disk.raw: 'same' means 2 volumes: gpt:1, gpt:2; choose one: --root gpt:1 or --root gpt:2"
    )


def test_a_wanted_volume_is_taken_whatever_is_in_it(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files()), Ext4({"a": ""}))
    with opened(image) as artifact:
        selected = select_root(artifact, Request(root="gpt:2"))
    assert selected.root.parts[-1] == "gpt:2"
    assert selected.findings[0].rule == "no-system"


def test_what_is_nothing_but_a_tree_is_its_own_root_in_every_form(tmp_path: Path) -> None:
    need("qemu-img")
    image = tmp_path / "files.ext4"
    Ext4({"a": ""}).make(image)
    run("qemu-img", "convert", "-O", "qcow2", image, tmp_path / "files.qcow2")
    for name in ("files.ext4", "files.qcow2"):
        with opened(tmp_path / name) as artifact:
            selected = select_root(artifact)
            assert selected.root.parts[0] == name
            assert {entry.path for entry in selected.tree.entries()} == {b"", b"a", b"lost+found"}


REFUSALS: dict[str, tuple[tuple[Part | Ext4 | Made, ...], str, str, str]] = {
    "Windows": (
        (EFI, Part(Made("mkfs.ntfs -Q -F -q {image}"), WINDOWS_DATA)),
        "unsupported",
        "belongs to Windows, not to Linux: gpt:2 is an NTFS filesystem",
        "Windows does not run in a Linux container",
    ),
    "FreeBSD": (
        (Part(Made("true"), FREEBSD_UFS),),
        "unsupported",
        "belongs to FreeBSD, not to Linux: gpt:1 is a partition of FreeBSD",
        "only Linux systems become containers",
    ),
    "encrypted": (
        (EFI, Ext4({"vmlinuz": ""}), Made(LUKS, 20)),
        "encrypted",
        "no Linux root can be read in it: gpt:3: is a volume encrypted with LUKS2",
        "give one with --passphrase-file FILE or --key-file FILE",
    ),
    "a filesystem that is not read": (
        (EFI, Made("mkfs.minix {image}")),
        "unsupported",
        "no Linux root can be read in it: gpt:2: is a Minix filesystem, which is not read",
        "copy the files",
    ),
    "only swap": (
        (SWAP,),
        "unsupported",
        "no Linux root in it: gpt:1 is ",
        "check that it is the right disk",
    ),
    "empty filesystems": (
        (Ext4({}), Ext4({})),
        "unsupported",
        "is empty: its filesystems hold no files",
        "",
    ),
    "no partitions": (
        (),
        "unsupported",
        "no Linux root in it: disk.raw is GUID partition table",
        "check that it is the right disk",
    ),
    "blank partitions": (
        (Made("true"),),
        "unsupported",
        "no Linux root in it: it is blank",
        "copied whole",
    ),
    "files only": (
        (Ext4({f"{number}": "" for number in range(7)}),),
        "unsupported",
        "no Linux root in it: gpt:1 has /0, /1, /2, /3, /4, …",
        "export --raw",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_become_a_container_is_named_with_what_to_do(tmp_path: Path, case: str) -> None:
    parts, code, message, hint = REFUSALS[case]
    image = disk(tmp_path / "disk.raw", *parts)
    error = refused(image)
    assert error.code == code
    assert error.message.startswith(message)
    assert hint in (error.hint or "")


def test_a_pool_in_a_partition_of_freebsd_belongs_to_freebsd(tmp_path: Path) -> None:
    zfs_type = "type=516E7CBA-6ECF-11D6-8FF8-00022D09712B"
    image = disk(tmp_path / "disk.raw", EFI, Part(Made("true"), zfs_type))
    patch(image, 3 * MIB + 0x4018, b"version\0")
    assert refused(image).message == (
        "belongs to FreeBSD, not to Linux: gpt:2 is a member of a ZFS pool"
    )


def test_a_blank_disk_is_told_from_one_with_unknown_content(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk.raw", 70 * MIB)
    assert refused(image).message.startswith("no Linux root in it: it is blank")
    patch(image, 5 * MIB, b"x")
    assert refused(image).message.startswith("nothing known is in it")


def test_a_damaged_filesystem_on_its_own_gives_its_own_error(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files()))
    patch(image, MIB + 1024 + 4, b"\xff\xff\xff\xff")
    error = refused(image)
    assert error.exit_code == 4
    assert error.origin is not None
    assert error.origin.parts == ("disk.raw", "gpt:1")


def test_damage_elsewhere_does_not_stop_the_root(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files()), Ext4({"a": ""}))
    patch(image, 3 * MIB + 2048, b"\xff" * 200_000)
    with opened(image) as artifact:
        selected = select_root(artifact)
    ((rule, evidence),) = [(item.rule, item.evidence) for item in selected.findings]
    assert rule == "volume-left-out"
    assert evidence != "the root does not mount it"


def test_the_only_volume_is_exported_and_browsed_whatever_is_in_it(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", SWAP, Ext4({"a": ""}))
    with opened(image) as artifact:
        assert select_volume(artifact).origin.parts[-1] == "gpt:2"
        assert select_browsable(artifact).origin.parts[-1] == "gpt:2"


def test_several_volumes_without_a_root_need_a_choice(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4({"a": ""}), Ext4({"b": ""}))
    with opened(image) as artifact:
        for select in (select_volume, select_browsable):
            with pytest.raises(AmbiguousError, match="files are in gpt:1, gpt:2"):
                select(artifact)
            assert select(artifact, Request(root="gpt:2")).origin.parts[-1] == "gpt:2"


def test_the_only_readable_volume_is_not_taken_for_an_encrypted_root(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", EFI, Ext4({"vmlinuz": ""}), Made(LUKS, 20))
    with opened(image) as artifact:
        with pytest.raises(AmbiguousError, match="gpt:3: is a volume encrypted with LUKS2"):
            select_volume(artifact)
        assert select_volume(artifact, Request(root="gpt:2")).origin.parts[-1] == "gpt:2"


def test_two_disks_of_one_name_have_their_letters(tmp_path: Path) -> None:
    images = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        images.append(tmp_path / folder / "disk.raw")
        Ext4(root_files(folder)).make(images[-1])
    with opened(*images) as artifact:
        with pytest.raises(AmbiguousError) as caught:
            select_root(artifact)
        assert caught.value.hint == "choose one: --root /dev/sda or --root /dev/sdb"
        assert b'PRETTY_NAME="b Linux' in _os_release(
            select_root(artifact, Request(root="/dev/sdb")).tree
        )


def _os_release(tree: Tree) -> bytes:
    return TreeIndex(tree).content(b"etc/os-release") or b""


def test_names_of_a_guest_cannot_forge_a_line(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4({"a\nb\x1b[31m": ""}))
    assert "/a\\x0ab\\x1b[31m" in refused(image).message


def test_a_volume_is_untouched_and_a_browsed_root_has_its_mounts(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab="/dev/sda2 /home ext4\n")),
        Ext4({"me": ""}),
    )
    with opened(image) as artifact:
        raw = {entry.path for entry in select_volume(artifact).entries()}
        seen = {entry.path for entry in select_browsable(artifact).entries()}
    assert b"lost+found" in raw
    assert seen - raw == {b"home/lost+found", b"home/me"}
