"""A disk of 36 MiB with what makes a machine a machine, made in a second; no root needed.

GPT, an ext4 root, and optionally ``/var`` in a partition of its own. Its one program is the host's
static busybox: as shell, as init, and as the web server of an enabled systemd unit.

    python -m tests.images.recipes.tiny_server TARGET
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

MIB = 1 << 20
ROOT_OFFSET = MIB
ROOT_MIB = 24
VAR_MIB = 8
ROOT_UUID = "0d5e2c1a-7b7f-4d0e-9a53-1f6f3a7c0e11"
VAR_UUID = "b8a1f0c4-3f0b-4b8e-8f0a-7d2f9e6c5b22"
DISK_ID = "3c1f6a70-52d5-4d7c-8f0e-0a0f6d1b2c33"
PORT = 8080
PAGE = "hello from a converted disk\n"
NEWEST = 1_700_000_000
"""The time of every file, seconds since 1970."""

_PARTITION_IDS = (
    "5b8f4e7a-0d64-4c8a-9f3e-6a2b7c9d0e01",
    "5b8f4e7a-0d64-4c8a-9f3e-6a2b7c9d0e02",
)

_OS_RELEASE = """\
ID=tiny
NAME="Tiny Linux"
VERSION_ID=1.2
PRETTY_NAME="Tiny Linux 1.2"
"""

_WEB_SERVICE = f"""\
[Unit]
Description=The web server
After=network.target

[Service]
ExecStart=/usr/bin/httpd -f -p {PORT} -h /var/www
Environment=GREETING=hello
WorkingDirectory=/var/www

[Install]
WantedBy=multi-user.target
"""

_FILES = {
    "etc/os-release": _OS_RELEASE,
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/false\n",
    "etc/group": "root:x:0:\nwww:x:33:\n",
    "etc/hostname": "tiny\n",
    "etc/machine-id": "8f5d2b1c3a4e4f60a1b2c3d4e5f60718\n",
    "etc/ssh/ssh_host_ed25519_key": "no key, but named like one\n",
    "etc/systemd/system/web.service": _WEB_SERVICE,
    "boot/vmlinuz": "a kernel\n",
    "root/.profile": "umask 022\n",
    "var/www/index.html": PAGE,
    "var/log/web.log": "started\n",
}
_LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "usr/bin/sh": "busybox",
    "usr/bin/httpd": "busybox",
    "usr/sbin/init": "../lib/systemd/systemd",
    "etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target",
    "etc/systemd/system/multi-user.target.wants/web.service": "/etc/systemd/system/web.service",
}
_FOLDERS = (
    "dev",
    "proc",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr/bin",
    "usr/sbin",
    "usr/lib/systemd/system",
)


def build(target: Path, *, separate_var: bool = False, var_disk: Path | None = None) -> None:
    """Write the disk to ``target``, a raw image, sparse.

    :param separate_var: ``/var`` is a partition, which only fstab tells of.
    :param var_disk: where to write a second disk, with nothing but that ``/var`` on it.
    :raises subprocess.CalledProcessError: if one of the programs fails.
    """
    separate_var = separate_var or var_disk is not None
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        work = Path(name)
        root, var = work / "root", work / "var"
        _make_tree(root, separate_var=separate_var)
        if separate_var:
            shutil.move(root / "var", var)
            (root / "var").mkdir()
            _set_times(root)
        disk = work / "disk.raw"
        if not separate_var:
            _make_disk(disk, ROOT_MIB + VAR_MIB)
        elif var_disk is None:
            _make_disk(disk, ROOT_MIB, VAR_MIB)
            _make_filesystem(var, disk, VAR_UUID, ROOT_MIB + 1, VAR_MIB)
        else:
            _make_disk(disk, ROOT_MIB)
            _make_disk(work / "data.raw", VAR_MIB)
            _make_filesystem(var, work / "data.raw", VAR_UUID, 1, VAR_MIB)
            shutil.move(work / "data.raw", var_disk)
        _make_filesystem(root, disk, ROOT_UUID, 1, ROOT_MIB)
        shutil.move(disk, target)


def _make_tree(root: Path, *, separate_var: bool) -> None:
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True)
    fstab = f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n/swapfile none swap sw 0 0\n"
    if separate_var:
        fstab += f"UUID={VAR_UUID} /var ext4 defaults 0 2\n"
    files = {**_FILES, "etc/fstab": fstab, "swapfile": "\0" * 4096}
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="ascii")
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox (Debian: busybox-static)")
    shutil.copy(busybox, root / "usr/bin/busybox")
    os.link(root / "usr/bin/busybox", root / "usr/lib/systemd/systemd")
    (root / "usr/lib/systemd/system/multi-user.target").write_text("[Unit]\n", encoding="ascii")
    for path, link in _LINKS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(link)
    (root / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
    (root / "tmp").chmod(stat.S_ISVTX | 0o777)
    _set_times(root)


def _set_times(root: Path) -> None:
    for folder, folders, files in os.walk(root, topdown=False):
        for entry in (*folders, *files):
            os.utime(Path(folder) / entry, (NEWEST, NEWEST), follow_symlinks=False)
    os.utime(root, (NEWEST, NEWEST))


def _make_disk(disk: Path, *sizes_mib: int) -> None:
    with disk.open("wb") as file:
        file.truncate((sum(sizes_mib) + 4) * MIB)
    rows = zip(sizes_mib, _PARTITION_IDS, strict=False)
    table = f"label: gpt\nlabel-id: {DISK_ID}\nfirst-lba: 2048\n"
    table += "".join(f"size={size}MiB, uuid={uuid}\n" for size, uuid in rows)
    _run("sfdisk", "--quiet", disk, text=table)


def _make_filesystem(tree: Path, disk: Path, uuid: str, at_mib: int, size_mib: int) -> None:
    """Make an ext4 filesystem of ``tree`` at a place in ``disk``, the same at every call."""
    options = f"offset={at_mib * MIB},root_owner=0:0,lazy_itable_init=1,hash_seed={uuid}"
    command = ("mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-E", options, "-d", tree, disk)
    _run(*command, f"{size_mib}m")


def _run(*command: str | Path, text: str = "") -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    subprocess.run(
        command,
        check=True,
        input=text.encode(),
        capture_output=True,
        env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "E2FSPROGS_FAKE_TIME": str(NEWEST)},
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
