"""What packages brought: their files with digests, their folders, their settings.

dpkg: ``info/NAME.md5sums``, ``Conffiles`` of ``status`` (deb-conffiles(5), dpkg-query(1)), and what
packages give to ucf(1): ``/var/lib/ucf/hashfile`` and ``registry``;
rpm: digests and flags of each header; apk: the lines ``R:`` and ``Z:`` of its database (apk-v2,
"installed database"), ``Q1`` is SHA-1; pacman: ``%BACKUP%`` of ``files`` (alpm-db-files), settings
only.

A path is where it is now: what a package calls ``/lib/x`` is at ``usr/lib/x`` where ``/lib`` is a
link.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from convert.inspect.text import encoded
from convert.packages.installed import APK_DATABASES, DATABASE_BYTES, PACMAN_FOLDER, rpm_headers
from convert.packages.owners import listed_paths
from formats.core.entry import Entry, join
from formats.core.origin import file_origin
from formats.core.tree import TreeIndex
from formats.packages.deb.stanzas import parse_stanza, read_stanzas
from formats.packages.rpm import tags
from formats.packages.rpm.files import files_of

_DPKG_STATUS = b"var/lib/dpkg/status"
_DPKG_INFO = b"var/lib/dpkg/info"
_UCF_HASHES = b"var/lib/ucf/hashfile"
_UCF_REGISTRY = b"var/lib/ucf/registry"
_SUMS = b".md5sums"
_APK_SHA1 = b"Q1"
_RPM_MD5 = 1
_MD5_LETTERS = 32


class Digest(NamedTuple):
    """What a file's content was.

    :ivar algorithm: as :mod:`hashlib` names it.
    :ivar value: lower-case hexadecimal.
    """

    algorithm: str
    value: str


class _Known(NamedTuple):
    """A file as a database has it; ``path`` as its package calls it."""

    path: bytes
    digest: Digest
    is_setting: bool = True


@dataclass(frozen=True, slots=True)
class Originals:
    """What packages brought.

    :ivar owners: package by path, of folders as well.
    :ivar folders: that packages have something in, whether they list them or not.
    :ivar digests: of files, by path; not all packages have them.
    :ivar settings: configuration files: a package leaves them as they were changed, and removed.
    """

    owners: Mapping[bytes, str]
    folders: frozenset[bytes]
    digests: Mapping[bytes, Digest]
    settings: frozenset[bytes]

    def is_as_packaged(self, index: TreeIndex, entry: Entry) -> bool | None:
        """Tell whether a file has the content that its package gave it; None if nothing says."""
        digest = self.digests.get(entry.path)
        if digest is None:
            return None
        state = hashlib.new(digest.algorithm, usedforsecurity=False)
        for chunk in index.tree.read(entry):
            state.update(chunk)
        return state.hexdigest() == digest.value


class _Places:
    """Where paths of packages are now: links to folders on the way are followed."""

    def __init__(self, index: TreeIndex) -> None:
        self._index = index
        self._folders: dict[bytes, bytes] = {}

    def of(self, path: bytes) -> bytes:
        folder, _, name = path.strip(b"/").rpartition(b"/")
        if folder not in self._folders:
            found = self._index.resolve(folder)
            self._folders[folder] = found.path if found is not None else folder
        return join(self._folders[folder], name)


def read_originals(index: TreeIndex) -> Originals:
    """Return what the databases of a root say of its files.

    :raises formats.core.errors.ConvertError: if one is damaged, or too large.
    """
    places = _Places(index)
    listed = (*listed_paths(index), *_ucf_owners(index))
    owners = {places.of(path): package for path, package in listed}
    digests: dict[bytes, Digest] = {}
    settings: set[bytes] = set()
    for read in (_dpkg, _ucf, _rpm, _apk, _pacman):
        for known in read(index):
            place = places.of(known.path)
            digests[place] = known.digest
            if known.is_setting:
                settings.add(place)
    return Originals(owners, frozenset(_around(owners)), digests, frozenset(settings))


def _around(paths: Iterable[bytes]) -> set[bytes]:
    """Return all folders that these paths are in."""
    folders: set[bytes] = set()
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition(b"/")[0]
    return folders


def _dpkg(index: TreeIndex) -> Iterator[_Known]:
    for entry in index.children(_DPKG_INFO):
        if entry.name.endswith(_SUMS):
            for line in (index.content(entry.path, DATABASE_BYTES) or b"").split(b"\n"):
                value, _, path = line.partition(b"  ")
                if path and len(value) == _MD5_LETTERS:
                    yield _Known(path, _md5(value), is_setting=False)
    text = index.content(_DPKG_STATUS, DATABASE_BYTES) or b""
    origin = file_origin(index.tree.origin, _DPKG_STATUS)
    for stanza in read_stanzas([text], origin, index.limits):
        for setting in parse_stanza(stanza).get("conffiles", "").split("\n"):
            # PATH DIGEST, and behind it what became of it: obsolete, remove-on-upgrade
            words = encoded(setting).split()
            if len(words) == 2 and len(words[1]) == _MD5_LETTERS:
                yield _Known(words[0], _md5(words[1]))


def _ucf(index: TreeIndex) -> Iterator[_Known]:
    for line in (index.content(_UCF_HASHES, DATABASE_BYTES) or b"").split(b"\n"):
        value, _, path = line.partition(b"  ")
        if path and len(value) == _MD5_LETTERS:
            yield _Known(path, _md5(value))


def _ucf_owners(index: TreeIndex) -> Iterator[tuple[bytes, str]]:
    for line in (index.content(_UCF_REGISTRY, DATABASE_BYTES) or b"").split(b"\n"):
        package, _, path = line.partition(b"\t")
        if path.strip():
            yield path.strip(), package.decode("utf-8", "replace")


def _rpm(index: TreeIndex) -> Iterator[_Known]:
    for header in rpm_headers(index):
        algorithm = tags.DIGESTS.get(header.number(tags.FILEDIGESTALGO) or _RPM_MD5)
        if algorithm is None:
            continue
        for file in files_of(header, index.limits):
            if file.digest and file.is_regular and not file.is_ghost:
                is_setting = bool(file.flags & tags.FILE_CONFIG)
                yield _Known(file.path, Digest(algorithm, file.digest), is_setting=is_setting)


def _apk(index: TreeIndex) -> Iterator[_Known]:
    text = next(
        (text for path in APK_DATABASES if (text := index.content(path, DATABASE_BYTES))), b""
    )
    folder = path = b""
    for line in text.split(b"\n"):
        letter, _, value = line.partition(b":")
        if letter == b"F":
            folder = value
        elif letter == b"R":
            path = join(folder, value)
        elif letter == b"Z" and path and value.startswith(_APK_SHA1):
            try:
                digest = base64.b64decode(value.removeprefix(_APK_SHA1), validate=True)
            except binascii.Error:
                continue
            # apk protects what is below /etc: apk-protected_paths
            is_setting = path.startswith(b"etc/")
            yield _Known(path, Digest("sha1", digest.hex()), is_setting=is_setting)


def _pacman(index: TreeIndex) -> Iterator[_Known]:
    for folder in index.children(PACMAN_FOLDER):
        is_backup = False
        for line in (index.content(folder.path + b"/files", DATABASE_BYTES) or b"").split(b"\n"):
            if line.startswith(b"%"):
                is_backup = line == b"%BACKUP%"
            elif is_backup:
                path, _, value = line.partition(b"\t")
                if len(value) == _MD5_LETTERS:
                    yield _Known(path, _md5(value))


def _md5(written: bytes) -> Digest:
    return Digest("md5", written.decode("latin-1").lower())
