"""Volumes that the kernel made in a virtual machine, kept because build machines cannot make them.

They were filled with numbered sectors through their block device. What was written after something
had happened to them is numbered by another letter, so that stale sectors show.
"""

from __future__ import annotations

import lzma
import tarfile
from io import BytesIO
from pathlib import Path
from typing import IO

_FOLDER = Path(__file__).parent
_CHUNK_BYTES = 1 << 16


def kept(group: str) -> tuple[str, ...]:
    """Return the names of what is kept in a folder beside this module."""
    return tuple(sorted(path.name.removesuffix(".tar.xz") for path in (_FOLDER / group).iterdir()))


def unpacked(group: str, name: str, folder: Path) -> list[Path]:
    """Write the disks of one of them, zeros as holes, and return them in their order."""
    packed = lzma.decompress((_FOLDER / group / f"{name}.tar.xz").read_bytes())
    paths = []
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            paths.append(_written(content, folder / member.name, member.size))
    return paths


def _written(content: IO[bytes], path: Path, size: int) -> Path:
    with path.open("wb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            if chunk.strip(b"\0"):
                file.write(chunk)
            else:
                file.seek(len(chunk), 1)
        file.truncate(size)
    return path


def numbered(size: int, letter: str) -> bytes:
    """Return what a volume of ``size`` bytes was filled with."""
    lines = (b"<%s %08d>\n" % (letter.encode(), number) for number in range(size // 512))
    return b"".join(line.ljust(512, b"\0") for line in lines)
