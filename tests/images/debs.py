"""Debian packages: built by dpkg-deb from a folder, or put together by hand where it would not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import zstandard

from tests.support.programs import need, run

CONTROL = (
    b"Package: sample\nVersion: 1:2.0-1\nArchitecture: amd64\n"
    b"Maintainer: Someone <someone@example.org>\nDescription: a sample\n of a package\n"
)
COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 6, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}
FORMAT = (b"debian-binary", b"2.0\n")


def ar(*members: tuple[bytes, bytes]) -> bytes:
    """Return an ar archive of names and contents."""
    parts = [b"!<arch>\n"]
    for name, content in members:
        header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"100644", len(content))
        parts += [header, content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def tar(files: Mapping[str, bytes], *odd: tarfile.TarInfo) -> bytes:
    """Return a tar archive as dpkg-deb makes it, with members of other kinds behind the files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folders = {str(folder) for name in files for folder in Path(name).parents}
        for folder in sorted(folders, key=lambda folder: (folder != ".", folder)):
            info = tarfile.TarInfo("./" if folder == "." else f"./{folder}/")
            info.type, info.mode, info.uname, info.gname = tarfile.DIRTYPE, 0o755, "root", "root"
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.uname, info.gname = len(content), "root", "root"
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return out.getvalue()


def odd(name: str, kind: bytes, target: str = "", **numbers: int) -> tarfile.TarInfo:
    """Return a member without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.uid, info.gid = numbers.get("uid", 0), numbers.get("gid", 0)
    return info


def deb(
    path: Path,
    *,
    control: bytes | None = CONTROL,
    control_files: Mapping[str, bytes] | None = None,
    files: Mapping[str, bytes] | None = None,
    odd: Sequence[tarfile.TarInfo] = (),
    ending: str = ".gz",
    before: Sequence[tuple[bytes, bytes]] = (),
    behind: Sequence[tuple[bytes, bytes]] = (),
) -> Path:
    """Write a package.

    :param before: members in front of the payload; ``behind``: those that follow it.
    """
    compress = COMPRESSIONS[ending]
    # dpkg-deb takes what is seldom for the payload only
    control_ending = ending if ending in {"", ".gz", ".xz", ".zst"} else ".gz"
    controls = {**({"control": control} if control is not None else {}), **(control_files or {})}
    path.write_bytes(
        ar(
            FORMAT,
            (
                b"control.tar" + control_ending.encode(),
                COMPRESSIONS[control_ending](tar(controls)),
            ),
            *before,
            (b"data.tar" + ending.encode(), compress(tar(files or {}, *odd))),
            *behind,
        )
    )
    return path


def built(folder: Path, target: Path, *options: str, control: bytes = CONTROL) -> Path:
    """Have dpkg-deb build a package of a folder."""
    need("dpkg-deb")
    (folder / "DEBIAN").mkdir(exist_ok=True)
    (folder / "DEBIAN").chmod(0o755)
    (folder / "DEBIAN/control").write_bytes(control)
    run("dpkg-deb", *options, "--build", folder, target)
    return target
