"""crypttab(5): what opened encrypted volumes are called below ``/dev/mapper``.

https://www.freedesktop.org/software/systemd/man/latest/crypttab.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from convert.select.names import VolumeNames
from formats.core.opener import Node
from formats.core.tree import TreeIndex

CRYPTTAB = b"etc/crypttab"
_MAPPER = "/dev/mapper/"
_FIELDS_NEEDED = 2
_LINES_MAX = 1000


def opened_as(index: TreeIndex, names: VolumeNames) -> dict[str, list[Node]]:
    """Return the volumes that a tree's own crypttab names, by their path below ``/dev``.

    :param names: of all volumes; the encrypted ones were opened with the user's keys.
    """
    found: dict[str, list[Node]] = {}
    text = (index.content(CRYPTTAB) or b"").decode("utf-8", "surrogateescape")
    for line in text.splitlines()[:_LINES_MAX]:
        fields = line.split()
        if len(fields) >= _FIELDS_NEEDED and not line.lstrip().startswith("#"):
            found.setdefault(_MAPPER + fields[0], list(_opened(fields[1], names)))
    return found


def _opened(device: str, names: VolumeNames) -> Iterator[Node]:
    """Yield what is inside the encrypted volume that a line's second field means."""
    tag, _, uuid = device.partition("=")
    if device.startswith("/dev/disk/by-uuid/"):
        tag, uuid = "UUID", device.rpartition("/")[2]
    if tag == "UUID":
        yield from names.named(f"{_MAPPER}luks-{uuid.lower()}")
    else:
        yield from _children(names.named(device))


def _children(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        yield from node.children
