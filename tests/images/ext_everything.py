"""A tree with everything that an ext filesystem can hold, made by the kernel on a mounted one.

Times and ids go through system calls, since mke2fs(8) drops nanoseconds, and times after 2038.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20

TIMES_NS = (
    0,
    1,
    -1,
    -(1 << 31) * 10**9,  # the earliest of all inodes
    ((1 << 31) - 1) * 10**9 + 999_999_999,
    (1 << 31) * 10**9,  # from here on 256-byte inodes only
    ((1 << 32) + 12345) * 10**9 + 123_456_789,
    ((1 << 34) - (1 << 31) - 1) * 10**9,  # the latest: 2446
)
SMALL_TIMES_NS = (0, 10**9, -(10**9), ((1 << 31) - 1) * 10**9)
"""What inodes of 128 bytes can hold: whole seconds of 32 bits."""

IDS = (0, 1000, 65_535, 65_536, (1 << 32) - 2)


def noise(length: int, seed: int) -> bytes:
    blocks = (
        hashlib.sha256(b"%d/%d" % (seed, number)).digest() for number in range(length // 32 + 1)
    )
    return b"".join(blocks)[:length]


def fill(
    root: Path,
    *,
    small_inodes: bool = False,
    names: int = 1500,
    largest_device: tuple[int, int] = (4095, 1_048_575),
    has_content: bool = True,
) -> None:
    """Make the tree below the root folder of a mounted filesystem.

    :param largest_device: major and minor number, the largest that it can hold.
    :param has_content: whether there are files with megabytes in them.
    """
    for part in (_files, _sparse_files) if has_content else ():
        part(root)
    for part in (_links, _owners, _xattrs, _names):
        part(root)
    _special_files(root, largest_device)
    _large_folder(root, names)
    _times(root, SMALL_TIMES_NS if small_inodes else TIMES_NS)


def _files(root: Path) -> None:
    """Sizes around every border: inline data, blocks, and indirect blocks."""
    folder = root / "files"
    folder.mkdir()
    sizes = [0, 1, 59, 60, 61, 100, 160, 1023, 1024, 1025, 4096, 65_537, 12 * KIB + 1, 300 * KIB]
    for number, size in enumerate(sizes):
        (folder / f"{size}").write_bytes(noise(size, number))
    (folder / "large").write_bytes(noise(MIB, 99) * 3)


def _links(root: Path) -> None:
    folder = root / "links"
    folder.mkdir()
    for length in (1, 58, 59, 60, 61, 255, 1000, 1023):
        (folder / f"symlink{length}").symlink_to("x" * length)
    (folder / "to nowhere").symlink_to("../../../../etc/passwd")
    (folder / "bytes").symlink_to(os.fsdecode(b"\xff\xfe"))
    (folder / "a").write_bytes(b"linked")
    for name in ("b", "c"):
        os.link(folder / "a", folder / name)
    (root / "elsewhere").mkdir()
    os.link(folder / "a", root / "elsewhere" / "d")
    os.link(folder / "symlink60", folder / "symlink linked", follow_symlinks=False)


def _special_files(root: Path, largest_device: tuple[int, int]) -> None:
    folder = root / "special"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    for name, kind, major, minor in (
        ("null", stat.S_IFCHR, 1, 3),
        ("disk", stat.S_IFBLK, 8, 0),
        ("old", stat.S_IFCHR, 255, 255),
        ("new", stat.S_IFBLK, 256, 256),
        ("most", stat.S_IFCHR, *largest_device),
    ):
        os.mknod(folder / name, kind | 0o640, os.makedev(major, minor))
    for mode in (0o4755, 0o2755, 0o1777, 0o7777, 0o000):
        path = folder / f"{mode:04o}"
        path.touch()
        path.chmod(mode)


def _sparse_files(root: Path) -> None:
    folder = root / "sparse"
    folder.mkdir()
    with (folder / "holes").open("wb") as file:
        # In a block map of 1 KiB blocks: direct, and behind one, two and three indirect ones.
        for offset in (0, 100 * KIB, 5 * MIB, 5 * MIB + 8 * KIB, 65 * MIB):
            file.seek(offset)
            file.write(noise(3000, offset))
        file.truncate(66 * MIB + 5)
    with (folder / "nothing but a hole").open("wb") as file:
        file.truncate(10 * MIB + 1)
    with (folder / "preallocated").open("wb") as file:
        file.write(b"written")
        try:
            os.posix_fallocate(file.fileno(), 0, 700 * KIB)
        except OSError:  # block maps cannot
            file.truncate(700 * KIB)
        file.seek(300 * KIB)
        file.write(b"in the middle")
    with (folder / "many extents").open("wb") as file:
        for number in range(900):
            file.seek(number * 3 * 4096)
            file.write(b"%d" % number)


def _owners(root: Path) -> None:
    folder = root / "owners"
    folder.mkdir()
    for uid in IDS:
        path = folder / str(uid)
        path.touch()
        os.chown(path, uid, IDS[-1] - uid)


def _xattrs(root: Path) -> None:
    folder = root / "xattrs"
    folder.mkdir()
    for number, size in enumerate((0, 1, 20, 60, 300, 900)):
        path = folder / f"value of {size}"
        path.write_bytes(b"x" * number)
        os.setxattr(path, "user.name", noise(size, size))
    both = folder / "in inode and block"
    both.touch()
    for number in range(6):
        os.setxattr(both, f"user.{'n' * number}{number}", noise(30 * number, number))
    os.setxattr(both, "trusted.t", b"\0\xff")
    os.setxattr(both, "security.selinux", b"system_u:object_r:etc_t:s0\0")
    for name in ("a twin", "its twin"):  # blocks of equal attributes are shared
        (folder / name).touch()
        os.setxattr(folder / name, "user.twin", b"t" * 400)
    tool = folder / "tool"
    tool.touch()
    _run("setcap", "cap_net_raw+ep cap_net_bind_service+ep", tool)
    acl = folder / "acl"
    acl.mkdir()
    (acl / "file").touch()
    _run("setfacl", "-m", "u:1000:r-x,g:4294967294:-wx,m::rwx", acl / "file")
    _run("setfacl", "-m", "d:u:70000:rwx,d:g::r-x,u:5:---", acl)


def add_large_xattr(root: Path) -> None:
    """Add a value that has an inode of its own (``ea_inode``), and one more file that shares it."""
    for name in ("large", "large too"):
        path = root / "xattrs" / name
        path.touch()
        os.setxattr(path, "user.large", noise(50_000, 5))


def _names(root: Path) -> None:
    folder = os.fsencode(root / "names")
    os.mkdir(folder)
    for name in (
        b"n" * 255,
        b"\xff\xfe\x80",
        b"new\nline",
        b"\x1b[31m",
        b" ",
        b"-",
        "ñü€😀".encode(),
    ):
        with open(os.path.join(folder, name), "wb"):
            pass
    deep = root / "deep"
    for number in range(40):
        deep = deep / f"level{number}"
    deep.mkdir(parents=True)


def _large_folder(root: Path, count: int) -> None:
    """Enough names for an index, some of which are gone again."""
    folder = root / "folder"
    folder.mkdir()
    for number in range(count):
        (folder / f"{'name' * (number % 9)}{number}").touch()
    for number in range(0, count, 7):
        (folder / f"{'name' * (number % 9)}{number}").unlink()


def _times(root: Path, times: tuple[int, ...]) -> None:
    folder = root / "times"
    folder.mkdir()
    for time_ns in times:
        path = folder / str(time_ns)
        path.touch()
        os.utime(path, ns=(time_ns, time_ns))


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
