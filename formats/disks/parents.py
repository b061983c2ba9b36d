"""Disks that another one stands on, named as Windows names files: VHD and VHDX.

A differencing disk says where its parent was on the host, in several ways, and how to know it. Of a
path only the last component is looked for beside the disk; that is safe, as the parent is then told
by its identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from formats.core.errors import CorruptError, quoted
from formats.core.origin import Origin
from formats.core.reader import OpenContext, Volumes
from formats.core.source import ByteSource

_HINT = "put the parent beside it, or allow its folder with --allow-backing DIR"


def sibling_names(paths: Sequence[str], context: OpenContext) -> list[str]:
    """Return what to ask the siblings for: each path as it is spelled, or its last component."""
    names: list[str] = []
    for path in paths:
        last = re.split(r"[/\\]", path)[-1]
        name = path if context.siblings.exists(path) else last
        if name and name not in names:
            names.append(name)
    return names


def open_parent(
    reader: str,
    paths: Sequence[str],
    context: OpenContext,
    origin: Origin,
    is_parent: Callable[[Mapping[str, str]], bool],
) -> tuple[ByteSource, ByteSource]:
    """Return the parent's disk and its file.

    :param reader: name of the reader that opens it.
    :param paths: where it may be, the likeliest first.
    :param origin: of the disk that has the parent.
    :param is_parent: tells it by the facts of what was opened.
    :raises CorruptError: if none of the files is there, or none that is there is the parent.
    :raises UnsupportedError: if files beside it cannot be reached.
    """
    names = sibling_names(paths, context)
    if not names:
        raise CorruptError("is a snapshot of a disk that it does not name", origin=origin)
    there = [name for name in names if context.siblings.exists(name)]
    if not there:
        _refuse_missing(names[0], context, origin)
    for name in there:
        file = context.siblings.open(name, origin)
        opened = context.open_as(reader, file)
        if isinstance(opened, Volumes) and is_parent(opened.facts):
            return opened.volumes[0].source, file
    raise CorruptError(
        f"is a snapshot of another disk than {quoted(names[0])} is now: its identity differs",
        origin=origin,
        hint="use the parent as it was when the snapshot was taken",
    )


def _refuse_missing(name: str, context: OpenContext, origin: Origin) -> None:
    try:
        context.siblings.open(name, origin)
    except CorruptError as error:
        raise CorruptError(
            f"is a snapshot of {quoted(name)}, which is missing", origin=origin, hint=_HINT
        ) from error
