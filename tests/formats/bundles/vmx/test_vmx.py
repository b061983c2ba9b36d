"""VMware machines beside their disks."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.bundles.vmx.text import looks_like_vmx, parse_vmx
from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
)
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.machine import Machine
from formats.core.origin import Origin
from formats.core.source import MemorySource
from tests.formats.bundles.support import disks, head, named
from tests.images.ovf import stream_optimised
from tests.images.volumes import opened
from tests.support.disks import whole
from tests.support.programs import need, run

ORIGIN = Origin(("server.vmx",))
HEAD = """\
.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "19"
displayName = "Shop server"
guestOS = "debian10-64"
memsize = "2048"
numvcpus = "4"
annotation = "First|0Asecond |22quoted|22"
uuid.bios = "56 4d ee 3c 52 06 a3 de-be 4a 73 9c cc 99 15 1f"
ethernet0.present = "TRUE"
ethernet0.networkName = "DMZ"
ethernet1.present = "TRUE"
ethernet1.connectionType = "nat"
ethernet2.present = "FALSE"
ethernet2.networkName = "unplugged"
"""


def device(name: str, file: str, **settings: str) -> str:
    """Return the lines of an attached device."""
    lines = {"present": "TRUE", "fileName": file, **settings}
    return "".join(f'{name}.{key} = "{value}"\n' for key, value in lines.items())


def write(folder: Path, text: str, *names: str, head: str = HEAD) -> Path:
    """Write a .vmx and files that hold their own names."""
    for name in names:
        (folder / name).write_bytes(named(name))
    path = folder / "server.vmx"
    path.write_text(head + text)
    return path


def _described(path: Path) -> tuple[Machine, Mapping[str, str]]:
    with opened(path) as artifact:
        (node,) = artifact.nodes
        assert node.machine is not None, str(node.problem)
        return node.machine, node.facts


def test_disks_come_in_the_order_of_buses_and_units(tmp_path: Path) -> None:
    names = ["ide", "sata", "scsi1", "scsi10", "scsi9", "nvme"]
    places = ["ide0:0", "sata0:1", "scsi1:0", "scsi0:10", "scsi0:9", "nvme0:0"]
    text = "".join(device(at, f"{name}.vmdk") for name, at in zip(names, places, strict=True))
    path = write(tmp_path, text, *(f"{name}.vmdk" for name in names))
    expected = ["scsi9", "scsi10", "scsi1", "sata", "nvme", "ide"]
    assert disks("vmx", path) == [f"{name}.vmdk" for name in expected]


def test_cd_and_floppy_images_are_listed_and_not_opened(tmp_path: Path) -> None:
    text = (
        device("scsi0:0", "disk.vmdk", deviceType="scsi-hardDisk")
        + device("ide1:0", "setup.iso", deviceType="cdrom-image")
        + device("sata0:1", "auto detect", deviceType="cdrom-raw")
        + device("ide1:1", "other.iso")
        + device("floppy0", "boot.flp")
    )
    path = write(tmp_path, text, "disk.vmdk", "setup.iso", "boot.flp", "other.iso")
    assert disks("vmx", path) == ["disk.vmdk"]
    _, facts = _described(path)
    assert facts["disks"] == "scsi0:0: disk.vmdk"
    assert facts["other-files"] == (
        "setup.iso (ide1:0, cdrom-image), auto detect (sata0:1, cdrom-raw),"
        " other.iso (ide1:1, no disk), boot.flp (floppy0)"
    )


def test_disks_that_are_not_attached_are_listed_and_not_opened(tmp_path: Path) -> None:
    text = (
        device("scsi0:0", "a.vmdk")
        + device("scsi0:1", "b.vmdk", present="FALSE")
        + 'scsi0:2.fileName = "c.vmdk"\n'
        + device("scsi1:0", "d.vmdk")
        + 'scsi1.present = "FALSE"\n'
    )
    path = write(tmp_path, text, "a.vmdk", "b.vmdk", "c.vmdk", "d.vmdk")
    assert disks("vmx", path) == ["a.vmdk"]
    _, facts = _described(path)
    assert facts["other-files"].count("not attached") == 3


def test_keys_are_the_same_in_any_case(tmp_path: Path) -> None:
    text = 'SCSI0:0.Present = "true"\nscsi0:0.FILENAME = "a.vmdk"\n'
    assert disks("vmx", write(tmp_path, text, "a.vmdk")) == ["a.vmdk"]


def test_the_machine_is_described(tmp_path: Path) -> None:
    machine, facts = _described(write(tmp_path, device("scsi0:0", "a.vmdk"), "a.vmdk"))
    assert (machine.name, machine.title) == ("Shop server", "Shop server")
    assert machine.properties == {
        "os": "debian10-64",
        "cpus": "4",
        "memory": "2048 MiB",
        "annotation": 'First\nsecond "quoted"',
        "hardware-version": "19",
        "uuid": "56 4d ee 3c 52 06 a3 de-be 4a 73 9c cc 99 15 1f",
        "networks": "DMZ, nat",
    }
    assert (facts["machine"], facts["networks"]) == ("Shop server", "DMZ, nat")


def test_a_machine_without_a_title_is_named_after_its_file(tmp_path: Path) -> None:
    head = HEAD.replace('displayName = "Shop server"\n', "")
    machine, _ = _described(write(tmp_path, device("scsi0:0", "a.vmdk"), "a.vmdk", head=head))
    assert (machine.name, machine.title) == ("server", None)


def test_texts_cannot_command_a_terminal_or_break_an_encoding(tmp_path: Path) -> None:
    head = HEAD.replace("Shop server", "Shop|1B[2J|0Aserver").encode().replace(b"First", b"\xff")
    path = write(tmp_path, "", "a.vmdk")
    path.write_bytes(head + device("scsi0:0", "a.vmdk").encode())
    machine, facts = _described(path)
    assert machine.name == "Shop�[2J server"
    assert machine.properties["annotation"] == '�\nsecond "quoted"'
    assert "\x1b" not in f"{machine!r} {facts}".encode().decode()


def test_a_snapshot_is_read_with_the_disk_that_it_stands_on(tmp_path: Path) -> None:
    need("qemu-img")
    base = tmp_path / "disk.vmdk"
    raw = tmp_path / "raw"
    raw.write_bytes(b"base" * 100_000)
    run("qemu-img", "convert", "-O", "vmdk", raw, base)
    run(
        "qemu-img",
        "create",
        "-f",
        "vmdk",
        "-b",
        "disk.vmdk",
        "-F",
        "vmdk",
        "disk-000001.vmdk",
        cwd=tmp_path,
    )
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x61 0 65536", tmp_path / "disk-000001.vmdk")
    path = write(tmp_path, device("scsi0:0", "disk-000001.vmdk"))
    with opened(path) as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.problem is None, str(disk.problem)
        found = whole(disk.children[0].volume.source)
    assert found[:400_000] == b"a" * 65536 + (b"base" * 100_000)[65536:]


PATHS = ("/vmfs/volumes/datastore1/server/disk.vmdk", "C:\\Machines\\disk.vmdk", "../x/disk.vmdk")


@pytest.mark.parametrize("name", PATHS)
def test_of_a_path_on_the_host_the_file_beside_is_taken_and_that_is_said(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, device("scsi0:0", name), "disk.vmdk")
    assert disks("vmx", path) == ["disk.vmdk"]
    with opened(path) as artifact:
        assert [finding.rule for finding in artifact.findings] == ["vmx-disk-path"]


def test_two_disks_of_one_name_in_two_folders_are_not_mixed_up(tmp_path: Path) -> None:
    text = device("scsi0:0", "disk.vmdk") + device("scsi0:1", "/vmfs/volumes/other/disk.vmdk")
    with opened(write(tmp_path, text, "disk.vmdk")) as artifact:
        first, second = artifact.nodes[0].children
        assert head(first) == "disk.vmdk"
        assert isinstance(second.problem, UnsupportedError)
        assert [child.volume.label for child in (first, second)] == ["scsi0:0", "scsi0:1"]


def test_a_missing_disk_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    text = device("scsi0:0", "a.vmdk") + device("scsi0:1", "b.vmdk")
    with opened(write(tmp_path, text, "b.vmdk")) as artifact:
        first, second = artifact.nodes[0].children
        assert isinstance(first.problem, CorruptError)
        assert head(second) == "b.vmdk"


@pytest.mark.parametrize(
    ("name", "codec"),
    [("windows-1252", "cp1252"), ("GBK", "gbk"), ("Shift_JIS", "cp932"), ("UTF-8", "utf-8")],
)
def test_text_is_in_the_encoding_that_it_states(tmp_path: Path, name: str, codec: str) -> None:
    title = {"cp1252": "Größe", "gbk": "服务器", "cp932": "サーバー", "utf-8": "Größe"}[codec]
    text = HEAD.replace("UTF-8", name).replace("Shop server", title) + device("scsi0:0", "a.vmdk")
    path = write(tmp_path, "", "a.vmdk")
    path.write_bytes(text.encode(codec))
    assert _described(path)[0].name == title


REFUSED: dict[str, tuple[str, type[ConvertError], str]] = {
    "no disk": ("", UnsupportedError, "without a disk"),
    "encryption": (
        'encryption.keySafe = "vmware:key/list/(pair/…)"\n',
        EncryptedError,
        "encrypted",
    ),
    "an unknown encoding": ('.encoding = "rot13"\n', UnsupportedError, "'rot13'"),
    "a line that says nothing": ("nothing\n", CorruptError, "line 16"),
    "a quote that does not end": ('x = "\n', CorruptError, "line 16"),
    "two values": ('memsize = "4096"\n', CorruptError, "'memsize' twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    text, error, message = REFUSED[name]
    head = HEAD.replace('.encoding = "UTF-8"\n', "# a comment\n") if "encoding" in text else HEAD
    with pytest.raises(error, match=message):
        disks("vmx", write(tmp_path, text, head=head))


def test_an_encrypted_machine_without_clear_keys_is_recognised(tmp_path: Path) -> None:
    head = '.encoding = "UTF-8"\nencryption.keySafe = "vmware:key"\nencryption.data = "00"\n'
    with pytest.raises(EncryptedError):
        disks("vmx", write(tmp_path, "", head=head))


def test_more_disks_than_any_machine_has_are_refused(tmp_path: Path) -> None:
    text = "".join(
        device(f"scsi{unit}:{number}", "a") for unit in range(5) for number in range(205)
    )
    with pytest.raises(LimitError, match="more than 1024 disks"):
        disks("vmx", write(tmp_path, text))


def test_a_text_may_not_be_larger_than_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, device("scsi0:0", "a.vmdk"), "a.vmdk")
    with opened(path, limits=Limits(descriptor_bytes=100)) as artifact:
        assert isinstance(artifact.nodes[0].problem, LimitError)


@pytest.mark.parametrize(
    "text",
    [
        '# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\n',
        '.encoding = "UTF-8"\nsnapshot.lastUID = "1"\n',
        "[config]\nversion = 1\n",
        'key = "value"\n\0config.version = "8"\n',
        "",
    ],
)
def test_other_texts_of_vmware_and_others_are_no_machines(text: str) -> None:
    assert not looks_like_vmx(MemorySource(text.encode(), ORIGIN))


def test_keys_far_down_make_a_machine(tmp_path: Path) -> None:
    """Tools that sort put ``virtualHW.version`` last."""
    head = "".join(f'aaa{number}.bbb = "ccc"\n' for number in range(500))
    text = head + device("scsi0:0", "a.vmdk") + 'virtualhw.version = "10"\n'
    assert disks("vmx", write(tmp_path, text, "a.vmdk", head="")) == ["a.vmdk"]


@given(st.text(max_size=300))
def test_any_text_gives_settings_or_a_typed_error(text: str) -> None:
    source = MemorySource((HEAD + text).encode("utf-8", "surrogatepass"), ORIGIN)
    try:
        parse_vmx(source, DEFAULT_LIMITS)
    except ConvertError:
        return


def test_a_folder_of_a_machine_may_come_in_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "server.vmwarevm"
    folder.mkdir()
    raw = tmp_path / "raw"
    raw.write_bytes(b"disk" * 100_000)
    stream_optimised(raw, folder / "disk.vmdk")
    write(folder, device("scsi0:0", "disk.vmdk"))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder, "server.vmwarevm")
    with opened(tmp_path / "x.tar") as artifact:
        (node,) = artifact.nodes
        assert node.machine is not None
        assert node.machine.name == "Shop server"
        assert whole(node.children[0].children[0].volume.source)[:400_000] == b"disk" * 100_000


def test_several_machines_in_an_archive_are_volumes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, device("scsi0:0", f"{name}.vmdk"), f"{name}.vmdk")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("one", "two"):
            archive.add(tmp_path / name, name)
    with opened(tmp_path / "x.tar") as artifact:
        (node,) = artifact.nodes
        names = [child.machine.name for child in node.children if child.machine]
        assert names == ["one/server", "two/server"]
        found = [head(disk) for child in node.children for disk in child.children]
        assert found == ["one.vmdk", "two.vmdk"]
