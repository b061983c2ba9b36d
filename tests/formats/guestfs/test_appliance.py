"""One appliance with many disks: against GNU tar, the kernel, and the native readers.

Without KVM a start takes a minute and more; there are two in this module, one to make disks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from formats.core.entry import Entry
from formats.core.errors import EncryptedError, MissingDependencyError, UnsupportedError
from formats.core.opener import open_artifact
from formats.core.reader import Volume
from formats.core.source import ByteSource, FileSource
from formats.core.tree import Tree
from formats.disks.qcow2.reader import READER as QCOW2
from formats.guestfs.binding import find_binding
from formats.guestfs.devices import Device
from formats.guestfs.engine import Appliance
from formats.guestfs.settings import EngineSettings
from tests.images.appliance import START_SECONDS, make_disks, tar_listing
from tests.images.btrfs_everything import mkfs as mkfs_btrfs
from tests.images.btrfs_everything import mounted as btrfs_mounted
from tests.images.ext_everything import fill, noise
from tests.images.luks import PASSPHRASE, cryptsetup, key_file
from tests.images.volumes import blank, patch, sfdisk
from tests.images.xfs_everything import LARGEST_DEVICE, without_duplicates
from tests.images.xfs_everything import mkfs as mkfs_xfs
from tests.support.disks import inside, opened
from tests.support.listing import (
    Row,
    difference,
    kernel_listing,
    loop_mounted_writable,
    tree_listing,
)
from tests.support.programs import need, refuse, run

pytestmark = [pytest.mark.guestfs, pytest.mark.timeout(2 * START_SECONDS)]

MIB = 1 << 20


@dataclass(frozen=True)
class World:
    """The appliance, the images it has, and what should be in them."""

    appliance: Appliance
    images: dict[str, Path]
    names: tuple[str, ...]
    wanted: dict[str, dict[bytes, Row]]
    progress: list[tuple[str, int, int]]

    def device(self, name: str) -> Device:
        """Return a device by its name, or by the name of the image that it is the whole of."""
        index = self.names.index(name) if name in self.names else -1
        (found,) = (
            device
            for device in self.appliance.devices()
            if device.name == name or device.drive == index
        )
        return found

    def listing(self, name: str) -> dict[bytes, Row]:
        return tree_listing(self.appliance.tree(self.device(name)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = EngineSettings(dict(os.environ), launch_seconds=START_SECONDS)
    try:
        find_binding(settings)
    except MissingDependencyError as error:
        refuse(str(error))
    folder = tmp_path_factory.mktemp("appliance")
    images = make_disks(folder)
    wanted = {path.stem: tar_listing(path) for path in folder.glob("*.out")}
    for name, make in (("ext4", _ext4), ("xfs", _xfs), ("btrfs", _btrfs)):
        images[name], wanted[name] = make(folder)
    images["damaged"] = patch(_copy(images["ext4"], "damaged"), 1024, bytes(1024))
    images["locked"] = _locked(folder)
    images["hfsplus"] = _hfsplus(folder)
    images["streams"] = _streams(folder)
    images["gpt"] = sfdisk(
        folder / "gpt.img", 8 * MIB, "label: gpt\nsize=4MiB, type=uefi, name=x\n"
    )
    run("mkfs.vfat", "-n", "FIRMWARE", "--offset", "2048", images["gpt"], "4096")
    with ExitStack() as stack:
        sources = [_source(path, stack) for path in images.values()]
        progress: list[tuple[str, int, int]] = []
        appliance = stack.enter_context(
            Appliance(
                sources, settings, lambda *step: progress.append(step), [b"wrong", PASSPHRASE]
            )
        )
        yield World(appliance, images, tuple(images), wanted, progress)


def _source(path: Path, stack: ExitStack) -> ByteSource:
    """Return the bytes of an image; that of F2FS out of a qcow2."""
    if path.stem != "f2fs":
        return FileSource(path)
    packed = path.with_suffix(".qcow2")
    run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", path, packed)
    return inside(stack.enter_context(opened(packed, QCOW2)))


def _copy(path: Path, name: str) -> Path:
    return Path(shutil.copy(path, path.with_name(f"{name}.img")))


def _filled_and_cut_off(image: Path, filesystem: str) -> dict[bytes, Row]:
    """Fill a filesystem and stop it with all changes in its journal; return the kernel's view."""
    need("xfs_io")
    with loop_mounted_writable(image, filesystem) as root:
        fill(root, names=60, has_content=False, largest_device=LARGEST_DEVICE)
        (root / "content").write_bytes(b"written before the crash" * 1000)
        rows = kernel_listing(root)
        run("sync", "--file-system", root)  # data; all else is in the journal anyway
        run("xfs_io", "-x", "-c", "shutdown -f", root)
    return rows


def _ext4(folder: Path) -> tuple[Path, dict[bytes, Row]]:
    need("mkfs.ext4")
    image = blank(folder / "ext4.img", 32 * MIB)
    run("mkfs.ext4", "-q", "-b", "1024", image)
    return image, _filled_and_cut_off(image, "ext4")


def _xfs(folder: Path) -> tuple[Path, dict[bytes, Row]]:
    image = mkfs_xfs(folder / "xfs.img")
    return image, without_duplicates(_filled_and_cut_off(image, "xfs"))


def _btrfs(folder: Path) -> tuple[Path, dict[bytes, Row]]:
    image = mkfs_btrfs(folder / "btrfs.img")
    with loop_mounted_writable(image, "btrfs") as root:
        (root / "top").write_bytes(b"on top")
        run("btrfs", "subvolume", "create", root / "inner")
        fill(root / "inner", names=60, has_content=False, largest_device=LARGEST_DEVICE)
        run("btrfs", "subvolume", "create", root / "inner" / "nested")
        (root / "inner" / "nested" / "hidden").touch()
        run("btrfs", "subvolume", "set-default", root / "inner")
    with btrfs_mounted(image) as root:
        rows = kernel_listing(root / "inner")
    return image, {path: row for path, row in rows.items() if not path.startswith(b"nested/")}


def _locked(folder: Path) -> Path:
    image = blank(folder / "locked.img", 20 * MIB)
    fast = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    cryptsetup("luksFormat", "--type", "luks2", *fast, image, key_file(folder, b"another key"))
    return image


def _streams(folder: Path) -> Path:
    """Make an NTFS whose files have named streams, one of them larger than Linux can read."""
    need("mkntfs", "ntfs-3g")
    image, point = blank(folder / "streams.img", 16 * MIB), folder / "streams"
    run("mkntfs", "-F", "-Q", "-q", "-s", "512", image)
    point.mkdir()
    run("ntfs-3g", "-o", "streams_interface=windows", image, point)
    try:
        for name, size in (("few", 100), ("many", 100_000)):
            (point / name).write_bytes(b"content")
            (point / f"{name}:stream").write_bytes(noise(size, size))
    finally:
        run("umount", point)
    return image


_HFS_VERSION = b"H+\x00\x04"
_HFS_HEADER = 1024


def _hfsplus(folder: Path) -> Path:
    """Make a small HFS+: cut out of an ISO image, as nothing else here makes one."""
    need("xorriso")
    source, iso, image = folder / "mac", folder / "mac.iso", folder / "hfsplus.img"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "file").write_bytes(noise(5000, 9))
    (source / "link").symlink_to("folder/file")
    run("xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-o", iso, source)
    data = iso.read_bytes()
    # the header is 1 KiB from the start, and its copy 1 KiB before the end
    first, last = data.index(_HFS_VERSION), data.rindex(_HFS_VERSION)
    image.write_bytes(data[first - _HFS_HEADER : last + _HFS_HEADER])
    return image


def native_listing(path: Path) -> dict[bytes, Row]:
    with open_artifact([path]) as artifact:
        (tree,) = (
            node.tree
            for node in artifact.walk()
            if node.tree is not None
            and (node.volume.subvolume is None or node.volume.subvolume.is_default)
        )
        return tree_listing(tree)


@pytest.mark.parametrize("name", ["jfs", "reiserfs", "f2fs"])
def test_what_no_native_reader_knows_is_as_tar_has_it(world: World, name: str) -> None:
    ours = world.listing(name)
    assert len(ours) > 150
    assert difference(world.wanted[name], ours) == []


def test_ntfs_is_as_tar_has_it_with_its_links_and_names(world: World) -> None:
    ours = world.listing("ntfs")
    assert difference(world.wanted["ntfs"], ours) == []
    assert ours["folder/größe €".encode()].size == len(b"resident")
    assert ours[b"link"].target == b"folder/nothing"
    assert ours[b"file"].links == (b"file", b"folder/second name")
    assert world.device("ntfs").label == "Windows"


def test_streams_of_ntfs_are_attributes_and_those_that_are_too_large_are_noted(
    world: World,
) -> None:
    ours = world.listing("streams")
    assert ours[b"few"].xattrs == ((b"user.stream", noise(100, 100)),)
    assert ours[b"many"].xattrs == ()
    assert ours[b"few"].digest == ours[b"many"].digest == hashlib.sha256(b"content").hexdigest()
    rules = {item.rule for item in world.appliance.findings if item.path == b"streams.img"}
    assert rules == {"streams-unread"}


def test_hfs_plus_is_read(world: World) -> None:
    assert world.device("hfsplus").kind == "hfsplus"
    ours = world.listing("hfsplus")
    assert ours[b"folder/file"].digest == hashlib.sha256(noise(5000, 9)).hexdigest()
    assert ours[b"link"].target == b"folder/file"


def test_a_dirty_jfs_is_replayed_and_noted(world: World) -> None:
    assert difference(world.wanted["jfs"], world.listing("jfs-dirty")) == []
    rules = {item.rule for item in world.appliance.findings if item.path == b"jfs-dirty.img"}
    assert rules == {"journal-replayed"}


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs"])
def test_both_engines_and_the_kernel_agree_on_a_dirty_filesystem(world: World, name: str) -> None:
    ours = world.listing(name)
    assert difference(world.wanted[name], ours) == []
    assert difference(native_listing(world.images[name]), ours) == []


def test_subvolumes_are_trees_of_their_own(world: World) -> None:
    device = world.device("btrfs")
    found = {item.path: item for item in world.appliance.subvolumes(device)}
    assert set(found) == {b"", b"inner", b"inner/nested"}
    assert [item.path for item in found.values() if item.is_default] == [b"inner"]
    nested = tree_listing(world.appliance.tree(device, found[b"inner/nested"].number))
    assert set(nested) == {b"", b"hidden"}
    assert set(tree_listing(world.appliance.tree(device, found[b""].number))) == {
        *(b"", b"inner", b"top"),
    }


def test_an_ext4_without_superblock_is_repaired_in_memory_and_noted(world: World) -> None:
    image = world.images["damaged"]
    before = image.read_bytes()
    assert difference(world.wanted["ext4"], world.listing("damaged")) == []
    rules = {item.rule for item in world.appliance.findings if item.path == b"damaged.img"}
    assert rules == {"filesystem-repaired"}
    assert image.read_bytes() == before


def test_raid_of_three_disks_is_put_together(world: World) -> None:
    device = world.device("/dev/md127")
    assert device.drives == {world.names.index(name) for name in ("raid1", "raid2", "raid3")}
    assert difference(world.wanted["raid"], world.listing("/dev/md127")) == []


def test_a_thin_volume_inside_of_luks_is_found_with_the_key(world: World) -> None:
    name = "/dev/group-of-thin/root"
    assert difference(world.wanted["thin"], world.listing(name)) == []
    assert world.device(name).drives == {world.names.index("thin")}
    names = {device.name for device in world.appliance.devices()}
    assert not any("tdata" in other or "pool" in other for other in names)


def test_native_readers_read_a_thin_volume_through_the_appliance(world: World) -> None:
    device = world.device("/dev/group-of-thin/root")
    with open_artifact([Volume(world.appliance.block(device), "thin")]) as artifact:
        (node,) = artifact.nodes
        assert node.tree is not None, node.problem
        native = tree_listing(node.tree)
    assert difference(native, world.listing(device.name)) == []


def test_a_volume_without_its_key_is_refused_by_name(world: World) -> None:
    with pytest.raises(EncryptedError, match="no key was given that opens it"):
        world.appliance.tree(world.device("locked"))


def test_what_is_no_filesystem_is_refused_by_name(world: World) -> None:
    with pytest.raises(UnsupportedError, match="a part of a RAID array"):
        world.appliance.tree(world.device("raid1"))


def test_partitions_know_their_disk(world: World) -> None:
    disk = world.device("gpt")
    (partition,) = (
        device for device in world.appliance.devices() if device.name == f"{disk.name}1"
    )
    assert partition.drives == {disk.drive}
    assert (partition.kind, partition.label, partition.size) == ("vfat", "FIRMWARE", 4 * MIB)


def test_the_start_is_shown(world: World) -> None:
    assert {stage for stage, _, _ in world.progress} == {"starting libguestfs"}
    assert world.progress[-1][1] == world.progress[-1][2]


def test_files_are_read_in_any_order_and_again(world: World) -> None:
    tree = world.appliance.tree(world.device("jfs"))
    files = [entry for entry in tree.entries() if entry.size]
    digests = {entry.path: world.wanted["jfs"][entry.path].digest for entry in files}

    tree.will_read(files)
    for entry in files[::-1]:
        assert _digest(tree, entry) == digests[entry.path]
    tree.will_read(files)
    large = max(files, key=lambda entry: entry.size)
    half_read = tree.read(large)
    begun = len(next(half_read))
    for entry in files:
        assert _digest(tree, entry) == digests[entry.path]
    assert begun < large.size
    assert begun + sum(map(len, half_read)) == large.size


def _digest(tree: Tree, entry: Entry) -> str:
    return hashlib.sha256(b"".join(tree.read(entry))).hexdigest()
