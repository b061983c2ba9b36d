"""What media are told from: names of files, and what boot loaders and installers say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from formats.core.entry import Entry, Kind
from formats.core.stacked import Whiteouts
from formats.core.tree import TreeIndex, walk_order
from formats.media.medium import LiveSystem, Medium
from formats.media.pools import described
from formats.media.recognise import recognise
from tests.images import media
from tests.support.memory_tree import MemoryTree

SQUASHFS = "hsqs and so on"
SUBIQUITY = """\
version: 2
sources:
- default: false
  path: minimal.squashfs
  type: fsimage-layered
- default: true
  id: ubuntu-server
  path: minimal.server.squashfs
"""


def medium(files: Mapping[str, str]) -> Medium | None:
    contents = {path.encode(): text.encode() for path, text in files.items()}
    folders = {b""}
    for path in contents:
        parts = path.split(b"/")[:-1]
        folders |= {b"/".join(parts[: count + 1]) for count in range(len(parts))}
    entries = [
        Entry(path, Kind.FOLDER, 0o755)
        if path in folders
        else Entry(path, Kind.FILE, 0o644, size=len(contents[path]))
        for path in walk_order(folders | contents.keys())
    ]
    return recognise(TreeIndex(MemoryTree(entries, contents)))


def systems(files: Mapping[str, str]) -> tuple[LiveSystem, ...]:
    found = medium(files)
    assert found is not None
    return found.systems


def images(*paths: str) -> dict[str, str]:
    return dict.fromkeys(paths, SQUASHFS)


def layers(*paths: str, more: Mapping[str, str] | None = None) -> dict[str, tuple[bytes, ...]]:
    """Return the layers of the systems that are started, by name."""
    found = systems({**images(*paths), **(more or {})})
    return {system.name: system.layers for system in found if system.is_default}


CASPER = (
    "casper/minimal.squashfs",
    "casper/minimal.de.squashfs",
    "casper/minimal.standard.squashfs",
    "casper/minimal.standard.live.squashfs",
    "casper/minimal.standard.enhanced-secureboot.squashfs",
)
STANDARD = (b"casper/minimal.squashfs", b"casper/minimal.standard.squashfs")


def test_a_tree_without_anything_of_a_medium_is_none() -> None:
    assert medium({"etc/motd": "x", "photos/cat.jpg": "x"}) is None
    assert medium({}) is None


def test_layers_of_casper_lie_on_those_that_their_names_begin_with() -> None:
    assert layers(*CASPER) == {
        "minimal.standard.live": (*STANDARD, b"casper/minimal.standard.live.squashfs")
    }


def test_the_boot_loader_says_which_layers_casper_takes() -> None:
    config = "linux /casper/vmlinuz layerfs-path=minimal.standard.squashfs quiet ---\n"
    found = layers(*CASPER, more={"boot/grub/grub.cfg": config})
    assert found == {"minimal.standard": STANDARD}


def test_a_boot_loader_that_names_no_image_of_casper_is_not_believed() -> None:
    config = "linux /casper/vmlinuz layerfs-path=../../etc.squashfs\n"
    assert set(layers(*CASPER, more={"boot/grub/grub.cfg": config})) == {"minimal.standard.live"}


def test_the_default_of_the_installer_is_taken_where_nothing_is_live() -> None:
    found = layers(
        "casper/minimal.squashfs",
        "casper/minimal.server.squashfs",
        "casper/minimal.server.installer.squashfs",
        "casper/minimal.server.installer.generic.squashfs",
        more={"casper/install-sources.yaml": SUBIQUITY},
    )
    assert found == {
        "minimal.server": (b"casper/minimal.squashfs", b"casper/minimal.server.squashfs")
    }


def test_the_tops_of_all_stacks_are_a_choice_where_nothing_says_which() -> None:
    found = layers("casper/a.squashfs", "casper/a.x.squashfs", "casper/a.y.squashfs")
    assert set(found) == {"a.x", "a.y"}


def test_other_stacks_of_casper_are_there_for_who_asks() -> None:
    found = systems(images(*CASPER))
    assert {system.name for system in found if not system.is_default} == {
        "minimal",
        "minimal.de",
        "minimal.standard",
        "minimal.standard.enhanced-secureboot",
    }


def test_images_of_casper_whose_names_are_no_stack_are_one_system_in_their_order() -> None:
    found = layers("casper/20-lang.squashfs", "casper/10-base.squashfs")
    assert found == {"casper": (b"casper/10-base.squashfs", b"casper/20-lang.squashfs")}


def test_live_boot_takes_all_images_by_name_without_a_list() -> None:
    found = layers("live/filesystem.squashfs", "live/a.squashfs", more={"live/initrd.img": "x"})
    assert found == {"live": (b"live/a.squashfs", b"live/filesystem.squashfs")}


def test_live_boot_takes_the_images_of_its_list_in_that_order() -> None:
    found = layers(
        *("live/filesystem.squashfs", "live/a.squashfs", "live/unused.squashfs"),
        more={"live/filesystem.module": "filesystem.squashfs\na.squashfs missing.squashfs\n"},
    )
    assert found == {"live": (b"live/filesystem.squashfs", b"live/a.squashfs")}


def test_the_boot_loader_says_where_live_boot_looks() -> None:
    config = "append boot=live live-media-path=/other/place quiet\n"
    found = layers("other/place/filesystem.squashfs", more={"isolinux/live.cfg": config})
    assert found == {"live": (b"other/place/filesystem.squashfs",)}


def test_airootfs_of_several_processors_is_a_choice() -> None:
    found = layers("arch/x86_64/airootfs.sfs", "arch/i686/airootfs.sfs")
    assert set(found) == {"arch/x86_64", "arch/i686"}


def test_bundles_of_slax_are_in_the_order_of_their_numbers_and_modules_are_on_top() -> None:
    (found,) = systems(images("slax/9-x.sb", "slax/10-a.sb", "slax/modules/1-mine.sb"))
    assert found.layers == (b"slax/9-x.sb", b"slax/10-a.sb", b"slax/modules/1-mine.sb")
    assert found.whiteouts is Whiteouts.OCI


@pytest.mark.parametrize("path", ["LIVEOS/SQUASHFS.IMG", "liveos/squashfs.img"])
def test_names_are_found_whatever_their_case(path: str) -> None:
    assert layers(path) == {"LiveOS": (path.encode(),)}


def test_of_several_images_anywhere_none_is_the_root() -> None:
    assert medium(images("a/one.squashfs", "b/two.squashfs")) is None
    assert medium({"a/one.squashfs": "not an image"}) is None
    assert layers("a/one.squashfs", "boot/modloop-lts.sfs") == {
        "one.squashfs": (b"a/one.squashfs",)
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("boot/grub/grub.cfg", " layerfs-path=" * 18_000),
        ("casper/install-sources.yaml", "\n" * 4_000_000),
        ("casper/install-sources.yaml", "\n path:" + " " * 4_000_000),
        (".treeinfo", "\n" * 4_000_000),
        (".treeinfo", "name =" + " a" * 2_000_000),
    ],
)
def test_texts_that_are_made_to_take_long_do_not(path: str, text: str) -> None:
    files = {**media.FEDORA_INSTALLER, path: text}
    assert medium(files) is not None
    assert layers(*CASPER, more={path: text})


def test_two_layouts_on_one_medium_are_a_choice() -> None:
    assert set(layers("LiveOS/squashfs.img", "live/filesystem.squashfs")) == {"LiveOS", "live"}


def test_a_live_system_comes_before_the_installer_beside_it() -> None:
    found = medium({**media.DEBIAN_INSTALLER, **images("live/filesystem.squashfs")})
    assert found is not None
    assert found.installer is None
    assert [system.name for system in found.systems] == ["live"]
    assert found.facts["pools"] == "/ (2 deb packages)"


def test_what_a_stick_kept_of_its_runs_is_told() -> None:
    found = medium({**images("casper/filesystem.squashfs"), "casper-rw": "x", "home": "x"})
    assert found is not None
    assert found.changes == (b"casper-rw",)


INSTALLERS = {
    "a Debian or Ubuntu installation medium (Debian GNU/Linux 12.9.0": media.DEBIAN_INSTALLER,
    "a Fedora or RHEL-like installation medium (Fedora 40)": media.FEDORA_INSTALLER,
    "an Alpine Linux medium, whose root is put together": media.ALPINE,
    "a Windows installation medium": media.WINDOWS,
    "a SUSE installation medium (SUSE - openSUSE-Leap-15.6-x86_64": media.SUSE,
    "a Knoppix medium": media.KNOPPIX,
    "an Android-x86 medium": media.ANDROID,
}


@pytest.mark.parametrize("title", INSTALLERS)
def test_a_medium_without_a_system_is_named(title: str) -> None:
    found = medium(INSTALLERS[title])
    assert found is not None
    assert not found.systems
    assert found.installer is not None
    assert found.title.startswith(title)


POOLS = {
    "/ (2 deb packages)": media.DEBIAN_INSTALLER,
    "/AppStream (1 rpm package), /BaseOS (1 rpm package)": media.FEDORA_INSTALLER,
    "/apks/x86_64 (2 apk packages)": media.ALPINE,
    "/ (1 rpm package)": media.SUSE,
    "/extra (1 deb package)": {**media.WINDOWS, "extra/a/b.deb": "x"},
    "/extra/a (1 apk package)": {**media.WINDOWS, "extra/a/b.apk": "x"},
}


@pytest.mark.parametrize("words", POOLS)
def test_pools_begin_where_their_index_is(words: str) -> None:
    found = medium(POOLS[words])
    assert found is not None
    assert described(found.pools) == words


@pytest.mark.timeout(20)
def test_very_many_pools_take_no_time_and_are_counted() -> None:
    folders = [f"p{number}" for number in range(3000)]
    debs = {f"{name}/dists/x/Release": "x" for name in folders}
    debs |= {f"{name}/a.deb": "x" for name in folders}
    apks = {f"{name}/sub/a.apk": "x" for name in folders}
    found = medium({**media.WINDOWS, **debs, **apks})
    assert found is not None
    assert len(found.pools) == 6000
    assert described(found.pools).endswith("(1 apk package), and 5,960 more folders")
    assert found.facts["packages"].endswith(", and 2,960 more")


def test_the_packages_of_an_alpine_medium_are_listed() -> None:
    found = medium(media.ALPINE)
    assert found is not None
    assert found.facts["packages"] == "alpine-base-3.20.0-r0, busybox-1.36.1-r28"
