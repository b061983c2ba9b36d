"""Folders that the guest makes below ``/run`` at each boot: tmpfiles.d(5).

A container has no boot, and ``/run`` of a disk holds nothing: the folders go into the image.
https://www.freedesktop.org/software/systemd/man/latest/tmpfiles.d.html
"""

from __future__ import annotations

import re

from convert.inspect.accounts import Accounts
from convert.inspect.evidence import Evidence
from convert.inspect.facts import RuntimeFolder
from convert.inspect.guest import Guest
from convert.inspect.unit_file import split_words
from formats.core.entry import Entry

_FOLDERS = (
    b"etc/tmpfiles.d",
    b"run/tmpfiles.d",
    b"usr/local/lib/tmpfiles.d",
    b"usr/lib/tmpfiles.d",
)
_KINDS = frozenset("dDvqQ")
_RUN = re.compile(r"/(?:var/)?run/(.+)")
_INIT_SYSTEM = re.compile(r"systemd(/|$)|user(/|$)|log(/|$)")
"""Below ``/run``, and only for an init system that is running."""


def runtime_folders(guest: Guest, accounts: Accounts) -> tuple[RuntimeFolder, ...]:
    """Return the folders below ``/run`` that packages ask for, by path."""
    files: dict[bytes, Entry] = {}
    for folder in _FOLDERS:
        for entry in guest.children(folder):
            if entry.name.endswith(b".conf"):
                files.setdefault(entry.name, entry)  # the same name in an earlier folder wins
    found: dict[bytes, RuntimeFolder] = {}
    for _, entry in sorted(files.items()):
        for number, line in guest.lines(entry.path):
            made = _folder(line, Evidence(entry.path, number, "tmpfiles"), accounts)
            if made is not None:
                found.setdefault(made.path, made)
    return tuple(found[path] for path in sorted(found))


def _folder(line: str, evidence: Evidence, accounts: Accounts) -> RuntimeFolder | None:
    if line.lstrip().startswith("#"):
        return None
    words = [*split_words(line), "-", "-", "-"]
    if len(words) < 5 or words[0].rstrip("!-=~^$+") not in _KINDS:
        return None
    match = _RUN.fullmatch(words[1].rstrip("/").replace("%t", "/run"))
    if match is None or "%" in match[1] or _INIT_SYSTEM.match(match[1]):
        return None
    if any(part in {"", ".", ".."} for part in match[1].split("/")):
        return None
    mode, user, group = words[2].lstrip("~:"), words[3].lstrip(":"), words[4].lstrip(":")
    account = accounts.user(user) if user != "-" else None
    gid = accounts.group_id(group) if group != "-" else None
    return RuntimeFolder(
        path=f"run/{match[1]}".encode("utf-8", "surrogateescape"),
        mode=int(mode, 8) if re.fullmatch(r"[0-7]{3,4}", mode) else 0o755,
        uid=account.uid if account else 0,
        gid=gid or 0,
        evidence=evidence,
    )
