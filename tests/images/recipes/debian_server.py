"""A real Debian server on a GPT disk: systemd, nginx and openssh on ext4, with swap beside it.

``python -m tests.images.recipes.debian_server FILE`` makes it. mmdebstrap installs the packages
(as root directly, otherwise in a user namespace), ``mke2fs -d`` makes the filesystem in there so
that owners are kept, and sfdisk the table. Nothing is booted and nothing is mounted on the host.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("systemd-sysv", "nginx-light", "openssh-server", "libcap2-bin")
ROOT_UUID = "5f6c1c9e-3d0f-4a55-9a1e-6a4f0f6c2a01"
SWAP_UUID = "0d4a8c3e-9b7f-4d6e-8a34-2f1f5e7b9c02"
PAGE = "served from a converted disk"

_MIB = 1 << 20
_ROOT_MIB = 700
_SWAP_MIB = 16

ROOT_OFFSET = _MIB
"""Where the root filesystem begins, in bytes."""

_FSTAB = f"""\
# <file system> <mount point> <type> <options> <dump> <pass>
UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1
UUID={SWAP_UUID} none swap sw 0 0
/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
"""

# Runs where the packages were installed, as root of that place; "$1" is the folder.
# A bind mount leaves out /proc, /sys and /dev, which mmdebstrap has mounted.
_FINISH = """\
set -eu
printf '%s' "$FSTAB" > "$1/etc/fstab"
echo server1 > "$1/etc/hostname"
mkdir -p "$1/boot/grub" "$1/var/www/html"
echo "$PAGE" > "$1/var/www/html/index.html"
echo 'set timeout=5' > "$1/boot/grub/grub.cfg"
head -c 2000000 /dev/zero > "$1/boot/initrd.img-6.1.0-0-amd64"
mkdir "$1.bind"
mount --bind "$1" "$1.bind"
mke2fs -q -t ext4 -L root -U "$ROOT_UUID" -d "$1.bind" "$1.img" "${ROOT_MIB}M"
umount "$1.bind"
rmdir "$1.bind"
mv "$1.img" "$1/disk.img"
"""

_TABLE = """\
label: gpt
first-lba: 2048
size={root}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root
size={swap}MiB, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F, name=swap
"""


def root_bytes(disk: Path) -> int:
    """Return the size of the root partition of a disk that :func:`build` made."""
    return disk.stat().st_size - (_SWAP_MIB + 2) * _MIB


def build(target: Path, *, extra_packages: Sequence[str] = (), root_mib: int = _ROOT_MIB) -> None:
    """Write the disk to ``target``: a raw image, sparse, 18 MiB larger than its root.

    :raises subprocess.CalledProcessError: if one of the programs fails.
    """
    environment = {
        **os.environ,
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "FSTAB": _FSTAB,
        "PAGE": PAGE,
        "ROOT_UUID": ROOT_UUID,
        "ROOT_MIB": str(root_mib),
    }
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        filesystem, disk = Path(name) / "root.ext4", Path(name) / "disk.raw"
        _run(
            environment,
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join([*PACKAGES, *extra_packages])}",
            f"--customize-hook={_FINISH}",
            f"--customize-hook=download /disk.img {filesystem}",
            '--customize-hook=rm "$1/disk.img"',
            "--format=null",
            suite(),
        )
        with disk.open("wb") as file:
            file.truncate((root_mib + _SWAP_MIB + 2) * _MIB)
        subprocess.run(
            ["sfdisk", "--quiet", disk],
            input=_TABLE.format(root=root_mib, swap=_SWAP_MIB).encode(),
            check=True,
            capture_output=True,
            env=environment,
        )
        _copy_sparse(filesystem, disk, ROOT_OFFSET)
        swap = Path(name) / "swap"
        swap.write_bytes(bytes(_SWAP_MIB * _MIB))
        swap.chmod(0o600)
        _run(environment, "mkswap", "--uuid", SWAP_UUID, str(swap))
        _copy_sparse(swap, disk, ROOT_OFFSET + root_mib * _MIB)
        shutil.move(disk, target)


def suite() -> str:
    """Return the host's Debian release, whose keys are at hand; elsewhere the stable one."""
    facts = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        if "=" in line
    )
    return facts.get("VERSION_CODENAME", "stable") if facts.get("ID") == "debian" else "stable"


def _run(environment: dict[str, str], *command: str) -> None:
    """Run a program; what it says is only worth seeing when it fails."""
    done = subprocess.run(
        command, check=False, env=environment, stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode:
        sys.stderr.buffer.write(done.stderr)
        done.check_returncode()


def _copy_sparse(source: Path, target: Path, offset: int) -> None:
    with source.open("rb") as reader, target.open("r+b") as writer:
        position = offset
        while chunk := reader.read(_MIB):
            if chunk.count(0) != len(chunk):
                writer.seek(position)
                writer.write(chunk)
            position += len(chunk)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
