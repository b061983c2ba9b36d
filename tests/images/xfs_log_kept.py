"""Dirty XFS filesystems that cannot be made on the spot, kept as they were made once.

``mappings``: the log ends between two transactions that belong together, so that one of them is
left to be done. Whether it does is chance: this one was shut down during reflinks, again and again
until it did.

``v4…``: version 4, which newer kernels are built without, and quotas. They were made in the
virtual machine of libguestfs, under the kernel of Debian 12 (6.1); ``NAME.after`` is what this
kernel's mount made of a copy. To make all again (root; some minutes without KVM)::

    python -m tests.images.xfs_log_kept
"""

from __future__ import annotations

import contextlib
import lzma
import os
import random
import shutil
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from formats.core.opener import open_artifact
from tests.images.xfs_everything import mkfs
from tests.images.xfs_log import change_everything, fill
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, run

FOLDER = Path(__file__).parent / "xfs_log"
IN_MACHINE = {
    "v4": ("-m crc=0 -n ftype=1 -l size=4m", "rw"),
    "v4-old": ("-m crc=0 -n ftype=0 -b size=1024 -i attr=1,projid32bit=0 -l version=1", "rw"),
    "v4-quota": ("-m crc=0 -l size=4m,lazy-count=0", "uquota,gquota"),
    "v5-quota": ("-l size=8m", "uquota,gquota,pquota"),
}
"""Options of mkfs.xfs(8) and mount(8)."""

_TAR = "tar --xattrs --xattrs-include=* --format=pax --sparse"
_BLOCK = 4096


def kept(name: str, folder: Path) -> Path:
    """Unpack one of the filesystems."""
    path = folder / f"{name}.img"
    path.write_bytes(lzma.decompress((FOLDER / f"{name}.img.xz").read_bytes()))
    return path


def make_mappings(folder: Path) -> Path:
    """Shut a filesystem down during reflinks until a mapping of blocks is left to be done."""
    for attempt in range(200):
        image = mkfs(folder / "image", "-m rmapbt=1,reflink=1 -b size=1024 -l size=10m", "64M")
        with loop_mounted_writable(image, "xfs") as root, (root / "fragments").open("wb") as file:
            for number in range(400):
                file.seek(number * 2 * _BLOCK)
                file.write(b"%d\n" % number)
        with loop_mounted_writable(image, "xfs") as root:
            _shut_down_during_reflinks(root, random.Random(attempt))
        with open_artifact([image]) as artifact:
            if any("mappings" in finding.evidence for finding in artifact.findings):
                return image
    raise AssertionError("no mapping was left to be done")


def _shut_down_during_reflinks(root: Path, draw: random.Random) -> None:
    """Clone a file, write into the clone, and keep the log busy at the same time."""

    def write_log() -> None:
        with contextlib.suppress(OSError), (root / "busy").open("wb", buffering=0) as file:
            while True:
                file.write(b"x")
                os.fsync(file.fileno())

    def clone() -> None:
        with contextlib.suppress(OSError):
            for number in range(1000):
                path = root / f"clone{number}"
                run("cp", "--reflink=always", root / "fragments", path, check=False)
                with path.open("r+b", buffering=0) as file:
                    for _ in range(40):
                        file.seek(draw.randrange(800) * _BLOCK)
                        file.write(b"w" * 3 * _BLOCK)
                    os.fsync(file.fileno())

    threads = [threading.Thread(target=target) for target in (write_log, clone)]
    for thread in threads:
        thread.start()
    time.sleep(0.1 + draw.random() / 4)
    run("xfs_io", "-x", "-c", "shutdown", root)
    for thread in threads:
        thread.join()


def make_in_machine(folder: Path) -> None:
    """Make those that need another kernel, all in one virtual machine."""
    need("guestfish")
    with loop_mounted_writable(mkfs(folder / "source"), "xfs") as root:
        fill(root)
        _pack(folder / "before.tar", root)
        change_everything(root)
        shutil.rmtree(root / "base")
        _pack(folder / "changed.tar", root)
    (folder / "work.sh").write_text(_WORK)
    run("tar", "-c", "-f", folder / "work.tar", "-C", folder, "work.sh")
    drives = [folder / f"{name}.tar" for name in ("before", "changed", "work")]
    script = [f"add-drive {drive} readonly:true format:raw" for drive in drives]
    for name, (options, _) in IN_MACHINE.items():
        mkfs(folder / f"{name}.img", options, "40M")
        run("truncate", "--size", "40M", folder / f"{name}.after.img")
        script += [f"add-drive {folder}/{name}{end}.img format:raw" for end in ("", ".after")]
    script += ["run", 'debug sh "mkdir /m /w"', 'debug sh "tar -x -f /dev/sdc -C /w"']
    for number, (_, mount) in enumerate(IN_MACHINE.values()):
        dirty, after = (f"/dev/sd{chr(ord('d') + 2 * number + step)}" for step in range(2))
        script += [
            f'debug sh "sh -e /w/work.sh {dirty} {mount} || (dmesg | tail >&2; false)"',
            f'debug sh "dd if={dirty} of={after} bs=1M && sync"',
            f'debug sh "mount -t xfs -o {mount} {after} /m && umount /m"',
        ]
    (folder / "script").write_text("\n".join(script) + "\n")
    settings = ("LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg")
    run("env", *settings, "guestfish", "-f", folder / "script", timeout=1800)


def _pack(tar: Path, root: Path) -> None:
    run(*_TAR.split(), "-c", "-f", tar, "-C", root, ".")


_WORK = r"""
mount -t xfs -o $2 $1 /m
tar --xattrs --xattrs-include=* -x -f /dev/sda -C /m
umount /m
mount -t xfs -o $2 $1 /m
cd /m
mv base/01 renamed; rm base/02; truncate -s 70001 base/large; sync -f /m
ln base/04 hard; rm -r shrinks; mknod block b 259 70000
tar --xattrs --xattrs-include=* -x -f /dev/sdb -C /m
sync -f /m
rm new/*7; chmod 4755 base/08; chown 70000:80000 base/09
touch -d '1970-01-02 03:04:05.123456789' base/10; touch -d '1960-01-02 03:04:05' base/11
mkdir again; for i in $(seq 200); do echo $i > again/of-some-length-$i; done
echo last > last; sync -f /m
cd /; xfs_io -x -c 'shutdown -f' /m; umount /m
"""


def _keep(name: str, image: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.img.xz").write_bytes(lzma.compress(image.read_bytes(), preset=9))


def make_all(folder: Path) -> None:
    """Make all, and keep them."""
    _keep("mappings", make_mappings(folder))
    make_in_machine(folder)
    for name in IN_MACHINE:
        for end in ("", ".after"):
            _keep(f"{name}{end}", folder / f"{name}{end}.img")


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        make_all(Path(temporary))
