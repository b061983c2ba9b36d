"""Data folders out of an image: what is in them becomes an archive of its own, beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convert.destination import DockerArchiveDestination, ImageDestination, LayoutDestination
from convert.layers.representable import fit_tar
from convert.layers.tar_file import write_tar
from convert.losses import totals
from convert.moved import MovedTree
from convert.trees import FilteredTree
from formats.core.entry import Entry, Kind
from formats.core.errors import UsageError
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.tree import Tree, TreeIndex

RULE: Final = "volume-extracted"
_NAME_LENGTH: Final = 100
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class DataVolume:
    """The content of one data folder.

    :ivar path: absolute, as the image's config names the volume.
    :ivar tree: what is in the folder, which is its root.
    """

    path: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class ExtractedVolume:
    """An archive with the content of a data folder.

    :ivar path: of the folder in the container.
    :ivar entries: paths in the archive, ``content_bytes`` the size of all files in them.
    """

    path: str
    file: Path
    entries: int
    content_bytes: int


def set_apart(
    tree: Tree, paths: Sequence[str], limits: Limits = DEFAULT_LIMITS
) -> tuple[Tree, tuple[DataVolume, ...], tuple[Finding, ...]]:
    """Return a tree with some folders empty, what was in them, and a finding for each.

    The folders themselves stay, with owner and mode. One that is not there, or has nothing in it,
    is passed over; of a file with names inside and outside, both sides keep the content.

    :param paths: absolute; links to folders are followed.
    """
    index = TreeIndex(tree, limits)
    volumes: list[DataVolume] = []
    findings: list[Finding] = []
    inside: list[bytes] = []
    for folder, path in sorted(_resolved(index, paths).items()):
        if (folder + b"/").startswith(tuple(inside)) or not index.children(folder):
            continue
        inside.append(folder + b"/")
        content = _below(tree, folder, limits)
        volumes.append(DataVolume(path, content))
        entries, size = totals(content)
        evidence = f"a volume: {entries - 1:,} paths and {size:,} bytes go into an archive"
        findings.append(Finding(RULE, folder, Action.CHANGED, evidence))
    if not volumes:
        return tree, (), ()
    beginnings = tuple(inside)
    rest = FilteredTree(tree, lambda entry: None if entry.path.startswith(beginnings) else entry)
    return rest, tuple(volumes), tuple(findings)


def _resolved(index: TreeIndex, paths: Sequence[str]) -> dict[bytes, str]:
    """Return the folders that paths lead to, each with the first path that does."""
    found: dict[bytes, str] = {}
    for path in sorted(paths):
        folder = index.resolve(path.strip("/").encode("utf-8", "surrogateescape"))
        if folder is not None and folder.kind is Kind.FOLDER and folder.path:
            found.setdefault(folder.path, path)
    return found


def _below(tree: Tree, folder: bytes, limits: Limits) -> Tree:
    """Return what is in a folder as a tree."""
    beginning = folder + b"/"

    def kept(entry: Entry) -> Entry | None:
        is_kept = entry.path in {b"", folder} or entry.path.startswith(beginning)
        return entry if is_kept else None

    return MovedTree(FilteredTree(tree, kept), top=folder, limits=limits)


def write_volumes(
    volumes: Sequence[DataVolume],
    destination: ImageDestination,
    *,
    mtime_limit: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[tuple[ExtractedVolume, ...], tuple[Finding, ...]]:
    """Write an archive for each volume beside the image: ``DIR.TAG.var-lib-redis.tar``.

    All of them are there at the end, or none.

    :return: the archives, and what a tar cannot hold.
    :raises UsageError: for an image that goes to standard output.
    :raises OutputExistsError: if there is one already; it is never replaced.
    :raises OutputError: if one cannot be written.
    """
    written: list[ExtractedVolume] = []
    findings: list[Finding] = []
    try:
        for volume, file in zip(volumes, _files(volumes, destination), strict=True):
            fitted = fit_tar(volume.tree)
            entries, size = totals(fitted.tree)
            write_tar(fitted.tree, file, mtime_limit=mtime_limit, limits=limits)
            written.append(ExtractedVolume(volume.path, file, entries, size))
            findings += fitted.findings
    except BaseException:
        remove_volumes(written)
        raise
    return tuple(written), tuple(findings)


def remove_volumes(written: Sequence[ExtractedVolume]) -> None:
    """Remove archives whose image could not be written."""
    for volume in written:
        with suppress(OSError):
            volume.file.unlink()


def _files(volumes: Sequence[DataVolume], destination: ImageDestination) -> Iterator[Path]:
    base = destination.folder if isinstance(destination, LayoutDestination) else destination.file
    if base is None:
        raise UsageError(
            "--volumes extract writes archives beside the image, and standard output has no beside",
            hint="write the image to a file or folder",
        )
    tag = destination.name if isinstance(destination, DockerArchiveDestination) else destination.tag
    taken: set[str] = set()
    for volume in volumes:
        words = (base.name, _name(str(tag)) if tag is not None else "", _name(volume.path))
        name = ".".join(filter(None, words))
        unique = name
        for number in range(2, len(volumes) + 2):
            if unique not in taken:
                break
            unique = f"{name}-{number}"
        taken.add(unique)
        yield base.with_name(f"{unique}.tar")


def _name(text: str) -> str:
    return _NOT_A_NAME.sub("-", text).strip("-")[:_NAME_LENGTH] or "root"
