"""Looking at paths inside an artifact, as the guest would see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from convert.opening import Progress, Source, opened, request_of
from convert.options import ConvertOptions
from convert.select.root import select_browsable
from formats.core.entry import Entry, Kind
from formats.core.errors import UsageError, quoted
from formats.core.source import BytesLike
from formats.core.tree import TreeIndex


def listed(
    sources: Sequence[Source],
    path: str,
    options: ConvertOptions,
    *,
    recursive: bool = False,
    progress: Progress | None = None,
) -> list[Entry]:
    """Return what is in the folder at ``path``, or the one entry that is no folder.

    Symlinks on the way, and at its end, are followed inside the tree.

    :param recursive: everything below the folder, in the tree's order.
    :raises UsageError: if there is nothing at ``path``.
    """
    with opened(sources, options, progress) as artifact:
        index = TreeIndex(select_browsable(artifact, request_of(options)), options.limits)
        found = _resolved(index, path)
        if found.kind is not Kind.FOLDER:
            return [found]
        if not recursive:
            return index.children(found.path)
        start = found.path + b"/" if found.path else b""
        return [entry for entry in index.entries() if entry.path and entry.path.startswith(start)]


@contextmanager
def content(
    sources: Sequence[Source],
    path: str,
    options: ConvertOptions,
    *,
    progress: Progress | None = None,
) -> Iterator[tuple[Entry, Iterator[BytesLike]]]:
    """Give the file at ``path`` and its bytes in pieces; both only inside the ``with``.

    :raises UsageError: if there is nothing at ``path``, or no file.
    """
    with opened(sources, options, progress) as artifact:
        index = TreeIndex(select_browsable(artifact, request_of(options)), options.limits)
        found = _resolved(index, path)
        if found.kind not in {Kind.FILE, Kind.HARDLINK}:
            raise UsageError(f"{quoted(path)} is a {found.kind.value}, not a file")
        yield found, index.tree.read(found)


def _resolved(index: TreeIndex, path: str) -> Entry:
    found = index.resolve(path.encode("utf-8", "surrogateescape"))
    if found is None:
        raise UsageError(
            f"{index.tree.origin}: there is no {quoted(path)} in it",
            hint="'convert ls' shows what is there",
        )
    return found
