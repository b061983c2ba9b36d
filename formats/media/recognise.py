"""From a tree to what it is as a medium."""

from __future__ import annotations

from formats.core.tree import TreeIndex
from formats.media.installers import find_installer
from formats.media.live import ANY_IMAGE, LIVE_LAYOUTS, find_lone_image, kept_changes
from formats.media.medium import LiveSystem, Medium, MediumFiles
from formats.media.pools import described, find_pools, package_names

_MANIFESTS = (b"casper/filesystem.manifest", b"live/filesystem.packages")


def recognise(index: TreeIndex) -> Medium | None:
    """Return what is on a medium; None for a tree that is none.

    Meant for trees that are no system themselves: it does not matter what of, an ISO, a FAT or
    ext4 stick, a folder, the content of an archive.

    :raises CorruptError: if a file that has to be looked at cannot be read.
    """
    files = MediumFiles(index)
    titles: list[str] = []
    systems: list[LiveSystem] = []
    for title, find in LIVE_LAYOUTS:
        found = find(files)
        if found:
            titles.append(title)
            systems += found
    installer = None if systems else find_installer(files)
    if not systems and installer is None:
        systems += find_lone_image(files)
        titles.append(ANY_IMAGE)
    if not systems and installer is None:
        return None
    pools = find_pools(index)
    facts = {}
    if pools:
        facts["pools"] = described(pools)
    if any(pool.system == "apk" for pool in pools):
        facts["packages"] = package_names(index, "apk")
    for path in _MANIFESTS:
        lines = files.text(path).split("\n")
        if lines != [""]:
            facts["packages"] = f"{sum(map(bool, lines)):,}, as {path.decode()} says"
    title = installer.title if installer is not None else ", ".join(titles)
    return Medium(title, tuple(systems), installer, pools, facts, kept_changes(files))
