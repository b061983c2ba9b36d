"""Where packages come from beside the distribution: sources and keys, which go in first.

apt: sources.list(5), both forms; dnf and yum: dnf.conf(5) "Repo options"; zypper(8); apk:
apk-repositories(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convert.dockerfile.originals import Originals
from formats.core.entry import Entry, Kind
from formats.core.limits import MIB
from formats.core.package import PackageSystem
from formats.core.tree import TreeIndex

_FILE_BYTES = MIB
_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]{1,16}):(?://([^/\s]{0,255}))?[^\s\]]{0,1024}")
_OWN_HOSTS = (
    "alpinelinux.org",
    "archlinux.org",
    "canonical.com",
    "debian.net",
    "debian.org",
    "opensuse.org",
    "suse.com",
    "ubuntu.com",
)
"""Of the distributions: what is there is known to the official image, in its own words."""
_OWN_PACKAGES = re.compile(
    r"(almalinux|rocky|centos|centos-stream|fedora|redhat|oraclelinux|system|openSUSE|photon)"
    r"-(release|repos).*|yum|dnf.*"
)
_APK_REPOSITORIES = b"etc/apk/repositories"
_FOLDERS: dict[PackageSystem, tuple[bytes, ...]] = {
    PackageSystem.DEB: (b"etc/apt/sources.list.d",),
    PackageSystem.RPM: (b"etc/yum.repos.d", b"etc/zypp/repos.d"),
}
_KEY_FOLDERS: dict[PackageSystem, tuple[bytes, ...]] = {
    PackageSystem.DEB: (b"etc/apt/keyrings", b"etc/apt/trusted.gpg.d", b"usr/share/keyrings"),
    PackageSystem.RPM: (b"etc/pki/rpm-gpg",),
    PackageSystem.APK: (b"etc/apk/keys",),
}
_PREFERENCES = (b"etc/apt/preferences.d", b"etc/apt/preferences")


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of packages that the official image does not have.

    :ivar entries: files to copy: sources, keys, preferences.
    :ivar lines: of ``/etc/apk/repositories``, to be appended.
    :ivar hosts: where packages come from, for people.
    :ivar is_tls: something is fetched with TLS, for which a slim image has no certificates.
    :ivar untold: lines of ``/etc/apt/sources.list`` that are not copied.
    """

    entries: tuple[Entry, ...] = ()
    lines: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    is_tls: bool = False
    untold: tuple[str, ...] = ()


def third_party_sources(index: TreeIndex, originals: Originals, system: PackageSystem) -> Sources:
    """Return the sources that somebody added."""
    entries: list[Entry] = []
    hosts: set[str] = set()
    schemes: set[str] = set()
    for folder in _FOLDERS.get(system, ()):
        for entry in _files(index, folder):
            foreign = list(_foreign(_text(index, entry).split("\n")))
            if foreign and _is_added(originals, entry):
                entries.append(entry)
                schemes.update(scheme for scheme, _, _ in foreign)
                hosts.update(host for _, host, _ in foreign)
    lines: list[str] = []
    untold: list[str] = []
    repositories = index.resolve(_APK_REPOSITORIES)
    if system is PackageSystem.APK and repositories is not None:
        for _, host, line in _foreign(_text(index, repositories).split("\n")):
            lines.append(line.strip())
            hosts.add(host)
    main = index.resolve(b"etc/apt/sources.list")
    if system is PackageSystem.DEB and main is not None:
        untold += [line.strip() for _, _, line in _foreign(_text(index, main).split("\n"))]
    if entries or lines:
        folders = (*_KEY_FOLDERS.get(system, ()), *_PREFERENCES)
        for folder in folders:
            entries += [item for item in _files(index, folder) if _is_added(originals, item)]
    return Sources(
        tuple(sorted(entries, key=lambda entry: entry.path)),
        tuple(dict.fromkeys(lines)),
        tuple(sorted(hosts)),
        "https" in schemes,
        tuple(dict.fromkeys(untold)),
    )


def _files(index: TreeIndex, path: bytes) -> Iterator[Entry]:
    found = index.resolve(path)
    if found is None:
        return
    for entry in [found] if found.kind is Kind.FILE else index.children(path):
        if entry.kind is Kind.FILE and entry.size <= _FILE_BYTES:
            yield entry


def _is_added(originals: Originals, entry: Entry) -> bool:
    """Tell whether the official image does not have a file: no package of the distribution does."""
    owner = originals.owners.get(entry.path)
    is_release = owner is not None and "release" in owner
    return owner is None or (is_release and _OWN_PACKAGES.fullmatch(owner) is None)


def _text(index: TreeIndex, entry: Entry) -> str:
    content = index.content(entry.path, _FILE_BYTES) if entry.size <= _FILE_BYTES else None
    return (content or b"").decode("utf-8", "replace")


def _foreign(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield scheme, host and line of each address that is not the distribution's."""
    for line in lines:
        if line.lstrip().startswith("#"):
            continue
        for match in _ADDRESS.finditer(line):
            host = (match[2] or "").rpartition("@")[2].partition(":")[0]
            is_own = any(host == own or host.endswith(f".{own}") for own in _OWN_HOSTS)
            if host and not is_own:
                yield match[1], host, line
                break
