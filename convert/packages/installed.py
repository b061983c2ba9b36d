"""Which packages a root has, by the databases of its package managers.

dpkg: ``status`` (deb-control(5), dpkg(1) for states), ``status.d`` of images without dpkg;
rpm: :mod:`formats.packages.rpm.installed`; apk: apk-v2 "installed database" of the Alpine wiki;
pacman: alpm-db-desc(5).

Of dpkg's and rpm's packages all is read that resolving needs, of others who they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from formats.core.errors import ConvertError
from formats.core.limits import GIB
from formats.core.origin import file_origin
from formats.core.package import Package, PackageSystem
from formats.core.tree import TreeIndex
from formats.packages.deb.control import describe as describe_deb
from formats.packages.deb.stanzas import parse_stanza, read_stanzas
from formats.packages.rpm.header import Header
from formats.packages.rpm.package import describe as describe_rpm

_DPKG = b"var/lib/dpkg/status"
_DPKG_FOLDER = b"var/lib/dpkg/status.d"
_DIGESTS = b".md5sums"
_INSTALLED = frozenset({"installed", "triggers-awaited", "triggers-pending"})
"""States of packages that others can rely on."""
_DEB_FACTS = ("multi-arch", "priority")
_RPM_FOLDERS = (b"usr/lib/sysimage/rpm", b"var/lib/rpm", b"usr/share/rpm")
"""Of present distributions, of older ones, and of ostree."""
APK_DATABASES = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
PACMAN_FOLDER = b"var/lib/pacman/local"
DATABASE_BYTES = GIB


def installed_packages(index: TreeIndex) -> tuple[Package, ...]:
    """Return the packages of a root, in the order of its databases.

    :raises CorruptError: if a database is damaged.
    :raises LimitError: if one is larger than any that is known.
    :raises UnsupportedError: if one is of a form that is not read.
    """
    return tuple(package for read in (_dpkg, _rpm, _apk, _pacman) for package in read(index))


def _dpkg(index: TreeIndex) -> Iterator[Package]:
    for fields in _stanzas(index, _DPKG):
        if fields.get("status", "").rpartition(" ")[2] in _INSTALLED:
            yield _deb(index, fields, _DPKG)
    for entry in index.children(_DPKG_FOLDER):
        if not entry.name.endswith(_DIGESTS):  # of its files
            for fields in _stanzas(index, entry.path):
                yield _deb(index, fields, entry.path)


def _stanzas(index: TreeIndex, path: bytes) -> Iterator[Mapping[str, str]]:
    text = index.content(path, DATABASE_BYTES)
    origin = file_origin(index.tree.origin, path)
    for stanza in read_stanzas([text or b""], origin, index.limits):
        try:
            yield parse_stanza(stanza)
        except ConvertError as error:
            raise error.at(origin) from None


def _deb(index: TreeIndex, fields: Mapping[str, str], path: bytes) -> Package:
    try:
        return describe_deb(fields, facts=_DEB_FACTS)
    except ConvertError as error:
        raise error.at(file_origin(index.tree.origin, path)) from None


def _rpm(index: TreeIndex) -> Iterator[Package]:
    for header in rpm_headers(index):
        package = describe_rpm(header, ())
        if package.name != "gpg-pubkey":  # keys are kept as if they were packages
            yield package


def rpm_headers(index: TreeIndex) -> Iterator[Header]:
    """Yield the headers of the first database there is: others are left behind by conversions.

    :raises ConvertError: as :func:`installed_packages` says.
    """
    from formats.packages.rpm.installed.headers import (  # noqa: PLC0415 - few roots have one
        FILES,
        LOG,
        SQLITE,
        read_headers,
    )

    places = ((folder, name) for folder in _RPM_FOLDERS for name in FILES)
    for folder, name in places:
        path = folder + b"/" + name
        data = index.content(path, DATABASE_BYTES)
        if not data:
            continue
        log = index.content(folder + b"/" + LOG, DATABASE_BYTES) if name == SQLITE else None
        origin = file_origin(index.tree.origin, path)
        yield from read_headers(name, data, log or b"", origin, index.limits)
        return


def _apk(index: TreeIndex) -> Iterator[Package]:
    """Yield the packages of apk: paragraphs of lines like ``P:musl``."""
    text = next(
        (text for path in APK_DATABASES if (text := index.content(path, DATABASE_BYTES))), b""
    )
    for paragraph in text.decode("utf-8", "surrogateescape").split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.split("\n"):
            name, _, value = line.partition(":")
            if len(name) == 1 and name != "F":
                fields.setdefault(name, value)
            elif name == "F":  # from here on the lines are about files
                break
        yield from _named(PackageSystem.APK, fields, "P", "V", "A", "T", "o")


def _pacman(index: TreeIndex) -> Iterator[Package]:
    """Yield the packages of pacman: of each a folder with a file ``desc``."""
    for folder in index.children(PACMAN_FOLDER):
        text = index.content(folder.path + b"/desc") or b""
        fields: dict[str, str] = {}
        for paragraph in text.decode("utf-8", "surrogateescape").split("\n\n"):
            name, _, value = paragraph.strip("\n").partition("\n")
            fields[name] = value
        names = ("%NAME%", "%VERSION%", "%ARCH%", "%DESC%", "%BASE%")
        yield from _named(PackageSystem.PACMAN, fields, *names)


def _named(
    system: PackageSystem,
    fields: Mapping[str, str],
    name: str,
    version: str,
    architecture: str,
    summary: str,
    source: str,
) -> Iterator[Package]:
    """Yield the package that fields of these names are of; nothing where there is none."""
    if fields.get(name) and fields.get(version):
        yield Package(
            system,
            fields[name],
            fields[version],
            fields.get(architecture, ""),
            fields.get(summary, ""),
            fields.get(source, ""),
        )
