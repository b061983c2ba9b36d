"""Which package each file of a root belongs to, by the lists that package managers keep.

dpkg: ``info/NAME.list`` (dpkg(1), "FILES"), and ``status.d/NAME.md5sums`` of images without dpkg;
rpm: the file list of each header; apk: the lines ``F:`` and ``R:`` of its database (apk-v2,
"installed database"); pacman: ``files`` beside each ``desc``.

Folders belong to many packages, and so to none here. A path is where it is now: what a package
calls ``/lib/x`` is at ``usr/lib/x`` where ``/lib`` is a link.
"""

from __future__ import annotations

from collections.abc import Iterator

from convert.packages.installed import (
    APK_DATABASES,
    DATABASE_BYTES,
    PACMAN_FOLDER,
    rpm_headers,
)
from formats.core.entry import Kind, join
from formats.core.tree import TreeIndex
from formats.packages.rpm import tags
from formats.packages.rpm.files import files_of

_DPKG_INFO = b"var/lib/dpkg/info"
_DPKG_STATUS = b"var/lib/dpkg/status.d"
_LIST = b".list"
_SUMS = b".md5sums"


def file_owners(index: TreeIndex) -> dict[bytes, str]:
    """Return the name of the package of each file and link that one owns.

    Of two that list a path, the one that comes last in the databases has it.

    :raises formats.core.errors.ConvertError: if a database is damaged, or too large.
    """
    owners: dict[bytes, str] = {}
    folders: dict[bytes, bytes | None] = {}
    for path, package in listed_paths(index):
        folder, _, name = path.strip(b"/").rpartition(b"/")
        if folder not in folders:
            found = index.resolve(folder)
            folders[folder] = found.path if found is not None else None
        real = folders[folder]
        if real is None or not name:
            continue
        place = join(real, name)
        entry = index.get(place)
        if entry is not None and entry.kind is not Kind.FOLDER:
            owners[place] = package
    for folder in folders:  # a folder to packages, even where it is a link now: /lib
        owners.pop(folder, None)
    return owners


def listed_paths(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    """Yield each path and its package, as the databases have them: with and without a slash.

    :raises formats.core.errors.ConvertError: if a database is damaged, or too large.
    """
    for listed in (_dpkg, _distroless, _rpm, _apk, _pacman):
        yield from listed(index)


def _dpkg(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    for entry in index.children(_DPKG_INFO):
        if entry.name.endswith(_LIST):
            # of two architectures of one package, each has a list: NAME:ARCHITECTURE.list
            package = _text(entry.name.removesuffix(_LIST).partition(b":")[0])
            for line in (index.content(entry.path, DATABASE_BYTES) or b"").split(b"\n"):
                yield line, package


def _distroless(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    for entry in index.children(_DPKG_STATUS):
        if entry.name.endswith(_SUMS):
            package = _text(entry.name.removesuffix(_SUMS))
            for line in (index.content(entry.path, DATABASE_BYTES) or b"").split(b"\n"):
                yield line.partition(b"  ")[2], package


def _rpm(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    for header in rpm_headers(index):
        package = header.text(tags.NAME)
        for file in files_of(header, index.limits):
            yield file.path, package


def _apk(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    text = next(
        (text for path in APK_DATABASES if (text := index.content(path, DATABASE_BYTES))), b""
    )
    package, folder = "", b""
    for line in text.split(b"\n"):
        letter, _, value = line.partition(b":")
        if letter == b"P":
            package, folder = _text(value), b""
        elif letter == b"F":
            folder = value
        elif letter == b"R":
            yield join(folder, value), package


def _pacman(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    for entry in index.children(PACMAN_FOLDER):
        # NAME-VERSION-RELEASE
        package = _text(entry.name.rsplit(b"-", 2)[0])
        is_list = False
        for line in (index.content(entry.path + b"/files", DATABASE_BYTES) or b"").split(b"\n"):
            if line.startswith(b"%"):
                is_list = line == b"%FILES%"
            elif is_list:
                yield line, package


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
