"""Settings of the kernel and of the machine: modules, parameters, limits, SELinux, directories."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Obstacle
from convert.inspect.guest import Guest
from convert.inspect.obstacles.catalogue import namespaced, obstacle
from formats.core.entry import Entry, Kind

_MODULES = re.compile(r"[\w-]+")
_MODULE_FILES = ("etc/modules", "etc/modules-load.d/*.conf")
"""modules-load.d(5); those of ``/usr/lib`` come with packages, for hardware."""
_USUAL_MODULES = frozenset({"af_packet", "ipv6"})
"""Of every Alpine; every host has them."""
_SCRIPTED_MODULES = ("etc/sysconfig/modules/*.modules", "etc/rc.modules")
_MODPROBE = re.compile(r"\s*(?:exec\s+)?(?:/sbin/)?(?:modprobe|insmod)\s+(?:-\S+\s+)*(\S+)")
_OPENRC_MODULES = re.compile(r"\s*modules(?:_\d\w*)?=\"?([^\"]*)")
_SYSCTL_FILES = ("etc/sysctl.conf", "etc/sysctl.d/*.conf", "usr/local/lib/sysctl.d/*.conf")
"""sysctl.d(5); those of ``/usr/lib`` are the distribution's own."""
_SYSCTL = re.compile(r"-?\s*([\w./*-]+)\s*=\s*(.*)")
_LIMIT_FILES = ("etc/security/limits.conf", "etc/security/limits.d/*.conf")
_USUAL_LIMITS = re.compile(rb".*/\d\d-nproc\.conf")
"""What Red Hat sets on every machine."""
_SELINUX = re.compile(r"\s*SELINUX\s*=\s*enforcing\b")
_NETWORK_USERS = re.compile(r"\s*passwd:.*?\b(ldap|sss|nis|nisplus|winbind|hesiod)\b")

Lines = Iterator[tuple[Entry, int, str]]


def lines_of(guest: Guest, patterns: Sequence[str], comments: str = "#;") -> Lines:
    """Yield the lines of files that say something; a file that two names lead to comes once."""
    seen: set[bytes] = set()
    for pattern in patterns:
        for entry in guest.glob(pattern.encode()):
            target = guest.index.resolve(entry.path)
            if target is None or target.kind is Kind.FOLDER or target.path in seen:
                continue
            seen.add(target.path)
            for number, line in guest.lines(target.path):
                text = line.strip()
                if text and not text.startswith(tuple(comments)):
                    yield target, number, text


def modules(guest: Guest) -> Iterator[Obstacle]:
    """Yield the kernel's modules that the machine loads, and those that are built on it."""
    for entry, number, text in lines_of(guest, _MODULE_FILES):
        match = _MODULES.match(text)
        if match is not None and match[0] not in _USUAL_MODULES:
            yield obstacle("kernel-module", match[0], Evidence(entry.path, number, "modules"))
    for entry, number, text in lines_of(guest, _SCRIPTED_MODULES):
        match = _MODPROBE.match(text)
        if match is not None:
            yield obstacle("kernel-module", match[1], Evidence(entry.path, number, "modules"))
    for entry, number, text in lines_of(guest, ("etc/conf.d/modules",)):
        match = _OPENRC_MODULES.match(text)
        for name in match[1].split() if match is not None else ():
            yield obstacle("kernel-module", name, Evidence(entry.path, number, "modules"))
    for entry in guest.glob(b"usr/src/*/dkms.conf"):
        name = entry.parent.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
        yield obstacle("out-of-tree-module", name, Evidence(entry.path, None, "dkms"))


def parameters(guest: Guest) -> Iterator[Obstacle]:
    """Yield the kernel's parameters that are set: sysctl.d(5)."""
    for entry, number, text in lines_of(guest, _SYSCTL_FILES):
        match = _SYSCTL.fullmatch(text)
        if match is not None:
            name = _dotted(match[1])
            kind = "sysctl" if namespaced().fullmatch(name) else "host-sysctl"
            evidence = Evidence(entry.path, number, "sysctl")
            yield obstacle(kind, f"{name} = {match[2].strip()}", evidence)


def _dotted(name: str) -> str:
    """Return a parameter's name with dots: whichever separator comes first is the separator."""
    first = re.search(r"[./]", name)
    return name.translate(str.maketrans("./", "/.")) if first and first[0] == "/" else name


def limits(guest: Guest) -> Iterator[Obstacle]:
    """Yield what logins may use: limits.conf(5)."""
    for entry, number, text in lines_of(guest, _LIMIT_FILES):
        fields = text.partition("#")[0].split()
        if len(fields) == 4 and not _USUAL_LIMITS.fullmatch(entry.path):
            whom, kind, item, value = fields
            evidence = Evidence(entry.path, number, "limits")
            yield obstacle("resource-limit", f"{item} {value} ({kind}) for {whom}", evidence)


def policies(guest: Guest) -> Iterator[Obstacle]:
    """Yield what else of the machine's set-up stays behind: SELinux, users from a directory."""
    for entry, number, text in lines_of(guest, ("etc/selinux/config", "etc/sysconfig/selinux")):
        if _SELINUX.match(text):
            yield obstacle("selinux", "SELinux enforces", Evidence(entry.path, number, "selinux"))
    for entry, number, text in lines_of(guest, ("etc/nsswitch.conf",)):
        match = _NETWORK_USERS.match(text)
        if match is not None:
            evidence = Evidence(entry.path, number, "nsswitch")
            yield obstacle("directory-users", f"users come from {match[1]}", evidence)
