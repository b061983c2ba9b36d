"""Systems that are not Linux are named precisely, refused, and can still be looked into."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.inspect.other_systems import other_system
from formats.core.tree import TreeIndex
from tests.support.command import convert, succeed
from tests.support.guests import SYSTEM
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

VERSION_STRING = "ProductVersion\0" + "10.0.19041.1\0"
"""A String of a version resource: its key, and since that ends at a multiple of four, its value."""

SYSTEMS: dict[str, dict[str, bytes]] = {
    "Windows 10.0.19041": {
        "Windows/System32/ntoskrnl.exe": b"MZx" + VERSION_STRING.encode("utf-16-le"),
        "Program Files/x": b"",
    },
    "Windows 5.1.2600": {
        "WINDOWS/system32/ntoskrnl.exe": b"MZ"
        + VERSION_STRING.replace("10.0.19041.1", "5.1.2600.5512").encode("utf-16-le")
    },
    "Windows": {"WINNT/system32/ntoskrnl.exe": b"MZ"},
    "macOS 14.2.1": {
        "System/Library/CoreServices/SystemVersion.plist": (
            b"<dict>\n<key>ProductVersion</key>\n\t<string>14.2.1</string>\n</dict>"
        )
    },
    "FreeBSD 13.2-RELEASE-p4": {
        "bin/freebsd-version": b'#!/bin/sh\nUSERLAND_VERSION="13.2-RELEASE-p4"\n',
        "bin/sh": b"x",
        "sbin/init": b"x",
        "etc/rc": b"x",
        "usr/lib/libc.a": b"x",
        "dev/null": b"",
        "etc/os-release": b"NAME=FreeBSD\nID=freebsd\n",
    },
    "FreeBSD": {
        "boot/kernel/kernel": b"x",
        "etc/defaults/rc.conf": b"x",
        "libexec/ld-elf.so.1": b"x",
    },
    "OpenBSD 7.4": {
        "bsd": b"x",
        "etc/rc": b"x",
        "usr/libexec/ld.so": b"",
        "etc/motd": b"OpenBSD 7.4 (G",
    },
    "NetBSD 9.3": {
        "netbsd": b"x",
        "etc/rc": b"x",
        "libexec/ld.elf_so": b"x",
        "etc/release": b"NetBSD 9.3/amd64\n",
    },
    "Android 13": {
        "system/build.prop": b"ro.build.version.release=13\n",
        "system/framework/x.jar": b"",
    },
    "Solaris or illumos": {"kernel/genunix": b"x", "etc/vfstab": b""},
}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_that_is_not_linux_is_named_and_refused(tmp_path: Path, system: str) -> None:
    _write(tmp_path / "tree", SYSTEMS[system])
    done = convert("run", f"dir:{tmp_path}/tree", f"oci:{tmp_path}/out:x")
    assert done.code == 3
    assert f"holds {system}, which does not run in a Linux container" in done.err
    assert "convert export --raw" in done.err
    assert not (tmp_path / "out").exists()


def test_its_files_can_be_had_all_the_same(tmp_path: Path) -> None:
    _write(tmp_path / "tree", SYSTEMS["FreeBSD 13.2-RELEASE-p4"])
    succeed("export", "-q", "--raw", f"dir:{tmp_path}/tree", f"dir:{tmp_path}/out")
    assert (tmp_path / "out" / "sbin" / "init").read_bytes() == b"x"


def test_linux_is_none_of_them() -> None:
    files = {"etc/rc": "x", "boot/kernel/x": "x", "etc/release": "x", "windows/x": "x"}
    assert other_system(TreeIndex(memory_tree(SYSTEM + units_text(files)))) is None
