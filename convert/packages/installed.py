"""Which packages a root has, by the databases of its package managers.

dpkg: ``/var/lib/dpkg/status`` (deb-control(5), dpkg(1) for its states), and ``status.d`` of images
without dpkg.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.limits import GIB
from formats.core.package import Package
from formats.core.tree import TreeIndex
from formats.packages.deb.control import describe
from formats.packages.deb.stanzas import parse_stanza, read_stanzas

_STATUS = b"var/lib/dpkg/status"
_STATUS_FOLDER = b"var/lib/dpkg/status.d"
_DIGESTS = b".md5sums"
_INSTALLED = frozenset({"installed", "triggers-awaited", "triggers-pending"})
_FACTS = ("multi-arch", "priority")


def installed_packages(index: TreeIndex) -> tuple[Package, ...]:
    """Return the packages of a root, in the order of its databases.

    :raises CorruptError: if a database is damaged.
    """
    return tuple(_dpkg(index))


def _dpkg(index: TreeIndex) -> Iterator[Package]:
    origin = index.tree.origin
    text = index.content(_STATUS, GIB)
    if text is not None:
        for stanza in read_stanzas([text], origin, index.limits):
            fields = parse_stanza(stanza)
            if fields.get("status", "").rpartition(" ")[2] in _INSTALLED:
                yield describe(fields, facts=_FACTS)
    for entry in index.children(_STATUS_FOLDER):
        content = None if entry.name.endswith(_DIGESTS) else index.content(entry.path)
        if content:
            for stanza in read_stanzas([content], origin, index.limits):
                try:
                    yield describe(parse_stanza(stanza), facts=_FACTS)
                except CorruptError as error:
                    raise error.at(origin) from None
