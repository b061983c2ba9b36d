"""What libguestfs is given, and what is made of its answer; only one test starts it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from convert.handover import Libguestfs, second_engine
from convert.opening import opened
from convert.options import ConvertOptions, Engine
from convert.plan import make_plan
from convert.select.request import Request
from convert.select.root import select_root, select_volume
from formats.core.errors import (
    ConvertError,
    CorruptError,
    InputReadError,
    MissingDependencyError,
    UnsupportedError,
)
from formats.core.finding import Finding
from formats.core.opener import Artifact, Node, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Subvolume, Volume, Volumes
from formats.core.source import ByteSource, FileSource, MemorySource
from formats.core.tree import Tree
from formats.guestfs.binding import find_binding
from formats.guestfs.devices import Device
from formats.guestfs.settings import EngineSettings
from tests.images.ext_everything import noise
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
ENGINE = Libguestfs(EngineSettings({}))
MINIX = Made("mkfs.minix {image}")
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

    broken: ConvertError | None = None
    inner: tuple[Subvolume, ...] = ()

    def __init__(self, sources: Sequence[ByteSource], *_: object, **__: object) -> None:
        type(self).given.append([str(source.origin) for source in sources])
        if self.missing is not None:
            raise self.missing
        self.findings: list[Finding] = []

    def devices(self) -> tuple[Device, ...]:
        if self.broken is not None:
            raise self.broken
        return self.found

    def subvolumes(self, device: Device) -> tuple[Subvolume, ...]:
        return self.inner if device.kind == "btrfs" else ()

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


def device(
    name: str, kind: str, size: int, drive: int | None = None, on: Sequence[int] = (0,)
) -> Device:
    drives = frozenset(on if drive is None else {drive})
    return Device(name, kind, size, Origin(("libguestfs", name)), drive=drive, drives=drives)


def asked(root: str | None = None, *, everything: bool = False) -> Request:
    return Request(root=root, engine=Libguestfs(EngineSettings({}), replaces_native=everything))


def unread(label: str, *names: str) -> Volume:
    """Return a logical volume without bytes."""
    source = MemorySource(b"", Origin(("disk", "lvm", label)))
    problem = UnsupportedError("is a thin volume", hint="copy it")
    return Volume(source, label, device_names=names, problem=problem)


def group_of_two(reason: str) -> Artifact:
    """Return two volumes and a group of them that could not be put together."""
    one, other = (Volume(MemorySource(bytes(512), Origin((name,))), name) for name in "ab")
    artifact = open_artifact([one, other])
    members = tuple(artifact.nodes)
    artifact.nodes.append(Node(one, 0, problem=CorruptError(reason), members=members))
    return artifact


def artifact_of(*volumes: Volume) -> Artifact:
    whole = Volume(MemorySource(b"\0" * 4096, Origin(("disk",))), "disk", content=Volumes(volumes))
    return open_artifact([whole])


def test_a_filesystem_that_only_libguestfs_reads_becomes_the_root(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", MINIX)
    appliance.found = (device("/dev/sda", "minix", 2 * MIB, drive=0),)
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
        device("/dev/sda", "LVM2_member", 4096, drive=0),
        device("/dev/vg0/root", "ext4", 2 * MIB),
    )
    appliance.blocks["/dev/vg0/root"] = source
    with artifact_of(unread("root", "mapper/vg0-root", "vg0/root")) as artifact:
        selected = select_root(artifact, asked())
        assert selected.tree.info.format == "ext4"
    source.close()
    assert appliance.given == [["disk"]]


def test_what_was_made_from_others_hangs_below_the_node_that_holds_them(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", MINIX, MINIX, MINIX)
    appliance.found = (
        device("/dev/md127", "jfs", 2 * MIB, on=(2,)),
        device("/dev/vg0/data", "jfs", 2 * MIB, on=(0,)),
    )
    appliance.trees = {found.name: memory_tree("f 644 0:0 a x") for found in appliance.found}
    with opened_disks(image) as artifact:
        (table,) = artifact.nodes
        ENGINE.take(artifact, table.children)
        below = [[child.volume.label for child in node.children] for node in table.children]
        problems = [node.problem and str(node.problem) for node in table.children]
    assert below == [["vg0/data"], [], ["md127"]]
    assert "libguestfs: finds no filesystem in it" in (problems[1] or "")
    assert problems[::2] == [None, None]


def test_what_is_made_from_two_nodes_is_there_once(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", MINIX, MINIX)
    appliance.found = (device("/dev/vg0/data", "jfs", 2 * MIB, on=(0, 1)),)
    appliance.trees = {"/dev/vg0/data": memory_tree("f 644 0:0 a x")}
    with opened_disks(image) as artifact:
        (table,) = artifact.nodes
        ENGINE.take(artifact, table.children)
        assert [len(node.children) for node in table.children] == [1, 0]


def test_volumes_that_own_readers_know_are_not_taken_for_one_that_is_not_there(
    appliance: type[Appliance],
) -> None:
    appliance.found = (device("/dev/vg0/root", "ext4", 2 * MIB),)
    known = Volume(MemorySource(bytes(512), Origin(("lv",))), "root", device_names=("vg0/root",))
    with artifact_of(known, unread("thin", "vg0/thin")) as artifact:
        _, thin = artifact.nodes[0].children
        ENGINE.take(artifact, [thin])
        assert thin.children == []
        assert "is a thin volume; libguestfs: finds no filesystem" in str(thin.problem)


def test_an_appliance_that_goes_down_leaves_each_node_with_what_both_said(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", MINIX)
    appliance.broken = CorruptError("libguestfs ended: Kernel panic")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked())
    assert "which is not read; libguestfs: libguestfs ended: Kernel panic" in str(caught.value)


def test_a_btrfs_of_several_devices_is_read_through_one_of_them(
    appliance: type[Appliance],
) -> None:
    """As the kernel reads it: each stands for all."""
    group = group_of_two("btrfs is damaged")
    appliance.found = tuple(device(f"/dev/sd{'ab'[n]}", "btrfs", MIB, drive=n) for n in range(2))
    appliance.trees["/dev/sda"] = memory_tree(ROOT)
    appliance.inner = (Subvolume(5, b"", is_default=True), Subvolume(256, b"home"))
    with group as artifact:
        node = artifact.nodes[-1]
        ENGINE.take(artifact, [node])
        assert node.tree is not None
        assert node.problem is None
        (finding,) = artifact.findings
    assert finding.evidence.endswith(
        ": btrfs is damaged; only the default subvolume, and none of 1 more"
    )


def test_a_part_of_an_array_is_not_taken_for_what_the_array_holds(
    appliance: type[Appliance],
) -> None:
    group = group_of_two("is degraded")
    appliance.found = (device("/dev/sda", "", MIB, drive=0), device("/dev/sdb", "", MIB, drive=1))
    with group as artifact:
        node = artifact.nodes[-1]
        ENGINE.take(artifact, [node])
        assert node.tree is None
        assert "is degraded; libguestfs: finds no filesystem in it" in str(node.problem)


def test_what_libguestfs_cannot_read_either_says_what_both_said(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", MINIX)
    appliance.found = (device("/dev/sda", "minix", 2 * MIB, drive=0),)
    appliance.trees["/dev/sda"] = CorruptError("cannot be mounted")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked())
    assert "Minix filesystem, which is not read; libguestfs: cannot be mounted" in str(caught.value)


def test_without_libguestfs_the_way_to_get_it_is_in_the_hint(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", MINIX)
    appliance.missing = MissingDependencyError("no libguestfs", hint="apt install python3-guestfs")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked())
    assert str(caught.value).endswith("or let libguestfs read it: apt install python3-guestfs")


def test_windows_is_read_only_when_it_is_asked_for(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    need("mkfs.ntfs")
    image = disk(tmp_path / "disk.raw", NTFS, Ext4({"a": ""}))
    appliance.found = (device("/dev/sda", "ntfs", 4 * MIB, drive=0),)
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
    appliance.found = (device("/dev/sda", "ntfs", 4 * MIB, drive=0),)
    appliance.trees["/dev/sda"] = memory_tree("f 644 0:0 Windows/win.ini x")
    with opened_disks(image) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, asked("gpt:1"))
    assert caught.value.message == ("belongs to Windows, not to Linux: gpt:1 is an NTFS filesystem")
    assert "'convert export --raw --root gpt:1'" in str(caught.value.hint)


def test_everything_is_read_through_libguestfs_on_request(
    tmp_path: Path, appliance: type[Appliance]
) -> None:
    image = disk(tmp_path / "disk.raw", Ext4(root_files("Own")))
    appliance.found = (device("/dev/sda", "ext4", 2 * MIB, drive=0),)
    appliance.trees["/dev/sda"] = memory_tree(ROOT)
    with opened_disks(image) as artifact:
        assert select_root(artifact, asked(everything=True)).tree.info.format == "memory"


def test_the_engine_is_as_the_option_says() -> None:
    assert second_engine(Engine.NATIVE) is None
    for engine, replaces in ((Engine.AUTO, False), (Engine.LIBGUESTFS, True)):
        made = second_engine(engine)
        assert made is not None
        assert made.replaces_native is replaces


DAMAGED = (("jfs", "-q", 0x9000), ("reiserfs", "-f -f -q", 32 * MIB), ("f2fs", "-q", 2 * MIB))
"""Filesystems, options for mkfs, and where what the kernel needs is overwritten."""


def machines() -> list[int]:
    """Return the numbers of the emulators that children of this process have started."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that ends just now
            start, _, rest = path.read_text().rpartition(") ")
            number, _, name = start.partition(" (")
            _, parent, group, *_ = rest.split()
            processes.append((int(number), name, int(parent), int(group)))
    ours = {number for number, _, parent, _ in processes if parent == os.getpid()}
    return [number for number, name, _, group in processes if group in ours and "qemu" in name]


@pytest.mark.guestfs
@pytest.mark.timeout(2 * START_SECONDS)
def test_a_damaged_root_is_repaired_by_libguestfs_whatever_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 160 MiB, since smaller filesystems have no copy of their superblock."""
    try:
        find_binding(EngineSettings(dict(os.environ)))
    except MissingDependencyError as error:
        refuse(str(error))
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "direct")
    beside = [Made(f"mkfs.{kind} {options} {{image}}", 64) for kind, options, _ in DAMAGED]
    image = disk(tmp_path / "disk.raw", Ext4(root_files("Broken"), size_mib=160), *beside)
    patch(image, MIB + 1024, bytes(1024))
    for number, (*_, offset) in enumerate(DAMAGED):
        patch(image, (161 + 64 * number) * MIB + offset, noise(4 * MIB, number))
    options = ConvertOptions(platform=("linux", "amd64", None))
    native = options.model_copy(update={"engine": Engine.NATIVE})
    with (
        opened(image, native) as artifact,
        pytest.raises(UnsupportedError, match="no Linux root can be read in it"),
    ):
        make_plan(artifact, native)
    with opened(image, options) as artifact:
        plan = make_plan(artifact, options)
        system = plan.decisions.facts.operating_system
        assert system is not None
        assert system.pretty_name == "Broken Linux 1"
        (table,) = artifact.nodes
        root, *others = table.children
        assert root.tree is not None
        for node, (kind, *_) in zip(others, DAMAGED, strict=True):
            assert f"; libguestfs: {kind} cannot be mounted: " in str(node.problem)
        (qemu,) = machines()
        os.kill(qemu, signal.SIGKILL)
        with pytest.raises(InputReadError, match=r"gpt:1: .*libguestfs cannot read it: .*killed"):
            list(root.tree.entries())
    assert machines() == []
    rules = {finding.rule for finding in plan.decisions.findings}
    assert {"read-by-libguestfs", "filesystem-repaired"} <= rules
