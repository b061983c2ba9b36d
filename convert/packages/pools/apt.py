"""Repositories of apt: their indexes, held against the checksums of ``Release``.

Specification: "Repository Format" of the Debian wiki. Signatures are not looked at: who names a
pool trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.packages.pools.files import Candidate, PoolFiles, Stock, plain, release, verify
from formats.core.entry import Entry, join
from formats.core.errors import CorruptError
from formats.core.origin import printable
from formats.packages.pools.deb import read_packages
from formats.packages.pools.offer import Offer

_INDEX = re.compile(rb"Packages(?:\.(?P<form>xz|gz|bz2|zst|lz4))?")
_FORMS = (b"", b"zst", b"lz4", b"gz", b"xz", b"bz2")
"""Forms of one index, the quickest to read first."""
_RELEASES = (b"Release", b"InRelease")
_DISTS = b"dists"
_INSTALLER = b"debian-installer"
"""Folder of packages that only the installer can use."""
_BINARY = b"binary-"
_FOR_ALL = b"binary-all"
_CHECKSUM = re.compile(r"\s+([0-9a-f]{64})\s+[0-9]+\s+(\S+)\s*")
_SECTION = "SHA256:"


def read_apt(files: PoolFiles, stock: Stock, architecture: str) -> None:
    """Add what the apt repositories of a pool list.

    :param architecture: of the packages that are wanted; "" for all.
    :raises CorruptError: if an index is damaged, or not what ``Release`` says.
    """
    seen: set[tuple[str, str, str, bytes]] = set()
    for folder, name in _indexes(files):
        if not _is_wanted(folder, architecture):
            continue
        dists, top = _place(folder)
        path = join(folder, name)
        source = files.source(path)
        if source is None:
            continue
        expected = _checksum(files, path, dists)
        if expected is not None:
            verify(source, ("sha256", expected), "the Release file")
        tops = [top] if dists else _upwards(folder)
        stock.tops.add(top)
        for offer in read_packages(source, files.limits, files.context.note):
            _take(files, stock, offer, tops, seen)
        release(source)


def _indexes(files: PoolFiles) -> Iterator[tuple[bytes, bytes]]:
    """Yield folders with an index, and the name of its quickest form."""
    forms: dict[bytes, dict[bytes, Entry]] = {}
    for entry in files.index.entries():
        match = _INDEX.fullmatch(entry.name)
        if match is not None and files.has(entry.path):
            forms.setdefault(entry.parent, {})[match["form"] or b""] = entry
    for folder in sorted(forms):
        form = min(forms[folder], key=_FORMS.index)
        yield folder, forms[folder][form].name


def _is_wanted(folder: bytes, architecture: str) -> bool:
    parts = folder.split(b"/")
    if _INSTALLER in parts:
        return False
    if not architecture or not parts[-1].startswith(_BINARY):
        return True
    return parts[-1] in {_BINARY + architecture.encode(), _FOR_ALL}


def _place(folder: bytes) -> tuple[bytes, bytes]:
    """Return the folder that ``Release`` is in, and the one that paths in the index start from.

    In ``dists`` there may be suites with slashes in their names; ``Release`` is looked for upwards.
    The first of the two is empty for a repository without ``dists``.
    """
    parts = folder.split(b"/")
    if _DISTS not in parts[:-1]:
        return b"", folder
    depth = parts.index(_DISTS)
    return b"/".join(parts[: depth + 1]), b"/".join(parts[:depth])


def _upwards(folder: bytes) -> list[bytes]:
    found = [folder]
    while found[-1]:
        found.append(found[-1].rpartition(b"/")[0])
    return found


def _checksum(files: PoolFiles, path: bytes, dists: bytes) -> str | None:
    """Return what the nearest ``Release`` above an index says of it; None if there is none.

    :raises CorruptError: if it does not list the index.
    """
    for folder in _upwards(path.rpartition(b"/")[0]):
        if dists and folder == dists:
            return None
        for name in _RELEASES:
            text = files.index.content(join(folder, name))
            if text is None:
                continue
            inner = path[len(folder) :].lstrip(b"/").decode("utf-8", "surrogateescape")
            listed = dict(_listed(text.decode("utf-8", "surrogateescape")))
            if inner in listed:
                return listed[inner]
            if listed:
                raise CorruptError(
                    f"does not list the index {printable(inner)}, which lies there",
                    origin=files.origin.child(printable(join(folder, name))),
                    hint="make the indexes and Release of the repository again",
                )
        if not dists:
            return None
    return None


def _listed(text: str) -> Iterator[tuple[str, str]]:
    """Yield the paths of a ``Release`` with their SHA-256 checksums."""
    is_inside = False
    for line in text.splitlines():
        if not line.startswith(" "):
            is_inside = line.startswith(_SECTION)
        elif is_inside:
            match = _CHECKSUM.fullmatch(line)
            if match is not None:
                yield match[2], match[1]


def _take(
    files: PoolFiles,
    stock: Stock,
    offer: Offer,
    tops: list[bytes],
    seen: set[tuple[str, str, str, bytes]],
) -> None:
    package = offer.package
    inner = plain(offer.path)
    path = next((found for top in tops if files.has(found := join(top, inner))), None)
    if path is None:
        stock.absent.add(package.name)
        return
    key = (package.name, package.version, package.architecture, path)
    if key not in seen:
        seen.add(key)
        stock.candidates.append(Candidate(package, files, path, offer.size, offer.digest))
