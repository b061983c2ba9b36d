"""What libguestfs is given, and what is made of its answer; only one test starts it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from convert.handover import Libguestfs, second_engine
from convert.options import ConvertOptions, Engine
from convert.pipeline import make_plan, opened
from convert.select import Request, select_root, select_volume
from formats.core.errors import ConvertError, CorruptError, MissingDependencyError, UnsupportedError
from formats.core.finding import Finding
from formats.core.opener import Artifact, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Volume, Volumes
from formats.core.source import ByteSource, FileSource, MemorySource
from formats.core.tree import Tree
from formats.guestfs.binding import find_binding
from formats.guestfs.devices import Device
from formats.guestfs.settings import EngineSettings
from tests.images.systems import Ext4, Made, Part, disk, root_files
from tests.images.volumes import MIB, patch
from tests.images.volumes import opened as opened_disks
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, refuse

ROOT = """
f 644 0:0 etc/os-release PRETTY_NAME=Small\\n
f 755 0:0 sbin/init x
f 755 0:0 bin/sh x
d 755 0:0 usr
"""
START_SECONDS = 1200
NTFS = Part(Made("mkfs.ntfs -Q -F -q {image}", 4), "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")


class Appliance:
    """An appliance of which all is known: devices, what is on them, and what cannot be read.

    :ivar given: breadcrumbs of the sources of each start.
    """

    given: list[list[str]]
    found: tuple[Device, ...] = ()
    trees: dict[str, Tree | ConvertError]
    blocks: dict[str, ByteSource]
    missing: MissingDependencyError | None = None

    def __init__(self, sources: Sequence[ByteSource], *_: object, **__: object) -> None:
        type(self).given.append([str(source.origin) for source in sources])
        if self.missing is not None:
            raise self.missing
        self.findings: list[Finding] = []

    def devices(self) -> tuple[Device, ...]:
        return self.found

    def tree(self, device: Device, subvolume: int | None = None) -> Tree:
        del subvolume
        found = self.trees[device.name]
        if isinstance(found, ConvertError):
            raise found
        return found

    def block(self, device: Device) -> ByteSource:
        return self.blocks.get(device.name) or MemorySource(b"", Origin(("libguestfs",)))

    def close(self) -> None:
        pass


@pytest.fixture
def appliance(monkeypatch: pytest.MonkeyPatch) -> type[Appliance]:
    class Fresh(Appliance):
        given: list[list[str]] = []  # noqa: RUF012 - one for each test
        trees: dict[str, Tree | ConvertError] = {}  # noqa: RUF012
        blocks: dict[str, ByteSource] = {}  # noqa: RUF012

    monkeypatch.setattr("formats.guestfs.engine.Appliance", Fresh)
    return Fresh


def device(name: str, kind: str, size: int, source_index: int | None = None) -> Device:
    return Device(name, kind, size, Origin(("libguestfs", name)), source_index=source_index)


def asked(root: str | None = None, *, everything: bool = False) -> Request:
    return Request(root=root, engine=Libguestfs(EngineSettings({}), replaces_native=everything))


def unread(label: str, *names: str) -> Volume:
    """Return a logical volume without bytes."""
    source = MemorySource(b"", Origin(("disk", "lvm", label)))
    problem = UnsupportedError("is a thin volume", hint="copy it")
    return Volume(source, label, device_names=names, problem=problem)


def artifact_of(*volumes: Volume) -> Artifact:
    whole = Volume(MemorySource(b"\0" * 4096, Origin(("disk",))), "disk", content=Volumes(volumes))
    return open_artifact([whole])


def test_a_filesystem_that_only_libguestfs_reads_becomes_the_root(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", Made("mkfs.minix {image}"))
    appliance.found = (device("/dev/sda", "minix", 2 * MIB, source_index=0),)
    appliance.trees["/dev/sda"] = memory_tree(ROOT)
    with opened_disks(image) as artifact:
        selected = select_root(artifact, asked())
        told = [finding.evidence for finding in artifact.findings]
    assert appliance.given == [["disk.raw › gpt:1"]]
    assert selected.root.parts[-1] == "gpt:1"
    assert told == [
        "memory read through libguestfs: is a Minix filesystem, which is not read",
    ]


def test_a_volume_that_libguestfs_puts_together_is_read_by_own_readers(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    Ext4(root_files("Thin")).make(tmp_path / "thin")
    source = FileSource(tmp_path / "thin", Origin(("disk", "thin")))
    appliance.found = (
        device("/dev/sda", "LVM2_member", 4096, source_index=0),
        device("/dev/vg0/root", "ext4", 2 * MIB),
    )
    appliance.blocks["/dev/vg0/root"] = source
    with artifact_of(unread("root", "mapper/vg0-root", "vg0/root")) as artifact:
        selected = select_root(artifact, asked())
        assert selected.tree.info.format == "ext4"
    source.close()
    assert appliance.given == [["disk"]]


def test_what_libguestfs_cannot_read_either_says_what_both_said(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", Made("mkfs.minix {image}"))
    appliance.found = (device("/dev/sda", "minix", 2 * MIB, source_index=0),)
    appliance.trees["/dev/sda"] = CorruptError("cannot be mounted")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked())
    assert "Minix filesystem, which is not read; libguestfs: cannot be mounted" in str(caught.value)


def test_without_libguestfs_the_way_to_get_it_is_in_the_hint(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", Made("mkfs.minix {image}"))
    appliance.missing = MissingDependencyError("no libguestfs", hint="apt install python3-guestfs")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked())
    assert str(caught.value).endswith("or let libguestfs read it: apt install python3-guestfs")


def test_windows_is_read_only_when_it_is_asked_for(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    need("mkfs.ntfs")
    image = disk(tmp_path / "disk.raw", NTFS, Ext4({"a": ""}))
    appliance.found = (device("/dev/sda", "ntfs", 4 * MIB, source_index=0),)
    appliance.trees["/dev/sda"] = memory_tree("f 644 0:0 Windows/win.ini x")
    with opened_disks(image) as artifact:
        with pytest.raises(UnsupportedError):
            select_root(artifact, asked())
        assert appliance.given == []
        paths = [entry.path for entry in select_volume(artifact, asked("gpt:1")).entries()]
    assert b"Windows/win.ini" in paths
    assert appliance.given == [["disk.raw › gpt:1"]]


def test_windows_that_can_be_read_is_exported_and_does_not_run(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    need("mkfs.ntfs")
    image = disk(tmp_path / "disk.raw", NTFS)
    appliance.found = (device("/dev/sda", "ntfs", 4 * MIB, source_index=0),)
    appliance.trees["/dev/sda"] = memory_tree("f 644 0:0 Windows/win.ini x")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked("gpt:1"))
    assert caught.value.message == ("belongs to Windows, not to Linux: gpt:1 is an NTFS filesystem")
    assert "'convert export --raw --root gpt:1'" in str(caught.value.hint)


def test_everything_is_read_through_libguestfs_on_request(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files("Own")))
    appliance.found = (device("/dev/sda", "ext4", 2 * MIB, source_index=0),)
    appliance.trees["/dev/sda"] = memory_tree(ROOT)
    with opened_disks(image) as artifact:
        assert select_root(artifact, asked(everything=True)).tree.info.format == "memory"


def test_the_engine_is_as_the_option_says() -> None:
    assert second_engine(Engine.NATIVE) is None
    for engine, replaces in ((Engine.AUTO, False), (Engine.LIBGUESTFS, True)):
        made = second_engine(engine)
        assert made is not None
        assert made.replaces_native is replaces


@pytest.mark.guestfs
@pytest.mark.timeout(2 * START_SECONDS)
def test_a_root_with_a_damaged_superblock_is_repaired_by_libguestfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 160 MiB, since smaller filesystems have no copy of their superblock."""
    try:
        find_binding(EngineSettings(dict(os.environ)))
    except MissingDependencyError as error:
        refuse(str(error))
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "direct")
    image = disk(tmp_path / "disk.raw", Ext4(root_files("Broken"), size_mib=160))
    patch(image, MIB + 1024, bytes(1024))
    options = ConvertOptions(platform=("linux", "amd64", None))
    native = options.model_copy(update={"engine": Engine.NATIVE})
    with (
        opened(image, native) as artifact,
        pytest.raises(UnsupportedError, match="nothing known is in it"),
    ):
        make_plan(artifact, native)
    with opened(image, options) as artifact:
        plan = make_plan(artifact, options)
        system = plan.decisions.facts.operating_system
        assert system is not None
        assert system.pretty_name == "Broken Linux 1"
    rules = {finding.rule for finding in plan.decisions.findings}
    assert {"read-by-libguestfs", "filesystem-repaired"} <= rules
