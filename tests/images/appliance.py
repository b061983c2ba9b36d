"""Disks that only a kernel with more drivers can make: filled in libguestfs, by its own tool.

One start makes all of them. What is in each is told by GNU tar, run by libguestfs once the
filesystem has been unmounted and mounted again.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from formats.core.entry import Kind
from tests.images.ext_everything import fill, noise
from tests.images.luks import luks2
from tests.images.volumes import blank
from tests.support.listing import Row
from tests.support.programs import need, need_root, run

MIB = 1 << 20
START_SECONDS = 1200
"""For a start without KVM on a machine with other things to do, and what is done then."""

_FILESYSTEMS: Mapping[str, tuple[str, ...]] = {
    "jfs": ("mkfs.jfs", "-q"),
    "reiserfs": ("mkfs.reiserfs", "-f", "-f", "-q"),
    "f2fs": ("mkfs.f2fs", "-q"),
    "ntfs": (
        "mkntfs",
        "-F",
        "-Q",
        "-q",
        "-L",
        "Windows",
        "-s",
        "512",
        "-p",
        "0",
        "-H",
        "0",
        "-S",
        "0",
    ),
}
_RAID = ("raid1", "raid2", "raid3")
_DRIVES = (*_FILESYSTEMS, "jfs-dirty", *_RAID, "thin")
_SIZES = {
    "f2fs": 64 * MIB,
    "reiserfs": 64 * MIB,
    "thin": 80 * MIB,
    **dict.fromkeys(_RAID, 20 * MIB),
}

_MAKE = """
run
md-create raid "{raid}" level:raid5
mkfs ext4 /dev/md127
pvcreate {thin}
vgcreate group-of-thin {thin}
debug sh "lvcreate -y --thinpool pool -L 40M -Zn group-of-thin"
debug sh "lvcreate -y -V 48M --thin -n root group-of-thin/pool"
mkfs ext4 /dev/group-of-thin/root
"""
_FILL = """
mkmountpoint /{name}
mount {device} /{name}
tar-in {source} /{name} xattrs:true acls:true
{more}
umount /{name}
mount-ro {device} /{name}
tar-out /{name} {name}.out numericowner:true xattrs:true acls:true
umount /{name}
"""


def make_disks(folder: Path) -> dict[str, Path]:
    """Return the images by name, ``thin`` inside of LUKS; what tar found lies beside them."""
    need("guestfish", "tar", "mkfs.jfs", "mkfs.reiserfs", "mkfs.f2fs", "mkntfs", "cryptsetup")
    need_root()
    _make_archives(folder)
    images = {name: blank(folder / f"{name}.img", _SIZES.get(name, 32 * MIB)) for name in _DRIVES}
    for name, command in _FILESYSTEMS.items():
        run(*command, images[name])
    devices = {name: f"/dev/sd{chr(ord('a') + number)}" for number, name in enumerate(_DRIVES)}
    members = " ".join(devices[name] for name in _RAID)
    script = _MAKE.format(raid=members, thin=devices["thin"])
    for name in _FILESYSTEMS:
        source = "plain.tar" if name == "ntfs" else "all.tar"
        # what has been synced and not been unmounted is in the log
        copy = f"sync\ncopy-device-to-device {devices['jfs']} {devices['jfs-dirty']}"
        more = copy if name == "jfs" else ""
        script += _FILL.format(name=name, device=devices[name], source=source, more=more)
    for name, device in (("raid", "/dev/md127"), ("thin", "/dev/group-of-thin/root")):
        script += _FILL.format(name=name, device=device, source="all.tar", more="")
    _guestfish(folder, script, [images[name] for name in _DRIVES])
    images["thin"] = luks2(images["thin"])
    return images


def _guestfish(folder: Path, script: str, images: list[Path]) -> None:
    commands = folder / "script"
    commands.write_text(script)
    drives = [part for image in images for part in ("--add", os.fspath(image))]
    settings = ["LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg"]
    command = ["env", *settings, "guestfish", "--format=raw", *drives, "--file", str(commands)]
    run(*command, cwd=folder, timeout=START_SECONDS)


def _make_archives(folder: Path) -> None:
    """Make two archives: of all that Linux filesystems can hold, and of what NTFS can."""
    everything = folder / "all"
    everything.mkdir()
    fill(everything, names=60, has_content=False)
    (everything / "two pieces").write_bytes(noise(MIB + 10, 1))
    (everything / "odd\nname").write_bytes(noise(100, 2))
    with (everything / "holes").open("wb") as file:
        file.seek(2 * MIB)
        file.write(b"in the middle")
        file.truncate(3 * MIB)
    plain = folder / "plain"
    (plain / "folder").mkdir(parents=True)
    (plain / "file").write_bytes(noise(300_000, 3))
    (plain / "folder" / "größe €").write_bytes(b"resident")
    (plain / "link").symlink_to("folder/nothing")
    os.link(plain / "file", plain / "folder" / "second name")
    for source in (everything, plain):
        options = ("--posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")
        run("tar", "--create", *options, "--sparse", "--file", f"{source}.tar", "-C", source, ".")


def tar_listing(archive: Path) -> dict[bytes, Row]:
    """Return what GNU tar wrote down."""
    rows: dict[bytes, Row] = {}
    groups: dict[bytes, list[bytes]] = {}
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            path = _bytes(member.name)
            if member.islnk():
                target = _bytes(member.linkname)
                groups.setdefault(target, [target]).append(path)
                rows[path] = rows[target]
                continue
            rows[path] = _row(tar, member)
    for names in groups.values():
        links = tuple(sorted(names))
        rows.update((name, replace(rows[name], links=links)) for name in links)
    return rows


def _row(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Row:
    kinds = {
        tarfile.REGTYPE: Kind.FILE,
        tarfile.GNUTYPE_SPARSE: Kind.FILE,
        tarfile.DIRTYPE: Kind.FOLDER,
        tarfile.SYMTYPE: Kind.SYMLINK,
        tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
        tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
        tarfile.FIFOTYPE: Kind.FIFO,
    }
    kind = kinds[member.type]
    content = tar.extractfile(member) if kind is Kind.FILE else None
    seconds, _, fraction = member.pax_headers.get("mtime", str(int(member.mtime))).partition(".")
    # -1.5 is half a second before -1
    nanoseconds = int((fraction + "0" * 9)[:9]) * (-1 if seconds.startswith("-") else 1)
    start = "SCHILY.xattr."
    return Row(
        kind=kind,
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        mtime_ns=int(seconds) * 10**9 + nanoseconds,
        size=member.size if kind is Kind.FILE else 0,
        target=member.linkname.encode("utf-8", "surrogateescape") if member.issym() else None,
        device=(member.devmajor, member.devminor)
        if member.isdev() and not member.isfifo()
        else None,
        xattrs=tuple(
            sorted(
                (_raw(name.removeprefix(start)), _raw(value))
                for name, value in member.pax_headers.items()
                if name.startswith(start)
            )
        ),
        digest=hashlib.sha256(content.read()).hexdigest() if content is not None else None,
        links=(),
    )


def _bytes(name: str) -> bytes:
    return _raw(name).removeprefix(b"./").removeprefix(b".").rstrip(b"/")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
