"""The root of live media is the live system, on whatever they are; installers are named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Never

import pytest

from convert.select.request import Request
from convert.select.root import select_browsable, select_root, select_volume
from formats.core.errors import AmbiguousError, ConvertError, CorruptError, UnsupportedError
from formats.core.finding import Finding
from formats.core.limits import Limits
from formats.core.opener import open_artifact
from formats.core.tree import Tree
from tests.images import media
from tests.images.media import LAYOUTS, ext4_stick, fat_stick, iso, live_root, medium_of, squash
from tests.images.systems import Ext4, Files, root_files, write_files
from tests.support.listing import Row, difference, kernel_listing, tree_listing
from tests.support.programs import corpus, need_root, run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_root(tmp_path_factory.mktemp("live") / "root")


@contextmanager
def selected(
    *images: Path, wanted: str | None = None, limits: Limits | None = None
) -> Iterator[tuple[Tree, list[Finding]]]:
    limits = limits or Limits()
    with open_artifact(images, limits=limits) as artifact:
        tree = select_root(artifact, Request(root=wanted, limits=limits)).tree
        yield tree, artifact.findings


def listing(*images: Path, wanted: str | None = None) -> dict[bytes, Row]:
    with selected(*images, wanted=wanted) as (tree, _):
        return tree_listing(tree)


def refusal(*images: Path, wanted: str | None = None) -> ConvertError:
    with pytest.raises(ConvertError) as caught, selected(*images, wanted=wanted):
        pass
    return caught.value


def of_medium(files: Files, folder: Path) -> Path:
    medium = folder / "files"
    write_files(medium, files)
    return iso(medium, folder / "medium.iso")


def without_mke2fs(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Leave out what mke2fs does not take from the folder that it copies."""
    kept = {path: row for path, row in rows.items() if path != b"lost+found"}
    return {**kept, b"": replace(rows[b""], mtime_ns=0)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_live_system_of_an_iso_is_the_root(layout: str, root: Path, tmp_path: Path) -> None:
    image = iso(medium_of(LAYOUTS[layout], root, tmp_path), tmp_path / "live.iso")
    assert difference(without_mke2fs(kernel_listing(root)), without_mke2fs(listing(image))) == []


@pytest.mark.parametrize("stick", [fat_stick, ext4_stick])
def test_the_live_system_of_a_stick_is_the_root(
    stick: media.Write, root: Path, tmp_path: Path
) -> None:
    medium = medium_of(LAYOUTS["LiveOS, ext4 in squashfs"], root, tmp_path)
    image = stick(medium, tmp_path / "stick.img")
    assert difference(without_mke2fs(kernel_listing(root)), without_mke2fs(listing(image))) == []


def test_a_compressed_iso_is_the_same(root: Path, tmp_path: Path) -> None:
    image = iso(medium_of(LAYOUTS["live-boot"], root, tmp_path), tmp_path / "live.iso")
    run("gzip", "-1", image)
    assert difference(kernel_listing(root), listing(tmp_path / "live.iso.gz")) == []


def make_layers(folder: Path) -> tuple[Path, ...]:
    """Make three folders as overlayfs leaves them, with marks for what is deleted."""
    need_root()
    minimal, standard, live = (folder / name for name in ("minimal", "standard", "live"))
    write_files(
        minimal, root_files("Stacked", **{"usr/a/old": "x", "usr/b/old": "y", "srv/x": "z"})
    )
    write_files(standard, {"etc/motd": "standard\n", "usr/a/new": "x", "usr/b/new": "y"})
    os.mknod(standard / "srv", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(standard / "usr/a", "trusted.overlay.opaque", b"y")
    write_files(live, {"etc/motd": "live\n", "home/live/.profile": "x"})
    (live / "home/live").chmod(0o700)
    for layer in (minimal, standard, live):
        media.set_times(layer)
    return minimal, standard, live


def casper_medium(layers: tuple[Path, ...], folder: Path) -> Path:
    minimal, standard, live = layers
    medium = folder / "medium"
    squash(minimal, medium / "casper/minimal.squashfs")
    squash(standard, medium / "casper/minimal.standard.squashfs")
    squash(live, medium / "casper/minimal.standard.live.squashfs")
    return medium


def overlaid(layers: tuple[Path, ...], place: Path) -> dict[bytes, Row]:
    """Return what overlayfs of the kernel shows of folders."""
    place.mkdir()
    folders = ":".join(str(layer) for layer in reversed(layers))
    run("mount", "-t", "overlay", "-o", f"ro,lowerdir={folders}", "none", place)
    try:
        return kernel_listing(place)
    finally:
        run("umount", place)


def test_layers_of_casper_are_what_overlayfs_of_the_kernel_makes_of_them(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="convert-layers-") as folder:
        base = Path(folder)
        run("mount", "-t", "tmpfs", "none", base)  # a filesystem with attributes, whatever /tmp is
        try:
            layers = make_layers(base)
            image = iso(casper_medium(layers, base), tmp_path / "live.iso")
            assert difference(overlaid(layers, base / "all"), listing(image)) == []
            standard = overlaid(layers[:2], base / "standard only")
            assert difference(standard, listing(image, wanted="live:minimal.standard")) == []
            assert listing(image, wanted="live:minimal")[b"srv/x"].size == 1
        finally:
            run("umount", base)


def test_a_module_of_slax_deletes_what_is_in_the_bundles_below(root: Path, tmp_path: Path) -> None:
    medium = medium_of(LAYOUTS["Slax"], root, tmp_path)
    module = tmp_path / "module"
    write_files(module, {"var/.wh.link": "", "home/.wh..wh..opq": "", "etc/motd": "a module\n"})
    squash(module, medium / "slax/modules/10-mine.sb")
    rows = listing(iso(medium, tmp_path / "slax.iso"))
    expected = set(kernel_listing(root)) - {b"var/link"} | {b"etc/motd"}
    assert set(rows) == expected


def test_the_medium_itself_is_there_for_who_asks(root: Path, tmp_path: Path) -> None:
    image = iso(medium_of(LAYOUTS["casper"], root, tmp_path), tmp_path / "live.iso")
    with open_artifact([image]) as artifact:
        live = select_browsable(artifact)
        assert b"etc/os-release" in {entry.path for entry in live.entries()}
        medium = select_volume(artifact, Request(root="medium"))
        assert b"casper/filesystem.squashfs" in {entry.path for entry in medium.entries()}
        (node,) = artifact.nodes
        assert node.facts["medium"] == "casper (Ubuntu live)"
        assert node.facts["packages"] == "2, as casper/filesystem.manifest says"


def test_for_the_tree_of_a_medium_its_systems_are_not_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = iso(medium_of(LAYOUTS["LiveOS, ext4 in squashfs"], root, tmp_path), tmp_path / "a.iso")

    def walked(filesystem: object) -> Never:
        raise AssertionError(f"{filesystem} was walked")

    monkeypatch.setattr("formats.filesystems.content_tree.walk", walked)
    with open_artifact([image]) as artifact:
        medium = select_volume(artifact, Request(root="medium"))
        assert b"LiveOS/squashfs.img" in {entry.path for entry in medium.entries()}
    with open_artifact([image]) as artifact, pytest.raises(AssertionError, match="was walked"):
        select_volume(artifact)


def test_kept_changes_of_a_stick_are_left_out_with_a_finding(root: Path, tmp_path: Path) -> None:
    medium = medium_of(LAYOUTS["casper"], root, tmp_path)
    (medium / "casper-rw").write_bytes(bytes(4096))
    with selected(fat_stick(medium, tmp_path / "stick.img")) as (_, findings):
        found = [finding.path for finding in findings if finding.rule == "live-changes"]
    assert found == [b"casper-rw"]


def test_a_live_image_among_the_files_of_a_machine_is_no_system_of_it(
    root: Path, tmp_path: Path
) -> None:
    disk, stick = tmp_path / "disk.img", tmp_path / "stick.img"
    Ext4(root_files("Machine")).make(disk)
    fat_stick(medium_of(LAYOUTS["live-boot"], root, tmp_path), stick)
    rows = listing(disk, stick)
    assert b"usr/share/doc/readme" not in rows
    assert b"usr/share/doc/readme" in listing(disk, stick, wanted="live")


def test_several_live_systems_are_a_choice(root: Path, tmp_path: Path) -> None:
    medium = medium_of(LAYOUTS["live-boot"], root, tmp_path)
    LAYOUTS["Slax"](root, medium, tmp_path)
    image = iso(medium, tmp_path / "live.iso")
    error = refusal(image)
    assert isinstance(error, AmbiguousError)
    assert error.hint == "choose one: --root live:live or --root live:slax"
    assert difference(kernel_listing(root), listing(image, wanted="live:slax")) == []


def test_a_damaged_live_system_is_told_and_the_medium_can_be_looked_at(
    root: Path, tmp_path: Path
) -> None:
    medium = medium_of(LAYOUTS["live-boot"], root, tmp_path)
    with (medium / "live/filesystem.squashfs").open("r+b") as file:
        file.truncate(500)
    image = iso(medium, tmp_path / "live.iso")
    error = refusal(image)
    assert isinstance(error, CorruptError)
    assert "live: " in error.message
    with open_artifact([image]) as artifact:
        tree = select_browsable(artifact, Request(root="medium"))
        assert b"live/filesystem.squashfs" in {entry.path for entry in tree.entries()}


def test_a_layer_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    layers = make_layers(tmp_path / "layers")
    medium = casper_medium(layers, tmp_path)
    (medium / "casper/minimal.standard.squashfs").write_bytes(b"hsqs" + bytes(2000))
    error = refusal(iso(medium, tmp_path / "live.iso"))
    assert isinstance(error, UnsupportedError)
    assert "no Linux root can be read in it: live: " in error.message


def test_systems_that_are_packed_too_often_are_refused(root: Path, tmp_path: Path) -> None:
    inner = tmp_path / "0.squashfs"
    squash(root, inner)
    for number in range(1, 5):
        folder = tmp_path / str(number)
        folder.mkdir()
        os.link(inner, folder / "inner.squashfs")
        inner = squash(folder, tmp_path / f"{number}.squashfs")
    with selected(inner) as (tree, _):
        assert any(entry.path == b"etc/os-release" for entry in tree.entries())
    with (
        pytest.raises(ConvertError, match="more than 3 deep"),
        selected(inner, limits=Limits(nesting=3)),
    ):
        pass


@pytest.mark.parametrize(
    ("files", "title", "pools"),
    [
        (media.DEBIAN_INSTALLER, "Debian or Ubuntu installation", "/ (2 deb packages)"),
        (media.FEDORA_INSTALLER, "Fedora 40", "/AppStream (1 rpm package), /BaseOS"),
        (media.ALPINE, "Alpine Linux medium", "/apks/x86_64 (2 apk packages)"),
        (media.WINDOWS, "a Windows installation medium", ""),
    ],
)
def test_an_installer_is_named_with_its_pools_and_can_be_looked_at(
    files: Files, title: str, pools: str, tmp_path: Path
) -> None:
    image = of_medium(files, tmp_path)
    error = refusal(image)
    assert isinstance(error, UnsupportedError)
    assert title in error.message
    assert pools in error.message
    with open_artifact([image]) as artifact:
        tree = select_volume(artifact)
        assert {path.encode() for path in files} <= {entry.path for entry in tree.entries()}


def test_the_boot_medium_of_the_corpus_is_named() -> None:
    error = refusal(corpus("iso/debian__grub-rescue-cdrom.iso"))
    assert error.message.startswith("is a GRUB rescue medium: there is no system on it")


def test_the_live_medium_of_the_corpus_has_its_root() -> None:
    rows = listing(corpus("iso/derived__alpine-live-squashfs.iso"))
    assert len(rows) == 760  # 759 and the root folder, as the corpus says
    assert rows[b"etc/alpine-release"].size
