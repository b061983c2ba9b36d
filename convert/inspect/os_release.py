"""Which operating system a tree is: os-release(5), and what came before it.

https://www.freedesktop.org/software/systemd/man/latest/os-release.html
"""

from __future__ import annotations

import re
from collections.abc import Callable

from convert.inspect.environment_file import variables_of
from convert.inspect.evidence import Evidence, OperatingSystem
from convert.inspect.guest import Guest
from convert.inspect.text import can_be_said
from formats.core.entry import Kind
from formats.core.limits import MIB

OS_RELEASE_PATHS = (b"etc/os-release", b"usr/lib/os-release")
"""The first that is there counts; they are never merged."""

_RELEASE_FILES: tuple[tuple[bytes, str], ...] = (
    # Most particular first: Oracle and Amazon ship redhat-release beside their own.
    (b"etc/photon-release", "photon"),
    (b"etc/oracle-release", "ol"),
    (b"etc/rocky-release", "rocky"),
    (b"etc/almalinux-release", "almalinux"),
    (b"etc/centos-release", "centos"),
    (b"etc/fedora-release", "fedora"),
    (b"etc/system-release", ""),
    (b"etc/redhat-release", ""),
    (b"etc/SuSE-release", "suse"),
    (b"etc/gentoo-release", "gentoo"),
    (b"etc/slackware-version", "slackware"),
)

_IDS_BY_NAME: tuple[tuple[str, str], ...] = (
    ("CentOS", "centos"),
    ("Red Hat Enterprise", "rhel"),
    ("Fedora", "fedora"),
    ("Amazon Linux", "amzn"),
    ("Oracle Linux", "ol"),
    ("Scientific Linux", "scientific"),
    ("openSUSE", "opensuse"),
    ("SUSE", "sles"),
    ("VMware Photon", "photon"),
    ("Buildroot", "buildroot"),
    ("Ubuntu", "ubuntu"),
    ("Debian", "debian"),
    ("Alpine", "alpine"),
    ("NixOS", "nixos"),
    ("Flatcar", "flatcar"),
    ("CoreOS", "coreos"),
    ("Void", "void"),
    ("Arch Linux", "arch"),
    ("OpenWrt", "openwrt"),
)

_SENTENCE_MAX = 1024
_BUSYBOX = re.compile(rb"BusyBox v(\d+\.\d+(?:\.\d+)?)")
_BUSYBOX_MAX_BYTES = 4 * MIB
_VERSION = re.compile(r"\b(\d+(?:\.\d+)*)\b")


def operating_system(guest: Guest) -> OperatingSystem | None:
    """Return what the tree says it is, from the best source that is there; None if none is."""
    for source in _SOURCES:
        found = source(guest)
        if found is not None:
            return found
    return None


def _os_release(guest: Guest) -> OperatingSystem | None:
    for path in OS_RELEASE_PATHS:
        found = variables_of(guest.text(path) or "")
        if not found:
            continue
        values = {name: item.value for name, item in found.items() if can_be_said(item.value)}
        identity = values.get("ID") or "linux"  # the default that os-release(5) states
        name = values.get("NAME") or identity
        return OperatingSystem(
            id=identity,
            name=name,
            pretty_name=values.get("PRETTY_NAME") or name,
            evidence=Evidence(path, found["ID"].line if "ID" in found else None, "os-release"),
            version_id=values.get("VERSION_ID") or None,
        )
    return None


def _lsb_release(guest: Guest) -> OperatingSystem | None:
    return _distrib(guest, b"etc/lsb-release")


def _openwrt_release(guest: Guest) -> OperatingSystem | None:
    """Return what OpenWrt said before it had an os-release."""
    return _distrib(guest, b"etc/openwrt_release")


def _distrib(guest: Guest, path: bytes) -> OperatingSystem | None:
    """Return the system of a file with ``DISTRIB_ID=`` and so on."""
    found = variables_of(guest.text(path) or "")
    values = {name: item.value for name, item in found.items() if can_be_said(item.value)}
    distributor = values.get("DISTRIB_ID")
    if not distributor:
        return None
    version = values.get("DISTRIB_RELEASE") or None
    return OperatingSystem(
        id=distributor.lower(),
        name=distributor,
        pretty_name=values.get("DISTRIB_DESCRIPTION") or distributor,
        evidence=Evidence(path, found["DISTRIB_ID"].line, "lsb-release"),
        version_id=version,
    )


def _release_file(guest: Guest) -> OperatingSystem | None:
    for path, identity in _RELEASE_FILES:
        for number, line in guest.lines(path):
            if line.strip() and can_be_said(line):
                return _from_sentence(line, identity, Evidence(path, number, "release-file"))
    return None


def _versioned(path: bytes, identity: str, name: str) -> Callable[[Guest], _Found]:
    """Return a source for a file that holds nothing but a version."""

    def source(guest: Guest) -> OperatingSystem | None:
        for number, line in guest.lines(path):
            if line.strip() and can_be_said(line):
                version = line.strip()
                evidence = Evidence(path, number, "version-file")
                return OperatingSystem(identity, name, f"{name} {version}", evidence, version)
        return None

    return source


def _marked(path: bytes, identity: str, name: str) -> Callable[[Guest], _Found]:
    """Return a source for a file that is empty: that it is there says all."""

    def source(guest: Guest) -> OperatingSystem | None:
        if guest.index.resolve(path) is None:
            return None
        return OperatingSystem(identity, name, name, Evidence(path, None, "marker-file"))

    return source


def _busybox(guest: Guest) -> OperatingSystem | None:
    """Return busybox itself, where an appliance consists of little else."""
    entry = guest.index.resolve(b"bin/busybox")
    if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
        return None
    match = None
    if entry.size <= _BUSYBOX_MAX_BYTES:
        content = guest.index.content(entry.path, _BUSYBOX_MAX_BYTES) or b""
        match = _BUSYBOX.search(content)
    version = match[1].decode() if match is not None else None
    name = f"BusyBox {version}" if version is not None else "BusyBox"
    evidence = Evidence(entry.path, None, "busybox-program")
    return OperatingSystem("busybox", "BusyBox", name, evidence, version)


def _issue(guest: Guest) -> OperatingSystem | None:
    path = b"etc/issue"
    for number, line in guest.lines(path):
        # agetty(8): a backslash and a letter stand for something of the running system.
        sentence = re.sub(r"\\\S(?:\{[^}]{0,64}\})?", "", line[:_SENTENCE_MAX]).strip()
        if re.search(r"[A-Za-z]", sentence) and can_be_said(sentence):
            return _from_sentence(sentence, "", Evidence(path, number, "issue"))
    return None


def _from_sentence(line: str, identity: str, evidence: Evidence) -> OperatingSystem:
    sentence = line.strip()
    version = _VERSION.search(sentence)
    if not identity:
        matching = (known for words, known in _IDS_BY_NAME if words in sentence)
        identity = next(matching, "linux")
    name = sentence.partition(" release ")[0]
    if version and " release " not in sentence:
        name = sentence[: version.start()].strip() or sentence
    return OperatingSystem(identity, name, sentence, evidence, version[1] if version else None)


_Found = OperatingSystem | None

_SOURCES: tuple[Callable[[Guest], _Found], ...] = (
    _os_release,
    _lsb_release,
    _openwrt_release,
    _release_file,
    _versioned(b"etc/alpine-release", "alpine", "Alpine Linux"),
    _versioned(b"etc/debian_version", "debian", "Debian GNU/Linux"),
    _versioned(b"etc/br-version", "buildroot", "Buildroot"),
    _versioned(b"nix/var/nix/profiles/system/nixos-version", "nixos", "NixOS"),
    _versioned(b"etc/cirros/version", "cirros", "CirrOS"),
    _versioned(b"usr/share/doc/tc/release.txt", "tinycore", "Tiny Core Linux"),
    _marked(b"etc/NIXOS", "nixos", "NixOS"),
    _marked(b"etc/arch-release", "arch", "Arch Linux"),
    _issue,
    _busybox,
)
