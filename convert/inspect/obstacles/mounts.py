"""What the machine mounts that is on no disk of it: fstab(5), systemd.mount(5), auto.master(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.evidence import Evidence
from convert.inspect.facts import DataFolder, Obstacle
from convert.inspect.guest import Guest
from convert.inspect.obstacles.catalogue import obstacle
from convert.inspect.obstacles.settings import lines_of
from convert.inspect.text import can_be_said, encoded
from convert.inspect.unit_file import last, parse_unit
from convert.select.fstab import FSTAB, FstabLine, MountKind, parse_fstab

_MOUNT_UNITS = b"etc/systemd/system/*.mount"
_AUTOFS = ("etc/auto.master", "etc/autofs/auto.master", "etc/auto.master.d/*.autofs")
_USUAL_AUTOFS = frozenset({"/misc", "/net"})
"""Of the examples that distributions ship."""
_KINDS = {
    MountKind.NETWORK: "remote-mount",
    MountKind.REBOUND: "bind-mount",
    MountKind.IN_MEMORY: "memory-mount",
}
_RUNTIMES_OWN = frozenset({b"proc", b"sys", b"dev", b"run", b"tmp"})
_LINES_MAX = 1000
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Mount:
    """An obstacle, and the data folder where something was mounted from elsewhere."""

    obstacle: Obstacle
    folder: DataFolder | None = None


def mounts(guest: Guest) -> Iterator[Mount]:
    """Yield what is mounted, those of fstab first."""
    for line in parse_fstab(encoded(guest.text(FSTAB) or ""))[:_LINES_MAX]:
        yield from _mount(line, Evidence(FSTAB, line.number, "fstab"))
    for entry in guest.glob(_MOUNT_UNITS):
        settings = parse_unit(guest.text(entry.path) or "", entry.path)
        found = [last(settings, "Mount", key) for key in ("What", "Where", "Type", "Options")]
        what, where, kind, options = (item.value if item is not None else "" for item in found)
        if what and where and found[0] is not None:
            line = FstabLine(
                encoded(what),
                encoded(where),
                kind,
                tuple(options.split(",")),
                found[0].line,
            )
            yield from _mount(line, Evidence(entry.path, line.number, "systemd-mount"))
    for entry, number, text in lines_of(guest, _AUTOFS):
        words = text.split()
        if len(words) >= 2 and words[0].startswith("/") and words[0] not in _USUAL_AUTOFS:
            evidence = Evidence(entry.path, number, "autofs")
            what = f"autofs: {words[1]} below {words[0]}"
            yield Mount(obstacle("remote-mount", what, evidence))


def _mount(line: FstabLine, evidence: Evidence) -> Iterator[Mount]:
    kind = _KINDS.get(line.kind)
    if kind is None or line.path.partition(b"/")[0] in _RUNTIMES_OWN:
        return
    source, target = (field.decode("utf-8", "surrogateescape") for field in (line.spec, line.path))
    source = _CREDENTIALS.sub("//", source)
    found = obstacle(kind, f"{source} on /{target} ({line.type or 'auto'})", evidence)
    is_data = line.kind is MountKind.NETWORK and line.is_mounted_at_boot and line.path
    if is_data and can_be_said(target):
        yield Mount(found, DataFolder(f"/{target}", evidence))
    else:
        yield Mount(found)
