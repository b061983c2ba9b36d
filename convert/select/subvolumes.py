"""Subvolumes: which of the trees of one filesystem is meant, and which lie in which.

btrfs(5), ``subvol=`` and ``subvolid=``; btrfs-subvolume(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from formats.core.errors import UnsupportedError, quoted
from formats.core.opener import Node
from formats.core.reader import Subvolume

_SHOWN = 8


def subvolume_of(node: Node) -> Subvolume:
    """Return which subvolume a node is; only for those that are one."""
    if node.volume.subvolume is None:
        raise AssertionError(f"{node.origin} is no subvolume")
    return node.volume.subvolume


def are_subvolumes(nodes: Sequence[Node]) -> bool:
    """Tell whether these are trees of filesystems that have several."""
    return bool(nodes) and all(node.volume.subvolume is not None for node in nodes)


def meant_by(nodes: Sequence[Node], options: Iterable[str]) -> list[Node]:
    """Return those of ``nodes`` that mount options mean: one for each copy of the filesystem.

    :param nodes: the subvolumes of a filesystem, or of several copies of it.
    :param options: as in fstab; without a word of subvolumes, the default one is meant.
    :raises UnsupportedError: if there is none that is meant.
    """
    path: bytes | None = None
    number: int | None = None
    for option in options:
        name, _, value = option.partition("=")
        if name == "subvol":
            path = value.encode("utf-8", "surrogateescape").strip(b"/")
        elif name == "subvolid" and value.isascii() and value.isdigit():
            number = int(value)
    if path is not None:  # the kernel refuses options that disagree; a path is what people mean
        found = [node for node in nodes if subvolume_of(node).path == path]
        wanted = quoted(path or b"/")
    elif number is not None:
        top_level = 5
        number = number or top_level
        found = [node for node in nodes if subvolume_of(node).number == number]
        wanted = f"of number {number}"
    else:
        return [node for node in nodes if subvolume_of(node).is_default]
    if not found:
        raise UnsupportedError(
            f"there is no subvolume {wanted} in it",
            hint=f"it has {_listed(nodes)}",
        )
    return found


def nested_in(outer: Node, beside: Iterable[Node]) -> Iterator[tuple[bytes, Node]]:
    """Yield the subvolumes that lie directly in another one, with their paths in it.

    :param beside: all subvolumes of the filesystem.
    """
    start = subvolume_of(outer).path
    start = start + b"/" if start else b""
    inside = {
        subvolume_of(node).path: node
        for node in beside
        if node is not outer and subvolume_of(node).path.startswith(start)
    }
    for path in sorted(inside):
        if not any(above in inside for above in _above(path) if len(above) > len(start)):
            yield path[len(start) :], inside[path]


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _listed(nodes: Sequence[Node]) -> str:
    names = [node.volume.label for node in nodes if not subvolume_of(node).is_snapshot]
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
