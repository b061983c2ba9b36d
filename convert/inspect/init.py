"""Which init system a guest has."""

from __future__ import annotations

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Init
from convert.inspect.guest import Guest
from formats.core.entry import Kind

_PATHS = (
    b"sbin/init",
    b"usr/lib/systemd/systemd",
    b"lib/systemd/systemd",
    b"etc/init",
    b"bin/init",
    b"init",
)
"""Where a kernel looks (kernel.org, "Explaining the 'No working init found.' boot hang message"),
and where systemd is when nothing links to it."""

_BY_PROGRAM: tuple[tuple[bytes, str], ...] = (
    # The name of the program that init really is
    (b"systemd", "systemd"),
    (b"busybox", "busybox"),
    (b"openrc-init", "openrc"),
    (b"runit-init", "runit"),
    (b"s6-linux-init", "s6"),
    (b"upstart", "upstart"),
)

_BY_FILE: tuple[tuple[bytes, str], ...] = (
    # Where init is a file of its own, what lies beside it
    (b"sbin/initctl", "upstart"),
    (b"etc/runit/1", "runit"),
    (b"etc/s6-linux-init", "s6"),
    (b"etc/inittab", "sysvinit"),
)


def init_system(guest: Guest) -> Init | None:
    """Return the init system; None where no init is in the tree."""
    for path in _PATHS:
        entry = guest.index.resolve(path)
        if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK} or not entry.mode & 0o111:
            continue
        absolute = "/" + path.decode()
        for program, name in _BY_PROGRAM:
            if entry.name.startswith(program):
                return Init(name, absolute, Evidence(entry.path, None, "init-program"))
        for beside, name in _BY_FILE:
            if guest.index.resolve(beside) is not None:
                return Init(name, absolute, Evidence(beside, None, "init-file"))
        return Init("unknown", absolute, Evidence(entry.path, None, "init-program"))
    return None
