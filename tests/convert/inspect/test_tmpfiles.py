"""Folders below /run: systemd-tmpfiles makes them, we say which."""

from __future__ import annotations

import os
from pathlib import Path

from convert.inspect.accounts import Accounts
from convert.inspect.guest import Guest
from convert.inspect.tmpfiles import runtime_folders
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, need_root, run
from tests.support.systemd import units_text, unpack

FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\n",
    "etc/group": "root:x:0:\nwebs:x:34:\nlog:x:40:web\n",
    "usr/lib/tmpfiles.d/a.conf": (
        "# d /run/comment 0755 root root\n"
        "d /run/plain 0750 web log - -\n"
        "d /run/bare\n"
        "D /run/emptied 2775 web -\n"
        "d! /run/at-boot 0700\n"
        'd "/run/with blank" 1777 root root 10d\n'
        "d /run/numbers 0711 33 40\n"
        "d /var/run/legacy 0755 web webs\n"
        "d /run/deep/er 0755 web webs\n"
        "f /run/file 0644 root root - text\n"
        "L /run/link - - - - /dev/null\n"
        "d /var/lib/elsewhere 0755\n"
        "d relative 0755\n"
        "d /run/again 0711\n"
        "nonsense\n"
        "d\n"
    ),
    "usr/lib/tmpfiles.d/b.conf": "d /run/again 0700 web webs\n",
    "usr/lib/tmpfiles.d/c.conf": "d /run/vendor 0755\n",
    "etc/tmpfiles.d/c.conf": "d /run/administrator 0755\n",
    "usr/lib/tmpfiles.d/d.conf": "d /run/off 0755\n",
    "etc/tmpfiles.d/d.conf": "-> /dev/null",
    "usr/lib/tmpfiles.d/e.txt": "d /run/not-conf 0755\n",
    "var/run": "-> ../run",
}


def _ours() -> dict[str, tuple[int, int, int]]:
    guest = Guest(TreeIndex(memory_tree(units_text(FILES))))
    return {
        folder.path.decode(): (folder.mode, folder.uid, folder.gid)
        for folder in runtime_folders(guest, Accounts(guest))
    }


def test_makes_the_folders_that_systemd_tmpfiles_makes(tmp_path: Path) -> None:
    need_root()
    need("systemd-tmpfiles")
    unpack(memory_tree(units_text(FILES) + "\nd 755 0:0 run\n"), tmp_path)
    command = ("--create", "--boot", f"--root={tmp_path}", "--prefix=/run", "--prefix=/var/run")
    run("systemd-tmpfiles", *command, check=False)
    theirs = {}
    for folder, _, _ in os.walk(tmp_path / "run"):
        name = os.path.relpath(folder, tmp_path)
        status = os.stat(folder)
        theirs[name] = (status.st_mode & 0o7777, status.st_uid, status.st_gid)
    for implied in ("run", "run/deep"):
        del theirs[implied]

    assert _ours() == theirs


def test_says_which_line_asks_for_a_folder() -> None:
    guest = Guest(TreeIndex(memory_tree(units_text(FILES))))
    found = {folder.path: folder for folder in runtime_folders(guest, Accounts(guest))}

    assert str(found[b"run/plain"].evidence) == "/usr/lib/tmpfiles.d/a.conf:2 (tmpfiles)"
