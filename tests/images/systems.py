"""Recipes for disks with systems on them: small roots, and what they mount from elsewhere.

No root needed: ``mke2fs -d`` fills a filesystem, sfdisk makes the table around it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images.volumes import MIB, blank, sfdisk
from tests.support.programs import need, run

FIRST_MIB = 1
"""Where the first partition begins."""

Files = Mapping[str, str]
"""Path and content; a path that ends in ``/`` is a folder, a content ``-> x`` a link to x."""


def os_release(name: str) -> str:
    """Return an os-release."""
    return f'ID={name.lower()}\nPRETTY_NAME="{name} Linux 1"\n'


def root_files(name: str = "Small", fstab: str = "", **more: str) -> dict[str, str]:
    """Return the least that a root has."""
    return {
        "bin/sh": "a shell\n",
        "etc/fstab": fstab,
        "etc/os-release": os_release(name),
        "sbin/init": "an init\n",
        **{f"{folder}/": "" for folder in ("dev", "home", "proc", "srv", "sys", "usr", "var")},
        **more,
    }


def merged_root_files(fstab: str = "") -> dict[str, str]:
    """Return a root whose ``/usr`` is elsewhere; see :func:`usr_files`."""
    return {
        "bin": "-> usr/bin",
        "etc/fstab": fstab,
        "etc/os-release": "-> ../usr/lib/os-release",
        "lib": "-> usr/lib",
        "sbin": "-> usr/sbin",
        "usr/": "",
        "var/": "",
        "proc/": "",
    }


def usr_files(name: str = "Merged") -> dict[str, str]:
    """Return what is on the volume for ``/usr``."""
    return {
        "bin/sh": "a shell\n",
        "lib/os-release": os_release(name),
        "lib/systemd/systemd": "an init\n",
        "sbin/init": "-> ../lib/systemd/systemd",
    }


@dataclass(frozen=True, slots=True)
class Ext4:
    """A filesystem with files in it."""

    files: Files
    uuid: str = ""
    label: str = ""
    size_mib: int = 2

    def make(self, image: Path) -> None:
        """Make it, over a blank image of its size."""
        need("mke2fs")
        blank(image, self.size_mib * MIB)
        options = ["-O", "^has_journal", *(["-U", self.uuid] if self.uuid else [])]
        options += ["-L", self.label] if self.label else []
        with TemporaryDirectory(prefix="convert-tree-") as folder:
            write_files(Path(folder), self.files)
            run("mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", folder, image)


@dataclass(frozen=True, slots=True)
class Made:
    """What another program makes; ``{image}`` stands for the image, blank before."""

    command: str
    size_mib: int = 2

    def make(self, image: Path) -> None:
        """Make it."""
        words = self.command.split()
        need(words[0])
        blank(image, self.size_mib * MIB)
        run(*(word.format(image=image) for word in words))


@dataclass(frozen=True, slots=True)
class Part:
    """A partition.

    :ivar options: for its line in sfdisk's script: ``type=…``, ``name=…``, ``uuid=…``.
    """

    content: Ext4 | Made
    options: str = ""


def disk(path: Path, *parts: Part | Ext4 | Made, table: str = "gpt") -> Path:
    """Make a disk with these partitions, one after the other."""
    known = [part if isinstance(part, Part) else Part(part) for part in parts]
    lines = [f"label: {table}"]
    start = FIRST_MIB
    for part in known:
        size = part.content.size_mib
        options = f", {part.options}" if part.options else ""
        lines.append(f"start={start}MiB, size={size}MiB{options}")
        start += size
    sfdisk(path, (start + 1) * MIB, "\n".join(lines) + "\n")
    start = FIRST_MIB
    for part in known:
        put(path, part.content, start * MIB)
        start += part.content.size_mib
    return path


def put(path: Path, content: Ext4 | Made, offset: int) -> None:
    """Write what is made into a disk, holes left out."""
    image = path.with_suffix(".part")
    content.make(image)
    with image.open("rb") as reader, path.open("r+b") as writer:
        while chunk := reader.read(1 << 16):
            if chunk.strip(b"\0"):
                writer.seek(offset + reader.tell() - len(chunk))
                writer.write(chunk)
    image.unlink()


def offsets(contents: Sequence[Ext4 | Made]) -> list[tuple[int, int]]:
    """Return where :func:`disk` puts each content: offset and size in bytes."""
    found = []
    start = FIRST_MIB * MIB
    for content in contents:
        found.append((start, content.size_mib * MIB))
        start += content.size_mib * MIB
    return found


def write_files(folder: Path, files: Files) -> None:
    """Write files, folders and links below a folder."""
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            os.symlink(content.removeprefix("-> "), path)
        else:
            path.write_text(content)
