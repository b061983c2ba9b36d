"""``repodata``: the indexes of rpm repositories, as createrepo_c writes them.

Specification: createrepo.baseurl.org, "repomd" (the schemas of "rpm-md"). Signatures
(``repomd.xml.asc``) are not looked at: who names a pool trusts it. Checksums are verified, of the
indexes here, of packages by who opens them (:attr:`Offer.digest`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from formats.bundles.xml import attribute, child_text, children, parse_xml
from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.finding import Finding
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.packages.pools.offer import Offer
from formats.packages.pools.primary import CHECKSUMS, is_hexadecimal, read_filelists, read_primary

REPOMD = "repodata/repomd.xml"

OpenFile = Callable[[str], ByteSource | None]
"""Opens a file of a repository by its path from the top; None where there is none."""


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of ``repodata``.

    :ivar path: from the top of the repository.
    :ivar digest: (algorithm as :mod:`hashlib` names it, lower-case hexadecimal).
    """

    path: str
    digest: tuple[str, str]


def read_repository(
    open_file: OpenFile,
    origin: Origin,
    limits: Limits,
    note: Callable[[Finding], None] | None = None,
) -> Iterator[Offer]:
    """Yield the packages of a repository, in the order of its index, while that is read.

    Files that the index names are among what packages provide; not all are in it, see
    :func:`find_files`.

    :raises CorruptError: if an index is missing, damaged, or not what its checksum says.
    """
    primary = _open_index(open_file, "primary", origin, limits)
    if primary is None:
        raise CorruptError("has no index of its packages ('primary')", origin=origin)
    yield from read_primary(primary, limits, note)


def find_files(
    open_file: OpenFile, wanted: AbstractSet[str], origin: Origin, limits: Limits
) -> dict[str, set[str]]:
    """Return which packages have which of some paths, by the checksum of the package.

    :param wanted: absolute paths.
    :raises CorruptError: if an index is damaged, or not what its checksum says.
    """
    found: dict[str, set[str]] = {}
    source = _open_index(open_file, "filelists", origin, limits)
    if source is not None:
        for path, checksum in read_filelists(source, wanted, limits):
            found.setdefault(path, set()).add(checksum)
    return found


def read_repomd(source: ByteSource, limits: Limits) -> dict[str, IndexFile]:
    """Return the indexes by type: ``primary``, ``filelists``.

    :raises CorruptError: if it is no such file.
    :raises UnsupportedError: if a checksum is of an unknown kind.
    """
    root = parse_xml(source, limits)
    if not root.tag.endswith("repomd"):
        raise CorruptError(f"is {quoted(root.tag)} and no repomd", origin=source.origin)
    found: dict[str, IndexFile] = {}
    for data in children(root, "data"):
        kind = attribute(data, "type")
        if kind in {"primary", "filelists"}:
            found[kind] = _index_file(data, source.origin)
    return found


def _index_file(data: Element, origin: Origin) -> IndexFile:
    location = next(children(data, "location"), None)
    path = attribute(location, "href") if location is not None else None
    checksum = next(children(data, "checksum"), None)
    value = (child_text(data, "checksum") or "").lower()
    kind = attribute(checksum, "type") if checksum is not None else None
    algorithm = CHECKSUMS.get(kind or "")
    if not path or not is_hexadecimal(value):
        raise CorruptError("names an index without its place or checksum", origin=origin)
    if algorithm is None:
        raise UnsupportedError(f"has checksums of kind {quoted(kind or '')}", origin=origin)
    return IndexFile(path, (algorithm, value))


def _open_index(
    open_file: OpenFile, kind: str, origin: Origin, limits: Limits
) -> ByteSource | None:
    """Return an index that is what its checksum says; None if the repository has none."""
    repomd = open_file(REPOMD)
    if repomd is None:
        raise CorruptError(f"has no {REPOMD}", origin=origin)
    index = read_repomd(repomd, limits).get(kind)
    if index is None:
        return None
    source = open_file(index.path)
    if source is None:
        raise CorruptError(f"lacks {quoted(index.path)}, which {REPOMD} names", origin=origin)
    algorithm, expected = index.digest
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for offset in range(0, source.size, MIB):
        digest.update(source.read_at(offset, MIB))
    if digest.hexdigest() != expected:
        raise CorruptError(
            f"has the {algorithm} checksum {digest.hexdigest()}, and {REPOMD} says {expected}",
            origin=source.origin,
            hint="fetch the repository again, or run createrepo_c over it",
        )
    return source
