"""Repositories of dnf, by ``repodata``, and the files that their packages have.

Specification: createrepo.baseurl.org. Streams of modules (``modules.yaml``) are not known: of a
name, the newest package is taken from whatever stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

from convert.packages.pools.files import Candidate, PoolFiles, Stock, plain
from formats.core.entry import join
from formats.core.source import ByteSource
from formats.packages.pools.rpm import REPOMD, find_files, read_repository

_REPOMD = REPOMD.encode()


def read_dnf(files: PoolFiles, stock: Stock) -> None:
    """Add what the dnf repositories of a pool list.

    :raises CorruptError: if an index is missing, damaged, or not what its checksum says.
    """
    for entry in files.index.entries():
        if entry.path != _REPOMD and not entry.path.endswith(b"/" + _REPOMD):
            continue
        top = entry.path[: -len(_REPOMD)].rstrip(b"/")
        stock.tops.add(top)
        stock.repositories.append(top)
        origin = files.origin
        for offer in read_repository(_opener(files, top), origin, files.limits, files.context.note):
            path = join(top, plain(offer.path))
            if files.has(path):
                found = Candidate(offer.package, files, path, offer.size, offer.digest)
                stock.candidates.append(found)
            else:
                stock.absent.add(offer.package.name)


def having(
    files: PoolFiles, stock: Stock, paths: AbstractSet[str]
) -> Iterator[tuple[str, Candidate]]:
    """Yield which packages have which of some absolute paths, beyond what they say they provide.

    :raises CorruptError: if a list of files is damaged.
    """
    by_checksum = {item.digest[1]: item for item in stock.candidates if item.digest is not None}
    for top in stock.repositories:
        found = find_files(_opener(files, top), paths, files.origin, files.limits)
        for path in sorted(found):
            for checksum in sorted(found[path]):
                if checksum in by_checksum:
                    yield path, by_checksum[checksum]
    for path in sorted(paths):
        text = b"\0%b\0" % path.lstrip("/").encode("utf-8", "surrogateescape")
        for candidate, listed in stock.paths:
            if text in listed:
                yield path, candidate


def _opener(files: PoolFiles, top: bytes) -> Callable[[str], ByteSource | None]:
    return lambda path: files.source(join(top, plain(path)))
