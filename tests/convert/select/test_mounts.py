"""What is mounted where: against ``mount -a`` and the kernel, and case by case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from convert.select.request import Request
from convert.select.root import Selected, select_browsable, select_root
from formats.core.errors import ConvertError, EncryptedError, LimitError, UnsupportedError
from formats.core.finding import Action
from formats.core.opener import open_artifact
from formats.core.tree import Tree, TreeIndex
from tests.images.luks import PASSPHRASE, luks2
from tests.images.lvm import blank_disks, lvm_on
from tests.images.systems import (
    Ext4,
    Made,
    Part,
    disk,
    merged_root_files,
    offsets,
    put,
    root_files,
    usr_files,
)
from tests.images.volumes import MIB, blank, opened
from tests.support.listing import difference, kernel_listing, loop_mounted, tree_listing
from tests.support.programs import need, need_root, run

VAR = "b8a1f0c4-3f0b-4b8e-8f0a-7d2f9e6c5b22"
HOME = "0d5e2c1a-7b7f-4d0e-9a53-1f6f3a7c0e11"
PART = "5b8f4e7a-0d64-4c8a-9f3e-6a2b7c9d0e01"
LUKS = "cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 {image} /etc/os-release"


def paths(tree: Tree) -> set[str]:
    return {entry.path.decode() for entry in tree.entries()}


def mounts(selected: Selected) -> dict[str, str]:
    return {path: origin.parts[-1] for path, origin in selected.mounts}


def told(selected: Selected) -> dict[str, tuple[str, Action]]:
    """Return the evidence and action of what was not mounted, by path."""
    return {
        finding.path.decode(): (finding.evidence, finding.action)
        for finding in selected.findings
        if finding.rule == "volume-not-mounted"
    }


@contextmanager
def loops(image: Path, places: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Show the kernel each of these places of an image as a device of its own."""
    need_root()
    with ExitStack() as attached:
        for offset, size in places:
            options = ("--offset", str(offset), "--sizelimit", str(size))
            done = run("losetup", "--find", "--show", "--read-only", *options, image)
            attached.callback(run, "losetup", "--detach", done.stdout.decode().strip())
        yield


def test_the_composed_tree_is_what_mount_all_makes(tmp_path: Path) -> None:
    need("mount", "blkid")
    fstab = (
        "# <what> <where>\n"
        f"UUID={VAR} /var ext4 ro 0 2\n"
        "LABEL=the\\040homes /home ext4 ro\n"
        "LABEL=logs /var/log ext4 ro\n"
        "LABEL=lib /srv/deep/er ext4 ro\n"
        "LABEL=off /opt ext4 noauto\n"
    )
    root = root_files(fstab=fstab)
    contents = (
        Ext4({**root, "var/hidden": "no", "srv/deep/er/": "", "opt/": ""}),
        Ext4({"log/hidden": "too", "www/index.html": "page"}, uuid=VAR),
        Ext4({"me/.profile": "umask 022\n"}, label="the homes"),
        Ext4({"syslog": "a log"}, label="logs"),
        Ext4({"x": "-> ../y", "y": "file"}, label="lib"),
        Ext4({"never": "seen"}, label="off"),
    )
    image = disk(tmp_path / "disk.raw", *contents)
    (tmp_path / "fstab").write_text(fstab)
    (offset, size), *others = offsets(contents)
    with loop_mounted(image, "ext4", offset=offset, size=size) as folder, loops(image, others):
        try:
            run("mount", "--all", "--fstab", tmp_path / "fstab", "--target-prefix", folder)
            kernel = kernel_listing(folder)
        finally:
            for point in ("var/log", "var", "home", "srv/deep/er"):
                run("umount", folder / point, check=False)
    with opened(image) as artifact:
        selected = select_root(artifact)
        ours = tree_listing(selected.tree)
    assert {b"var/log/syslog", b"home/me/.profile", b"srv/deep/er/y"} < set(kernel)
    assert difference(kernel, ours) == []


NAMES = {
    "UUID": f"UUID={VAR}",
    "UUID in capitals": f"UUID={VAR.upper()}",
    "UUID in quotes": f'UUID="{VAR}"',
    "LABEL": "LABEL=var label",
    "PARTUUID": f"PARTUUID={PART}",
    "PARTLABEL": "PARTLABEL=part label",
    "by-uuid": f"/dev/disk/by-uuid/{VAR}",
    "by-label": r"/dev/disk/by-label/var\x20label",
    "by-partuuid": f"/dev/disk/by-partuuid/{PART}",
    "by-partlabel": r"/dev/disk/by-partlabel/part\x20label",
    "sd": "/dev/sda2",
    "vd": "/dev/vda2",
    "xvd": "/dev/xvda2",
    "hd": "/dev/hda2",
    "nvme": "/dev/nvme0n1p2",
    "mmcblk": "/dev/mmcblk0p2",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_fstab_finds_its_volume(tmp_path: Path, name: str) -> None:
    spec = NAMES[name].replace("\\", "\\134").replace(" ", "\\040")
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab=f"{spec} /var ext4\n")),
        Part(
            Ext4({"there": ""}, uuid=VAR, label="var label"),
            f'uuid={PART}, name="part label"',
        ),
        Ext4({"not-there": ""}),
    )
    with opened(image) as artifact:
        selected = select_root(artifact)
        assert mounts(selected) == {"/var": "gpt:2"}
        assert "var/there" in paths(selected.tree)


def test_disk_letters_are_the_order_in_which_disks_are_given(tmp_path: Path) -> None:
    fstab = "/dev/sdb1 /var ext4\n/dev/vdc /srv ext4\n/dev/nvme1n1p2 /home ext4\n"
    first = disk(tmp_path / "z.raw", Ext4(root_files(fstab=fstab)))
    second = disk(tmp_path / "y.raw", Ext4({"1": ""}), Ext4({"2": ""}), table="dos")
    third = tmp_path / "x.raw"
    Ext4({"3": ""}).make(third)
    with opened(first, second, third) as artifact:
        selected = select_root(artifact)
        assert mounts(selected) == {"/home": "mbr:2", "/srv": "x.raw", "/var": "mbr:1"}
        assert {"var/1", "home/2", "srv/3"} < paths(selected.tree)


def test_a_second_disk_that_is_blank_has_its_letter(tmp_path: Path) -> None:
    first = disk(tmp_path / "a.raw", Ext4(root_files(fstab="/dev/sdc1 /home ext4\n")))
    third = disk(tmp_path / "c.raw", Ext4({"there": ""}))
    with opened(first, blank(tmp_path / "b.raw", MIB), third) as artifact:
        assert mounts(select_root(artifact)) == {"/home": "gpt:1"}


@pytest.mark.parametrize(
    "names", [("/dev/mapper/vg--one-root", "/dev/mapper/vg--one-var"), ("/dev/vg-one/root",) * 2]
)
def test_logical_volumes_are_found_by_both_their_names(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    spec = names[1].replace("root", "var")
    root = Ext4(root_files(fstab=f"{names[0]} / ext4\n{spec} /var ext4\n"), size_mib=4)
    var = Ext4({"there": ""}, size_mib=2)
    disks = blank_disks(tmp_path, 2, 8 * MIB)
    with lvm_on(tmp_path, *disks) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
        lvm("vgcreate", "-s", "64k", "vg-one", *lvm.devices)
        lvm.create("vg-one/root", "-L", "4M")
        lvm.create("vg-one/var", "-i", "2", "-I", "16k", "-L", "2M")
        made = {"vg-one/root": root, "vg-one/var": var}
        for volume in lvm.volumes():
            made[volume.label].make(tmp_path / "image")
            lvm.write(volume, (tmp_path / "image").read_bytes())
    with opened(*disks) as artifact:
        selected = select_root(artifact)
        assert selected.root.parts[-1] == "lvm:vg-one/root"
        assert mounts(selected) == {"/var": "lvm:vg-one/var"}
        assert "var/there" in paths(selected.tree)
        assert selected.findings == ()


def test_usr_on_another_volume_is_mounted_and_os_release_leads_there(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(merged_root_files(fstab=f"UUID={VAR} /usr ext4\n")),
        Ext4(usr_files(), uuid=VAR),
    )
    with opened(image) as artifact:
        index = TreeIndex(select_root(artifact).tree)
        assert b"Merged" in (index.content(b"etc/os-release") or b"")
        assert index.resolve(b"sbin/init") is not None


def test_a_mount_point_is_found_through_links(tmp_path: Path) -> None:
    fstab = "/dev/sda2 /home ext4\n/dev/sda3 /var/www ext4\n/dev/sda4 /srv/new/folder ext4\n"
    files = root_files(fstab=fstab)
    del files["home/"]
    image = disk(
        tmp_path / "disk.raw",
        Ext4({**files, "home": "-> data/../data/homes", "data/homes/": "", "var/www": "-> /w"}),
        Ext4({"me": ""}),
        Ext4({"index": ""}),
        Ext4({"new": ""}),
    )
    with opened(image) as artifact:
        selected = select_root(artifact)
        assert mounts(selected) == {
            "/data/homes": "gpt:2",
            "/srv/new/folder": "gpt:4",
            "/w": "gpt:3",
        }


TROUBLES = {
    "no such volume": (f"UUID={VAR} /home ext4", "no volume here is UUID="),
    "no such disk": ("/dev/sdb1 /home ext4", "no volume here is /dev/sdb1"),
    "a file in the way": ("/dev/sda2 /etc/fstab/x ext4", "'etc/fstab' is a file"),
    "a loop of links": ("/dev/sda2 /loop/x ext4", "link without end"),
    "the root itself": ("/dev/sda1 /home ext4", "that is the root itself"),
    "over the root": ("/dev/sda2 /up ext4", "another volume is mounted at /"),
    "encrypted": ("/dev/sda3 /home ext4", "gpt:3: is a volume encrypted with LUKS1"),
    "nothing known": ("/dev/sda4 /home ext4", "gpt:4: holds nothing known"),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_what_cannot_be_mounted_is_a_loss_that_is_told(tmp_path: Path, case: str) -> None:
    fstab, reason = TROUBLES[case]
    image = disk(
        tmp_path / "disk.raw",
        Ext4({**root_files(fstab=f"{fstab}\n"), "loop": "-> ./loop", "up": "-> .."}),
        Ext4({"x": ""}),
        Made(LUKS, 4),
        Made("true"),
    )
    with opened(image) as artifact:
        selected = select_root(artifact)
        assert selected.mounts == ()
        ((evidence, action),) = told(selected).values()
        assert evidence.startswith("/etc/fstab:1: ")
        assert reason in evidence
        assert action is Action.DROPPED


@pytest.mark.parametrize(
    ("fstab", "evidence"),
    [
        (
            "server:/x /srv nfs",
            "/etc/fstab:1: server:/x is on another machine; mount it at run time",
        ),
        ("/var/a /srv none bind", "/etc/fstab:1: /var/a is another path"),
        ("/dev/sda2 /srv ext4 noauto", "/etc/fstab:1 says noauto: gpt:2 is left out"),
        ("/dev/sdb3 /boot/efi vfat", "/etc/fstab:1: no volume here is /dev/sdb3"),
        ("/dev/sda2 / ext4", "/etc/fstab:1 says that the root is /dev/sda2, which is gpt:2"),
    ],
)
def test_what_a_container_does_without_is_only_reported(
    tmp_path: Path, fstab: str, evidence: str
) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab=f"{fstab}\n")),
        Ext4({"x": ""}),
        Part(Made("mkfs.vfat {image}"), "type=uefi"),
    )
    with opened(image) as artifact:
        ((words, action),) = told(select_root(artifact)).values()
        assert words.startswith(evidence)
        assert action is Action.REPORTED


def test_what_is_in_memory_needs_no_word(tmp_path: Path) -> None:
    fstab = "tmpfs /tmp tmpfs\nproc /proc proc\n/dev/sda2 none swap sw\n/dev/sr0 /cd iso9660 noauto"
    image = disk(tmp_path / "disk.raw", Ext4(root_files(fstab=fstab)), Part(Made("mkswap {image}")))
    with opened(image) as artifact:
        selected = select_root(artifact)
        assert (selected.mounts, selected.findings) == ((), ())


def test_the_first_of_two_lines_for_one_folder_counts(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab="/dev/sda2 /srv ext4\n/dev/sda3 /srv/ ext4\n")),
        Ext4({"two": ""}),
        Ext4({"three": ""}),
    )
    with opened(image) as artifact:
        selected = select_root(artifact)
        assert mounts(selected) == {"/srv": "gpt:2"}
        assert told(selected)["srv"][0] == "/etc/fstab:2 mounts there for the second time"


@pytest.mark.parametrize("folder", ["usr", "var", "var/lib"])
def test_a_system_folder_must_be_there(tmp_path: Path, folder: str) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab=f"/dev/sda2 /{folder} ext4\n")),
        Made(LUKS, 4),
    )
    with opened(image) as artifact:
        with pytest.raises(EncryptedError, match=f"/{folder} is a volume of its own") as caught:
            select_root(artifact)
        assert "give one with --passphrase-file FILE" in str(caught.value)
        assert f"--drop /{folder} does without it" in str(caught.value)
        for pattern in (f"/{folder}", f"/{folder}/**"):
            assert told(select_root(artifact, Request(drop=[pattern])))[folder][1] is Action.DROPPED
        assert "etc/fstab" in paths(select_browsable(artifact))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("/srv/var /var none bind", "/srv/var is another path"),
        ("server:/var /var nfs", "server:/var is on another machine"),
    ],
)
def test_a_system_folder_that_is_on_no_volume_is_missed(
    tmp_path: Path, line: str, what: str
) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files(fstab=f"{line}\n")))
    with opened(image) as artifact:
        with pytest.raises(UnsupportedError, match=f"fstab:1\\), and {what}"):
            select_root(artifact)
        assert told(select_root(artifact, Request(drop=["/var"])))["var"][1] is Action.DROPPED


def test_a_system_folder_with_nofail_may_be_missing(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files(fstab="/dev/sdb1 /var ext4 nofail\n")))
    with opened(image) as artifact:
        assert told(select_root(artifact))["var"][1] is Action.DROPPED


def test_a_missing_system_folder_says_which_volumes_could_not_be_read(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw", Ext4(root_files(fstab=f"UUID={VAR} /var xfs\n")), Made(LUKS, 4)
    )
    with opened(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact)
    assert "(gpt:2: is a volume encrypted with LUKS1, and no key was given)" in str(caught.value)


def test_a_damaged_volume_that_is_needed_gives_its_own_error(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab="/dev/sda2 /var ext4\n")),
        Ext4({"x": ""}),
    )
    with image.open("r+b") as file:  # all block groups' tables, inodes among them
        file.seek(3 * MIB + 2048)
        file.write(b"\xff" * 200_000)
    with opened(image) as artifact, pytest.raises(ConvertError) as caught:
        select_root(artifact)
    assert caught.value.exit_code == 4
    assert "/var is a volume of its own" in str(caught.value)


def test_two_volumes_of_one_name_are_not_chosen_between(tmp_path: Path) -> None:
    image = disk(
        tmp_path / "disk.raw",
        Ext4(root_files(fstab=f"UUID={VAR} /home ext4\n")),
        Ext4({"a": ""}, uuid=VAR),
        Ext4({"b": ""}, uuid=VAR),
    )
    with opened(image) as artifact:
        evidence, _ = told(select_root(artifact))["home"]
    assert evidence == "/etc/fstab:1: gpt:2 and gpt:3 are meant alike"


def test_of_two_copies_the_one_on_the_disk_of_the_root_is_meant(tmp_path: Path) -> None:
    home = Ext4({"a": ""}, uuid=VAR)
    first = disk(tmp_path / "a.raw", Ext4(root_files(fstab=f"UUID={VAR} /home ext4\n")), home)
    second = disk(tmp_path / "b.raw", home)
    with opened(second, first) as artifact:
        (mount,) = select_root(artifact).mounts
    assert mount[1].parts == ("a.raw", "gpt:2")


TYPES = {
    "usr": "8484680C-9521-48C6-9C11-B0720656F69E",
    "home": "933AC7E1-2EB4-4F13-B844-0E14E2AEF915",
    "srv": "3B8F8425-20E0-4F3B-907F-1A25A76F98E8",
    "var": "4D21B016-B534-45C2-A9FB-5C16E091FD2D",
}


@pytest.mark.parametrize("role", TYPES)
def test_partitions_with_a_role_are_mounted_where_fstab_is_silent(
    tmp_path: Path, role: str
) -> None:
    part = Part(Ext4({"there": ""}), f"type={TYPES[role]}")
    image = disk(tmp_path / "a.raw", Ext4(root_files()), part)
    with opened(image) as artifact:
        assert mounts(select_root(artifact)) == {f"/{role}": "gpt:2"}
    full = root_files(**{f"{role}/full": ""})
    image = disk(tmp_path / "b.raw", Ext4(full), part)
    with opened(image) as artifact:
        assert select_root(artifact).mounts == ()
    mentioned = root_files(fstab=f"/dev/sda3 /{role} ext4\n")
    image = disk(tmp_path / "c.raw", Ext4(mentioned), part, Ext4({"other": ""}))
    with opened(image) as artifact:
        assert mounts(select_root(artifact)) == {f"/{role}": "gpt:3"}


def test_a_role_counts_only_on_the_disk_of_the_root(tmp_path: Path) -> None:
    first = disk(tmp_path / "a.raw", Ext4(root_files()))
    second = disk(tmp_path / "b.raw", Part(Ext4({"x": ""}), f"type={TYPES['home']}"))
    with opened(first, second) as artifact:
        assert select_root(artifact).mounts == ()


def test_a_merged_root_without_its_usr_is_refused(tmp_path: Path) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(merged_root_files()), Ext4(usr_files()))
    with opened(image) as artifact:
        with pytest.raises(UnsupportedError, match="its /usr is empty"):
            select_root(artifact)
        select_root(artifact, Request(drop=["/usr"]))


def test_what_a_mount_hides_and_what_nothing_mounts_is_reported(tmp_path: Path) -> None:
    files = root_files(fstab="/dev/sda2 /srv ext4\n", **{"srv/old/file": "x"})
    image = disk(tmp_path / "disk.raw", Ext4(files), Ext4({"new": ""}), Ext4({"data": ""}))
    with opened(image) as artifact:
        findings = select_root(artifact).findings
    assert [(item.rule, item.path.decode(), item.evidence) for item in findings] == [
        ("hidden-by-mount", "srv", "2 paths are hidden by the volume that is mounted there"),
        ("volume-left-out", "disk.raw › gpt:3", "the root does not mount it"),
    ]


def test_an_unpartitioned_disk_can_be_mounted(tmp_path: Path) -> None:
    root = disk(tmp_path / "a.raw", Ext4(root_files(fstab="/dev/sdb /home ext4\n")))
    home = blank(tmp_path / "b.raw", 2 * MIB)
    put(home, Ext4({"me": ""}), 0)
    with opened(root, home) as artifact:
        assert mounts(select_root(artifact)) == {"/home": "b.raw"}


HOSTILE = {
    "one volume at many places": [f"/dev/sda2 /srv/{number} ext4" for number in range(65)],
    "one inside of the other": ["/dev/sda2 /" + "/".join("x" * n) + " ext4" for n in range(1, 66)],
    "many lines": [f"/dev/sdz{number} /srv/{number} ext4" for number in range(1001)],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_fstab_cannot_ask_for_more_than_a_machine_has(tmp_path: Path, case: str) -> None:
    fstab = "\n".join(HOSTILE[case]) + "\n"
    image = disk(tmp_path / "disk.raw", Ext4(root_files(fstab=fstab)), Ext4({"f": ""}))
    with opened(image) as artifact, pytest.raises(LimitError):
        select_root(artifact)


def test_many_mounts_inside_of_one_another_are_composed(tmp_path: Path) -> None:
    fstab = "\n".join(HOSTILE["one inside of the other"][:64]) + "\n"
    image = disk(tmp_path / "disk.raw", Ext4(root_files(fstab=fstab)), Ext4({"x": "", "f": ""}))
    with opened(image) as artifact:
        ((evidence, _), *_) = told(select_root(artifact)).values()
    assert "'x/x' is a file" in evidence
    image = disk(tmp_path / "disk.raw", Ext4(root_files(fstab=fstab)), Ext4({"f": "content"}))
    with opened(image) as artifact:
        tree = select_root(artifact).tree
        (entry,) = [item for item in tree.entries() if item.path == b"x/" * 64 + b"f"]
        assert b"".join(tree.read(entry)) == b"content"


@pytest.mark.parametrize("device", ["UUID={uuid}", "/dev/disk/by-uuid/{uuid}", "/dev/sda2"])
def test_an_opened_volume_is_found_by_its_name_in_crypttab(tmp_path: Path, device: str) -> None:
    inner = tmp_path / "home"
    Ext4({"me/.profile": "umask 022\n"}).make(inner)
    locked = luks2(inner)
    uuid = run("cryptsetup", "luksUUID", locked).stdout.decode().strip()
    files = {
        **root_files(fstab="/dev/mapper/home_crypt /home ext4\n"),
        "etc/crypttab": f"# name device key\nhome_crypt {device.format(uuid=uuid)} none luks\n",
    }
    size = -(-locked.stat().st_size // MIB)
    image = disk(tmp_path / "disk.raw", Ext4(files), Made(f"cp {locked} {{image}}", size))
    with open_artifact([image], keys=[PASSPHRASE]) as artifact:
        selected = select_root(artifact)
        assert [path for path, _ in selected.mounts] == ["/home"]
        assert "home/me/.profile" in paths(selected.tree)
