"""Pools: where packages come from that others need.

A pool is a folder, or a medium or archive that is read where it lies (an ISO image of an
installer); in it are repositories of apt or dnf, or package files by themselves, all read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import cast

from convert.packages.pools.apt import read_apt
from convert.packages.pools.dnf import having, read_dnf
from convert.packages.pools.files import Candidate, PoolFiles, Stock, verify
from convert.packages.pools.loose import read_loose
from formats.core.errors import CorruptError, UnsupportedError, UsageError
from formats.core.opener import Artifact, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Category, OpenContext, Reader
from formats.core.registry import default_registry
from formats.core.tree import Tree, TreeIndex
from formats.packages.tree import PackageTree

_SCHEME = "dir:"


class Pools:
    """All pools of one request, in the order in which they were named.

    :ivar candidates: packages that can be had; of equal ones, the first pool's comes first.
    :ivar absent: names of packages that indexes list, and whose files are not there.
    """

    def __init__(self, pools: Sequence[tuple[PoolFiles, Stock]]) -> None:
        self._pools = tuple(pools)
        self.candidates = tuple(item for _, stock in pools for item in stock.candidates)
        self.absent = frozenset(name for _, stock in pools for name in stock.absent)

    def having(self, paths: AbstractSet[str]) -> Iterator[tuple[str, Candidate]]:
        """Yield which packages have which of some absolute paths, beyond what they provide.

        :raises CorruptError: if a list of files is damaged.
        """
        for files, stock in self._pools:
            yield from having(files, stock, paths)


def open_pools(
    references: Sequence[str], artifact: Artifact, spool: Path | None = None, architecture: str = ""
) -> Pools:
    """Open pools and read what they have; they are closed with the artifact.

    :param references: paths of folders, media or archives.
    :param artifact: what the packages are for: its limits hold, its findings are added to.
    :param spool: place for decompressed copies.
    :param architecture: of the packages that are wanted; indexes for others are not read.
    :raises UnsupportedError: if there are no packages in one.
    :raises CorruptError: if an index is damaged, or not what its checksum says.
    """
    found: list[tuple[PoolFiles, Stock]] = []
    for reference in references:
        opened = [
            (files, _stock(files, architecture)) for files in _trees(reference, artifact, spool)
        ]
        if not any(stock.candidates for _, stock in opened):
            raise _empty(reference, opened)
        found += opened
    return Pools(found)


def _stock(files: PoolFiles, architecture: str) -> Stock:
    stock = Stock()
    read_apt(files, stock, architecture)
    read_dnf(files, stock)
    read_loose(files, stock)
    return stock


def _empty(reference: str, opened: Sequence[tuple[PoolFiles, Stock]]) -> UnsupportedError:
    absent = sum(len(stock.absent) for _, stock in opened)
    problem = "has no packages (.deb, .rpm) in it"
    if absent:
        problem = f"lists {absent:,} packages, and has the file of none"
    return UnsupportedError(
        problem,
        origin=Origin((reference,)),
        hint="a pool is a folder, a local apt or dnf repository, or a medium with packages",
    )


def _trees(reference: str, artifact: Artifact, spool: Path | None) -> Iterator[PoolFiles]:
    path = Path(reference.removeprefix(_SCHEME))
    if path.is_dir():
        from convert.images.folder import FolderTree  # noqa: PLC0415 - media are read without it

        folder = FolderTree(path, artifact.limits)
        artifact.on_close(folder.close)
        yield PoolFiles(TreeIndex(folder, artifact.limits), artifact.lend())
        return
    medium = open_artifact([path], limits=artifact.limits, spool_parent=spool)
    artifact.on_close(medium.close)
    trees = [node for node in medium.walk() if node.tree is not None]
    problems = [node.problem for node in medium.walk() if node.problem is not None]
    if not trees and problems:
        raise problems[0]
    for node in trees:
        tree = cast("Tree", node.tree)
        if node.reader is not None and node.reader.category is Category.PACKAGE:
            raise UsageError(
                f"{reference} is a package, not a pool",
                hint="name it as a source, beside the others",
            )
        yield PoolFiles(TreeIndex(tree, artifact.limits), artifact.lend())


def open_candidate(candidate: Candidate, context: OpenContext) -> PackageTree:
    """Open a package of a pool, and verify that it is the one that its index lists.

    :raises CorruptError: if it is another one.
    """
    source = candidate.files.source(candidate.path)
    if source is None:
        raise CorruptError("is gone from its pool", origin=candidate.files.origin)
    if candidate.size is not None and candidate.size != source.size:
        raise CorruptError(
            f"has {source.size:,} bytes, and the index says {candidate.size:,}",
            origin=source.origin,
            hint="the pool is incomplete or was changed: fetch it again",
        )
    if candidate.digest is not None:
        verify(source, candidate.digest, "the index")
    reader: Reader | None = default_registry().match(source)
    opened = reader.open(source, context) if reader is not None else None
    if not isinstance(opened, PackageTree):
        raise CorruptError("is no package", origin=source.origin)
    package, listed = opened.package, candidate.package
    if (package.name, package.version) != (listed.name, listed.version):
        raise CorruptError(f"is {package}, and not {listed} any more", origin=source.origin)
    return opened
