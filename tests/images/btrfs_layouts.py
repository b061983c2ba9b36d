"""Btrfs filesystems with the subvolumes that distributions make, each with a small system in it.

Everything is made by the kernel on a loop mount, and by ``btrfs subvolume``. The UUID stands in
``/etc/fstab``; each image has one of its own, since the kernel mounts no two filesystems with the
same UUID at a time.

``opensuse``
    as YaST makes it: ``@`` with a subvolume for each folder that a rollback must not touch, and the
    system in ``@/.snapshots/1/snapshot``, which is the default and which fstab mounts as it is.
    A read-only snapshot of it is ``@/.snapshots/2/snapshot``, where ``/etc/hostname`` is an older
    one.
``fedora``
    as Anaconda makes it: ``root``, ``home`` and ``var`` side by side; the top level is the default.
    systemd made ``var/lib/machines`` inside ``var``, which fstab knows nothing of.
``ubuntu``
    as Ubiquity makes it: ``@`` and ``@home``, the top level is the default. Timeshift made a
    snapshot ``timeshift-btrfs/snapshots/2024-01-01_10-00-01/@``, which can be written to and has
    an older ``/etc/hostname``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from tests.images.systems import root_files, write_files
from tests.images.volumes import MIB, blank
from tests.support.listing import loop_mounted_writable
from tests.support.programs import need, run

SIZE = 64 * MIB

OPENSUSE_FOLDERS = ("home", "opt", "root", "srv", "usr/local", "var")
"""What is a subvolume below ``@``."""


def build(path: Path, layout: str) -> str:
    """Make the image ``path``, with no partition table, and return its UUID. Needs root.

    :param layout: a name of :data:`LAYOUTS`.
    """
    need("mkfs.btrfs", "btrfs", "mount")
    blank(path, SIZE)
    uuid = str(uuid4())
    run("mkfs.btrfs", "-q", "-f", "-m", "single", "-d", "single", "-U", uuid, path)
    with loop_mounted_writable(path, "btrfs", options="subvolid=5") as top:
        LAYOUTS[layout](top, uuid)
    return uuid


def subvolume(path: Path) -> Path:
    """Make a subvolume in a mounted filesystem."""
    run("btrfs", "subvolume", "create", path)
    return path


def snapshot(source: Path, target: Path, *, read_only: bool = False) -> Path:
    """Make a snapshot of a subvolume."""
    run("btrfs", "subvolume", "snapshot", *(["-r"] if read_only else []), source, target)
    return target


def make_default(path: Path) -> None:
    """Make a subvolume the one that is mounted where nothing says which."""
    run("btrfs", "subvolume", "set-default", path)


def _fstab(uuid: str, *lines: tuple[str, str]) -> str:
    return "".join(f"UUID={uuid} {point} btrfs {options} 0 0\n" for point, options in lines)


def _opensuse(top: Path, uuid: str) -> None:
    at = subvolume(top / "@")
    snapshots = subvolume(at / ".snapshots")
    fstab = [("/", "defaults"), ("/.snapshots", "subvol=/@/.snapshots")]
    for name in OPENSUSE_FOLDERS:
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        subvolume(at / name)
        fstab.append((f"/{name}", f"subvol=/@/{name}"))
    write_files(at / "home", {"geeko/.profile": "a profile\n"})
    write_files(at / "usr/local", {"bin/": ""})
    write_files(at / "var", {"lib/misc/state": "a state\n", "log/": ""})
    for number in ("1", "2"):
        write_files(snapshots, {f"{number}/info.xml": f"<snapshot><num>{number}</num></snapshot>"})
    system = subvolume(snapshots / "1/snapshot")
    points = {f"{name}/": "" for name in (*OPENSUSE_FOLDERS, ".snapshots")}
    more = {"usr/lib/libx.so.1": "a library\n" * 400, "etc/hostname": "older\n"}
    write_files(system, root_files("openSUSE", _fstab(uuid, *fstab), **more) | points)
    snapshot(system, snapshots / "2/snapshot", read_only=True)
    (system / "etc/hostname").write_text("geeko\n")
    make_default(system)


def _fedora(top: Path, uuid: str) -> None:
    fstab = [("/", "subvol=root,compress=zstd:1"), ("/home", "subvol=home,compress=zstd:1")]
    fstab.append(("/var", "subvol=var,compress=zstd:1"))
    root, home, var = (subvolume(top / name) for name in ("root", "home", "var"))
    more = {"usr/lib/libx.so.1": "a library\n" * 400, "etc/hostname": "fedora\n"}
    write_files(root, root_files("Fedora", _fstab(uuid, *fstab), **more))
    write_files(home, {"user/.bashrc": "a shell's file\n"})
    write_files(var, {"log/": "", "lib/misc/state": "a state\n"})
    write_files(subvolume(var / "lib/machines"), {"container/etc/hostname": "inner\n"})


def _ubuntu(top: Path, uuid: str) -> None:
    fstab = [("/", "defaults,subvol=@"), ("/home", "defaults,subvol=@home")]
    root, home = subvolume(top / "@"), subvolume(top / "@home")
    more = {"usr/lib/libx.so.1": "a library\n" * 400, "etc/hostname": "older\n"}
    write_files(root, root_files("Ubuntu", _fstab(uuid, *fstab), **more))
    write_files(home, {"ubuntu/.bashrc": "a shell's file\n"})
    folder = top / "timeshift-btrfs/snapshots/2024-01-01_10-00-01"
    folder.mkdir(parents=True)
    snapshot(root, folder / "@")
    (root / "etc/hostname").write_text("ubuntu\n")


LAYOUTS: dict[str, Callable[[Path, str], None]] = {
    "fedora": _fedora,
    "opensuse": _opensuse,
    "ubuntu": _ubuntu,
}
"""What fills the top level, given the UUID, by name."""
