from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from formats.core.errors import AmbiguousError, UnsupportedError
from formats.core.opener import Artifact, Node
from tests.images.lvm import Lvm, LvmVolume, blank_disks, lvm_on
from tests.images.volumes import MIB, blank, opened
from tests.support.disks import check_extents, whole
from tests.support.memory_tree import varied
from tests.support.programs import run


@dataclass(frozen=True, slots=True)
class Group:
    """Three disks, what lvm says of them, and what was written into each logical volume."""

    disks: tuple[Path, ...]
    volumes: tuple[LvmVolume, ...]
    contents: dict[str, bytes]


def _make(lvm: Lvm) -> None:
    lvm("pvcreate", "-y", *lvm.devices)
    lvm("vgcreate", "-s", "64k", "vg-with--dashes", *lvm.devices)
    for name, *arguments in (
        ("root-fs", "-L", "3M"),
        ("var", "-L", "2M"),
        ("striped2", "-i", "2", "-I", "4k", "-L", "2M"),
        ("striped3", "-i", "3", "-I", "32k", "-l", "24"),
        ("zeros", "--type", "zero", "-L", "1M"),
    ):
        lvm.create(f"vg-with--dashes/{name}", *arguments)
    # Grown behind other volumes: another chunk size, and more than one disk has left.
    lvm("lvextend", "-y", "-i", "2", "-I", "64k", "-L", "+1M", "vg-with--dashes/striped2")
    lvm("lvextend", "-y", "-L", "+6M", "vg-with--dashes/root-fs")


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    folder = tmp_path_factory.mktemp("lvm")
    disks = blank_disks(folder, 3, 8 * MIB)
    with lvm_on(folder, *disks) as lvm:
        _make(lvm)
        volumes = tuple(lvm.volumes())
        contents = {}
        for seed, volume in enumerate(volumes):
            data = varied(volume.size, seed)
            if volume.segments[0].kind == "zero":
                data = bytes(volume.size)
            lvm.write(volume, data)
            contents[volume.label] = data
    return Group(tuple(disks), volumes, contents)


def _volumes(artifact: Artifact) -> dict[str, Node]:
    """Return the logical volumes of what was assembled, by label."""
    (assembled,) = [node for node in artifact.nodes if node.members]
    assert assembled.problem is None
    return {node.volume.label: node for node in assembled.children}


def test_the_recipe_has_several_segments_and_every_kind(group: Group) -> None:
    shapes = {
        volume.label.partition("/")[2]: [len(segment.legs) for segment in volume.segments]
        for volume in group.volumes
    }
    assert shapes["striped2"] == [2, 2]
    assert shapes["striped3"] == [3]
    assert shapes["zeros"] == [0]
    (root,) = [volume for volume in group.volumes if volume.label.endswith("/root-fs")]
    assert len({leg.device for segment in root.segments for leg in segment.legs}) > 1


def test_volumes_hold_what_was_written_at_the_extents_that_lvs_names(group: Group) -> None:
    with opened(*group.disks) as artifact:
        for label, node in _volumes(artifact).items():
            assert node.problem is None
            assert whole(node.volume.source, 1_000_003) == group.contents[label]


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_the_order_of_the_disks_makes_no_difference(group: Group, order: Sequence[int]) -> None:
    with opened(*(group.disks[number] for number in order)) as artifact:
        for label, node in _volumes(artifact).items():
            assert whole(node.volume.source) == group.contents[label]


@pytest.mark.parametrize("step", [1_500, 4_096, 40_000])
def test_reads_of_any_size_cross_chunks_rightly(group: Group, step: int) -> None:
    with opened(*group.disks) as artifact:
        for name in ("striped2", "striped3"):
            node = _volumes(artifact)[f"vg-with--dashes/{name}"]
            node.volume.source.will_need([(0, step), (100_000, 300_000), (0, 1 << 40)])
            assert whole(node.volume.source, step) == group.contents[node.volume.label]


def test_extents_cover_volumes_and_their_holes_are_zeros(group: Group) -> None:
    with opened(*group.disks) as artifact:
        holes = {
            label: check_extents(node.volume.source) for label, node in _volumes(artifact).items()
        }
    assert holes["vg-with--dashes/zeros"] == MIB


def test_an_unwritten_striped_volume_is_one_hole(tmp_path: Path) -> None:
    disks = blank_disks(tmp_path, 2, 8 * MIB)
    with lvm_on(tmp_path, *disks) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
        lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
        lvm.create("vg/empty", "-i", "2", "-I", "4k", "-L", "4M")
    with opened(*disks) as artifact:
        source = _volumes(artifact)["vg/empty"].volume.source
        assert check_extents(source) == 4 * MIB
        assert len(list(source.extents())) == 1


def test_names_uuids_and_device_names_are_those_of_lvs(group: Group) -> None:
    with opened(*group.disks) as artifact:
        nodes = _volumes(artifact)
    assert nodes.keys() == {volume.label for volume in group.volumes}
    for volume in group.volumes:
        ours = nodes[volume.label].volume
        assert (ours.uuid, ours.source.size) == (volume.uuid, volume.size)
        assert ours.device_names[:2] == volume.device_names
    assert (
        "mapper/vg--with----dashes-root--fs" in nodes["vg-with--dashes/root-fs"].volume.device_names
    )


def test_breadcrumbs_name_the_disk_a_volume_starts_on(group: Group) -> None:
    with opened(*group.disks) as artifact:
        origin = _volumes(artifact)["vg-with--dashes/root-fs"].origin
    assert str(origin) == "disk0.raw › lvm:vg-with--dashes/root-fs"


def test_a_missing_disk_is_named_and_what_is_on_the_others_is_read(group: Group) -> None:
    with opened(*group.disks[:1]) as artifact:
        nodes = _volumes(artifact)
        facts = artifact.nodes[-1].facts
        problem = nodes["vg-with--dashes/striped2"].problem
        alone = [label for label, node in nodes.items() if node.problem is None]
        assert all(whole(nodes[label].volume.source) == group.contents[label] for label in alone)
    assert facts["vg-with--dashes"].startswith("1 of 3 disks")
    assert "vg-with--dashes/var" in alone
    assert isinstance(problem, UnsupportedError)
    assert "needs the physical volume " in problem.message
    assert " on that machine)" in problem.message
    assert problem.hint == "give all disks of the machine together"


def test_two_copies_of_one_disk_are_not_mixed(group: Group, tmp_path: Path) -> None:
    copy = tmp_path / "copy.raw"
    shutil.copy(group.disks[0], copy)
    with opened(*group.disks, copy) as artifact:
        nodes = _volumes(artifact)
    problem = nodes["vg-with--dashes/var"].problem
    assert isinstance(problem, AmbiguousError)
    assert "disk0.raw and copy.raw both are the physical volume" in problem.message


def test_groups_of_one_name_are_told_apart_by_their_uuid(tmp_path: Path) -> None:
    disks = blank_disks(tmp_path, 2, 4 * MIB)
    for disk in disks:
        with lvm_on(tmp_path, disk) as lvm:
            lvm("pvcreate", "-y", *lvm.devices)
            lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
            lvm.create("vg/root", "-L", "1M")
    with opened(*disks) as artifact:
        nodes = _volumes(artifact)
    assert len(nodes) == 2
    assert all(label.startswith("vg@") and label.endswith("/root") for label in nodes)
    assert [node.volume.device_names for node in nodes.values()] == [(), ()]
    assert all(node.problem is None for node in nodes.values())


def test_a_group_inside_a_volume_of_another_is_found(tmp_path: Path) -> None:
    disks = blank_disks(tmp_path, 2, 24 * MIB)
    image = tmp_path / "ext4.img"
    run("mke2fs", "-q", "-t", "ext4", "-L", "inner", image, "4M")
    nested = blank(tmp_path / "nested.raw", 8 * MIB)
    with lvm_on(tmp_path, nested) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
        lvm("vgcreate", "-s", "64k", "inner", *lvm.devices)
        lvm.create("inner/root", "-L", "4M")
        lvm.write(lvm.volumes()[0], image.read_bytes())
    with lvm_on(tmp_path, *disks) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
        lvm("vgcreate", "-s", "64k", "outer", *lvm.devices)
        lvm.create("outer/pv", "-i", "2", "-I", "16k", "-L", "8M")
        lvm.write(lvm.volumes()[0], nested.read_bytes())
    with opened(*disks) as artifact:
        found = {node.volume.label: node.tree.info.label for node in artifact.walk() if node.tree}
    assert found == {"inner/root": "inner"}
