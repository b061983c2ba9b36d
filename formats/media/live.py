"""Layouts of live media, each by the boot system that mounts it.

Specification: dracut.cmdline(7) "Booting live images"; casper(7) and Ubuntu's "layered squashfs"
as subiquity's install-sources.yaml describes them; live-boot(7) "FILES" and "module="; archiso's
README.bootparams and README.profile.rst ``airootfs_image_type``; Slax's and Porteus'
documentation on bundles and modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from formats.core.entry import Entry
from formats.core.origin import printable
from formats.core.stacked import Whiteouts
from formats.media.medium import LiveSystem, MediumFiles

Finder = Callable[[MediumFiles], Sequence[LiveSystem]]

_BOOT_CONFIGS = r"(boot/grub/|isolinux/|syslinux/|efi/boot/)(.*/)?[^/]+\.cfg"
_LAYERFS_PATH = re.compile(r"\blayerfs-path=(\S{1,255}?)\.squashfs\b")
_LIVE_MEDIA_PATH = re.compile(r"\blive-media-path=/?(\S{1,255})")
_BOOT_CONFIG_BYTES = 1 << 18
_MOST_BOOT_CONFIGS = 64

_DEFAULT_SOURCE = re.compile(r"(?m)^[ \t]+default:[ \t]*true[ \t]*$")
_SOURCE_PATH = re.compile(r"(?m)^[ \t]+path:[ \t]*(\S{1,255})\.squashfs[ \t]*$")

_LIVEOS_IMAGES = (b"liveos/squashfs.img", b"liveos/rootfs.img", b"liveos/ext3fs.img")
_IMAGE_ENDINGS = r".+\.(squashfs|sqfs|sqsh|sfs|erofs|ext[234]|img)"
_LONE_ENDINGS = r".+\.(squashfs|sqfs|sqsh|sfs|erofs)"
_KERNEL_MODULES = re.compile(rb"(modloop|modules)[^/]*$")
_MOST_LOOKED_AT = 64


def _boot_options(files: MediumFiles, option: re.Pattern[str]) -> list[str]:
    """Return what a kernel option is given in configurations of boot loaders, without repeats."""
    found: dict[str, None] = {}
    for entry in islice(files.matching(_BOOT_CONFIGS), _MOST_BOOT_CONFIGS):
        if entry.size <= _BOOT_CONFIG_BYTES:
            text = files.text(entry.path.lower())
            found.update(dict.fromkeys(match[1] for match in option.finditer(text)))
    return list(found)


def find_dracut(files: MediumFiles) -> list[LiveSystem]:
    """Find ``LiveOS`` of Fedora, openSUSE (KIWI) and others.

    What ``squashfs.img`` holds is the root itself, or once more ``LiveOS/rootfs.img`` with the
    root; that is found in the same way when the image is looked at in turn.
    """
    for path in _LIVEOS_IMAGES:
        entry = files.file(path)
        if entry is not None:
            return [LiveSystem("LiveOS", (entry.path,))]
    return []


def find_casper(files: MediumFiles) -> list[LiveSystem]:
    """Find the live systems of Ubuntu and what is made of it.

    Either all images are one system, in the order of their names; or names say what an image lies
    on: ``minimal.standard.live`` on ``minimal.standard``, and that on ``minimal``. Of these, the
    boot loader's ``layerfs-path`` names the one that is started; it may also stand in the initrd
    alone, then it is the one for live sessions, or the default of the installer.
    """
    images = {
        printable(entry.name.rpartition(b".")[0]): entry
        for entry in files.inside(b"casper", r".+\.squashfs")
    }
    chains = {name: _below(name, images) for name in images}
    beneath = {layer for chain in chains.values() for layer in chain[:-1]}
    if not beneath:
        layers = tuple(entry.path for entry in images.values())
        return [LiveSystem("casper", layers)] if layers else []
    started = _started_by_casper(files, chains) or chains.keys() - beneath
    return [
        LiveSystem(name, tuple(images[layer].path for layer in chain), is_default=name in started)
        for name, chain in chains.items()
    ]


def _below(name: str, images: Collection[str]) -> list[str]:
    """Return the names of the images that one lies on, bottom first, and it."""
    parts = name.split(".")
    ways = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return [way for way in ways if way in images]


def _started_by_casper(files: MediumFiles, names: Collection[str]) -> set[str]:
    """Return which systems are started; none if nothing says it."""
    given = [name for name in _boot_options(files, _LAYERFS_PATH) if name in names]
    if given:
        return {given[0]}  # further ones are further entries of the boot menu
    live = [name for name in names if name.endswith(".live")]
    if len(live) == 1:
        return set(live)
    sources = files.text(b"casper/install-sources.yaml")
    # each source is an item of a list, whose first key is behind the dash
    items = [f" {item}" for item in re.split(r"(?m)^[ \t]*-", sources)]
    paths = [_SOURCE_PATH.search(item) for item in items if _DEFAULT_SOURCE.search(item)]
    return {match[1] for match in paths if match is not None and match[1] in names}


def find_live_boot(files: MediumFiles) -> list[LiveSystem]:
    """Find the live system of Debian: the images that ``filesystem.module`` lists, or all."""
    folders = [b"live", *(path.encode() for path in _boot_options(files, _LIVE_MEDIA_PATH))]
    for folder in dict.fromkeys(folder.strip(b"/").lower() for folder in folders):
        images = {entry.name: entry for entry in files.inside(folder, _IMAGE_ENDINGS)}
        listed = files.text(folder + b"/filesystem.module").split()
        if listed:
            names = [name.encode("utf-8", "surrogateescape") for name in listed]
            chosen = [images[name] for name in names if name in images]
        else:
            chosen = [entry for entry in images.values() if files.is_image(entry)]
        if chosen:
            return [LiveSystem("live", tuple(entry.path for entry in chosen))]
    return []


def find_archiso(files: MediumFiles) -> list[LiveSystem]:
    """Find ``airootfs`` of Arch Linux, SystemRescue and others, one for each architecture."""
    found: dict[str, LiveSystem] = {}
    for entry in files.matching(r"([^/]+/[^/]+/)?airootfs\.(sfs|erofs|img)"):
        name = printable(entry.parent)
        found.setdefault(name, LiveSystem(name, (entry.path,)))
    return list(found.values())


def find_bundles(files: MediumFiles) -> list[LiveSystem]:
    """Find the bundles of Slax and Porteus: by their numbers, modules above the base."""
    for folder, ending, places in (
        (rb"slax", r".+\.sb", (b"", b"/modules")),
        (rb"porteus", r".+\.xzm", (b"/base", b"/modules")),
    ):
        base, modules = (files.inside(folder + place, ending) for place in places)
        if base:
            ordered = [*sorted(base, key=_by_number), *sorted(modules, key=_by_number)]
            paths = tuple(entry.path for entry in ordered)
            return [LiveSystem(folder.decode(), paths, Whiteouts.OCI)]
    return []


def _by_number(entry: Entry) -> tuple[int, bytes]:
    match = re.match(rb"\d{1,9}", entry.name)
    return int(match[0]) if match else 0, entry.name


def find_lone_image(files: MediumFiles) -> list[LiveSystem]:
    """Find the only image of a filesystem, wherever it lies; of several, none is known to be it."""
    found: list[Entry] = []
    for number, entry in enumerate(files.matching(_LONE_ENDINGS)):
        if number == _MOST_LOOKED_AT:
            return []
        if not _KERNEL_MODULES.match(entry.name.lower()) and files.is_image(entry):
            found.append(entry)
    return [
        LiveSystem(printable(entry.name), (entry.path,)) for entry in found[:1] if not found[1:]
    ]


LIVE_LAYOUTS: tuple[tuple[str, Finder], ...] = (
    ("LiveOS (dracut)", find_dracut),
    ("casper (Ubuntu live)", find_casper),
    ("live-boot (Debian live)", find_live_boot),
    ("archiso", find_archiso),
    ("bundles (Slax, Porteus)", find_bundles),
)
"""What a medium can be at the same time: systems of different layouts are a choice."""

ANY_IMAGE = "an image of a filesystem"

_CHANGES = (
    r"casper-(rw|home-rw)",
    r"(persistence|live-rw|home-rw)",
    r"liveos/overlay-[^/]+",
    r"liveos/home\.img",
    r"(slax|porteus)/changes\.dat",
)


def kept_changes(files: MediumFiles) -> tuple[bytes, ...]:
    """Return the files in which a stick keeps what was changed while it ran."""
    return tuple(entry.path for pattern in _CHANGES for entry in files.matching(pattern))
