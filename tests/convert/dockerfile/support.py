"""Crafted systems, and an image that stands in for an official one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convert.layers.tar_file import write_tar
from tests.support.command import succeed
from tests.support.containers import Podman, podman
from tests.support.memory_tree import memory_tree
from tests.support.programs import need

_ALPINE = """\
f 644 0:0 etc/os-release ID=alpine\\nVERSION_ID=3.20.3\\nPRETTY_NAME="Alpine\\x20Linux\\x20v3.20"\\n
f 755 0:0 bin/busybox busybox
l 777 0:0 bin/sh busybox
f 755 0:0 sbin/init init
d 755 0:0 dev
d 755 0:0 proc
d 755 0:0 sys
d 755 0:0 var/log
f 644 0:0 etc/passwd root:x:0:0::/root:/bin/sh\\napp:x:1000:1001:An\\x20app:/srv/app:/bin/sh\\n
f 640 0:42 etc/shadow root:*::0:::::\\n
f 644 0:0 etc/group root:x:0:\\nshadow:x:42:\\napp:x:1001:app\\n
"""


def apk_row(name: str, *files: tuple[str, bytes]) -> str:
    """Return a paragraph of apk's database; the files have the content that they came with."""
    lines = [f"P:{name}", "V:1.0-r0", "A:x86_64", f"T:{name}"]
    for path, content in files:
        folder, _, last = path.rpartition("/")
        digest = base64.b64encode(hashlib.sha1(content).digest()).decode()  # noqa: S324 - apk's
        lines += [f"F:{folder}", f"R:{last}", f"Z:Q1{digest}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return a text as one word of :func:`memory_tree`."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace(" ", "\\x20")


def alpine(tmp_path: Path, text: str, world: str, *rows: str) -> Path:
    """Write an Alpine system with more in it as a tar, and return that.

    :param world: what was asked for.
    """
    database = escaped("\n".join(rows))
    tree = memory_tree(
        f"{_ALPINE}{text}\n"
        f"f 644 0:0 lib/apk/db/installed {database}\n"
        f"f 644 0:0 etc/apk/world {escaped(world)}\n"
    )
    file = tmp_path / "system.tar"
    write_tar(tree, file)
    return file


def drafted(source: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Write a Dockerfile and return the document about it."""
    arguments = ("--json", "--platform", "linux/amd64", *options)
    document = json.loads(succeed("dockerfile", *arguments, source, folder))
    assert isinstance(document, dict)
    return document


_APPLETS = ("sh", "ln", "grep", "printf", "rm", "cat", "mkdir", "chown", "chmod")


@contextmanager
def stand_in(tmp_path: Path) -> Iterator[Podman]:
    """Give a podman with an image ``localhost/base``: busybox, and programs that write down calls.

    ``apk`` and its like install nothing: what they were asked for is in ``/asked``.
    """
    need("busybox")
    file = tmp_path / "base.tar"
    with tarfile.open(file, "w") as archive:
        _add(archive, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        for name in _APPLETS:
            member = tarfile.TarInfo(f"bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(member)
        for name in ("apk", "apt-get", "dnf", "zypper", "pacman"):
            _add(archive, f"bin/{name}", b'#!/bin/sh\necho "${0##*/} $*" >> /asked\n', 0o755)
        _add(archive, "etc/passwd", b"root:x:0:0::/root:/bin/sh\n", 0o644)
        _add(archive, "etc/group", b"root:x:0:\nshadow:x:42:\n", 0o644)
        folder = tarfile.TarInfo("etc/nginx")
        folder.type, folder.mode, folder.uid = tarfile.DIRTYPE, 0o751, 7
        archive.addfile(folder)
        _add(archive, "etc/nginx/nginx.conf", b"as packaged\n", 0o644)
        _add(archive, "etc/nginx/unwanted.conf", b"as packaged\n", 0o644)
    with podman() as engine:
        engine("import", file, "localhost/base")
        yield engine


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def built(engine: Podman, folder: Path, base: str = "localhost/base") -> dict[str, Any]:
    """Build an image ``localhost/built`` of a folder, and return its config."""
    options = ("--runtime", "runc", "--network", "host", "--layers=false", "--quiet")
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
    names = ("--build-arg", f"BASE={base}", "--tag", "localhost/built")
    engine("build", *options, *limits, *names, folder)
    (image,) = json.loads(engine("image", "inspect", "localhost/built"))
    config = image["Config"]
    assert isinstance(config, dict)
    return config


def files_of(engine: Podman, tmp_path: Path) -> tuple[dict[str, tarfile.TarInfo], Path]:
    """Return what is in the image that was built, and the tar that it is in."""
    file = tmp_path / "built.tar"
    engine("create", "--name", "built", "localhost/built", "/bin/sh")
    engine("export", "--output", file, "built")
    with tarfile.open(file) as archive:
        return {member.name: member for member in archive}, file
