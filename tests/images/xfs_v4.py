"""XFS of version 4, and what a kernel that still mounts it shows of each filesystem.

Newer kernels are built without version 4, so these were made once, in the virtual machine of
libguestfs under the kernel of Debian 12 (6.1), and are kept: the images, and beside each the
listing that this kernel gave. To make them again (root, ten minutes without KVM)::

    python -m tests.images.xfs_v4
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images.ext_everything import fill
from tests.images.kept_listing import KeptFilesystems
from tests.images.xfs_everything import LARGEST_DEVICE, fill_forms, mkfs, without_duplicates
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, run

KEPT = KeptFilesystems(Path(__file__).parent / "xfs_v4")
MADE = {
    "4k": "-m crc=0",
    "512": "-m crc=0 -n ftype=0 -b size=512 -i attr=1,projid32bit=0 -l lazy-count=0",
}
"""Options of mkfs.xfs(8), by what the blocks are."""

_TAR = "tar --xattrs --xattrs-include=*"


def make_all(folder: Path) -> None:
    """Make all filesystems in one virtual machine, and keep them with their listings."""
    need("guestfish")
    _pack_tree(folder)
    pack, unpack = f"{_TAR} --format=pax -c", f"{_TAR} -x -f /dev/sda -C /m"
    script = [f"add-drive {folder}/tree.tar readonly:true format:raw"]
    for name, options in MADE.items():
        mkfs(folder / f"{name}.img", options, "40M")
        run("truncate", "--size", "400M", folder / f"{name}.tar")
        script += [f"add-drive {folder}/{name}.{end} format:raw" for end in ("img", "tar")]
    script += ["run", 'debug sh "uname -r"', 'debug sh "mkdir /m"']
    for number in range(len(MADE)):
        disk, result = (f"/dev/sd{chr(ord('b') + 2 * number + step)}" for step in range(2))
        script += [
            f'debug sh "mount -t xfs {disk} /m && {unpack}"',
            'debug sh "umount /m"',
            f'debug sh "mount -t xfs -o ro {disk} /m && {pack} -f {result} -C /m ."',
            'debug sh "umount /m"',
        ]
    (folder / "script").write_text("\n".join(script) + "\n")
    settings = ("LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg")
    shown = run("env", *settings, "guestfish", "-f", folder / "script", timeout=1800).stdout
    assert shown.startswith(b"6."), shown
    for name in MADE:
        KEPT.keep(name, folder / f"{name}.img", folder / f"{name}.tar", without_duplicates)


def _pack_tree(folder: Path) -> None:
    """Pack the tree that is on all of them; a filesystem of version 5 lends its kernel."""
    with loop_mounted_writable(mkfs(folder / "source"), "xfs") as root:
        fill(root, names=300, largest_device=LARGEST_DEVICE, small_inodes=True, has_content=False)
        fill_forms(root)
        os.unlink(root / "special" / "socket")
        options = (*_TAR.split(), "--format=pax", "--sparse")
        run(*options, "-c", "-f", folder / "tree.tar", "-C", root, ".")


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        make_all(Path(temporary))
