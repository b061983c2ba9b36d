"""UDF filesystems that a kernel wrote, and what it shows of each.

The kernels of build machines need not know UDF, so these were made once, in the virtual machine of
libguestfs under the kernel of Debian 12 (6.1), and are kept: the images, and beside each the
listing that this kernel gave. To make them again (root, ten minutes without KVM)::

    python -m tests.images.udf
"""

from __future__ import annotations

import os
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory

from tests.images.kept_listing import KeptFilesystems
from tests.support.programs import need, need_root, run

KEPT = KeptFilesystems(Path(__file__).parent / "udf")
MADE = {
    "hd-512": "-m hd -b 512 -r 2.01",
    "hd-2048": "-m hd -b 2048 -r 1.02",
    "hd-4096": "-m hd -b 4096 -r 2.00",
    "cdrw": "-m cdrw -b 2048 -r 1.50",
}
"""Options of mkudffs(8), by what the medium is; a CD-RW has a sparing table."""

_LABELS = "/dev/disk/guestfs"
_BLOCK = 4096
_PIECES = 400
_SECOND = 1_600_000_000


def make_all(folder: Path) -> None:
    """Make all filesystems in one virtual machine, and keep them with their listings."""
    need("guestfish", "mkudffs")
    need_root()
    _fill(folder / "tree")
    pack = "tar --format=pax --sparse -c"
    run(*pack.split(), "-f", folder / "tree.tar", "-C", folder / "tree", ".")
    script = [f"add-drive {folder}/tree.tar readonly:true format:raw label:tree"]
    steps = []
    for letter, (name, options) in zip(ascii_lowercase, MADE.items(), strict=False):
        run("truncate", "--size", "16M", folder / f"{name}.img")
        run("mkudffs", "--uuid=0123456789abcdef", *options.split(), folder / f"{name}.img")
        run("truncate", "--size", "64M", folder / f"{name}.tar")
        script += [
            f"add-drive {folder}/{name}.{end} format:raw label:{end}{letter}"
            for end in ("img", "tar")
        ]
        disk, result = (f"{_LABELS}/{end}{letter}" for end in ("img", "tar"))
        mount = f"mount -t udf -o bs={options.split()[3]}"
        steps += [
            f'debug sh "{mount} {disk} /m && tar -x -f {_LABELS}/tree -C /m"',
            'debug sh "umount /m"',
            f'debug sh "{mount},ro {disk} /m && tar --format=pax -c -f {result} -C /m ."',
            'debug sh "umount /m"',
        ]
    script += ["run", 'debug sh "uname -r"', 'debug sh "mkdir /m; modprobe udf"', *steps]
    (folder / "script").write_text("\n".join(script) + "\n")
    settings = ("LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg")
    shown = run("env", *settings, "guestfish", "-f", folder / "script", timeout=1800).stdout
    assert shown.startswith(b"6."), shown
    for name in MADE:
        KEPT.keep(name, folder / f"{name}.img", folder / f"{name}.tar")


def _fill(root: Path) -> None:
    """Make a tree with everything that UDF has on Linux."""
    (root / "usr" / "many").mkdir(parents=True)
    for number in range(300):
        (root / "usr" / "many" / f"file number {number}").write_text(f"{number}\n" * (number % 7))
    for size in (0, 1, 100, 1800, 5000, 300_000):
        (root / "usr" / f"size-{size}").write_bytes(bytes(range(251)) * (size // 251 + 1))
        os.truncate(root / "usr" / f"size-{size}", size)
    for name in ("Grüße", "имя", "文件", "😀", "n" * 200, "a;1", "tab\tname", "back\\slash"):
        (root / "usr" / name).write_text(name)
    (root / "setuid").write_text("#!/bin/sh\n")
    os.chown(root / "setuid", 1000, 100)
    (root / "setuid").chmod(0o4755)
    (root / "sticky").mkdir(mode=0o755)
    (root / "sticky").chmod(0o1777)
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o600)
    os.link(root / "secret", root / "usr" / "same secret")
    for name, target in {
        "relative": "../usr/size-100",
        "absolute": "/usr/size-1",
        "dots": "./a/../b//c",
        "slash": "/",
        "long": "x/" * 40 + "имя",
    }.items():
        (root / "usr" / name).symlink_to(target)
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "disk", 0o60660, os.makedev(200, 255))
    os.mkfifo(root / "fifo", 0o640)
    with (root / "sparse").open("wb") as file:
        for number in range(_PIECES):
            file.seek(number * 2 * _BLOCK)
            file.write(b"%08d" % number * (_BLOCK // 8))
        file.truncate((_PIECES * 2 + 50) * _BLOCK)
    for path in [root, *root.rglob("*")]:
        nanoseconds = _SECOND * 10**9 + len(path.name) * 1_001_000
        os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        make_all(Path(temporary))
