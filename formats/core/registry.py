"""Which readers there are, and which one a source belongs to.

Order never decides. All readers whose signature and probe match are candidates; those that another
candidate supersedes give way; if more than one is left, the input is ambiguous and the error lists
them. A file that is two formats at once is how format-guessing attacks work (CVE-2010-3851).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from formats.core.errors import AmbiguousError, MissingDependencyError, UnsupportedError
from formats.core.reader import Category, Reader
from formats.core.source import ByteSource

ENTRY_POINT_GROUP = "oci_convert.readers.v1"

SUPERSEDES_ALL = "*"
"""In :attr:`Reader.supersedes`: every other reader gives way."""

BUILTIN_READERS: tuple[str, ...] = (
    "formats.bundles.compressed:READERS",
    "formats.bundles.ovf.ova:READER",
    "formats.bundles.ovf.reader:READER",
    "formats.bundles.tar:READER",
    "formats.bundles.vagrant.reader:READER",
    "formats.bundles.vmx.reader:READER",
    "formats.disks.parallels:READER",
    "formats.disks.qcow2.reader:READER",
    "formats.disks.split:READER",
    "formats.disks.vdi:READER",
    "formats.disks.vhd.reader:READER",
    "formats.disks.vhdx.reader:READER",
    "formats.disks.vmdk.reader:READER",
    "formats.filesystems.btrfs.reader:READER",
    "formats.filesystems.erofs.reader:READER",
    "formats.filesystems.ext.reader:READER",
    "formats.filesystems.fat.reader:READER",
    "formats.filesystems.squashfs.reader:READER",
    "formats.filesystems.xfs.reader:READER",
    "formats.recognised:READERS",
    "formats.volumes.gpt:READER",
    "formats.volumes.luks:READERS",
    "formats.volumes.lvm:READER",
    "formats.volumes.mbr:READER",
    "formats.volumes.mdraid:READER",
)
"""``module:attribute`` of a reader or of a tuple of readers; imported at the first use."""


class Registry:
    """A set of readers with unique names."""

    def __init__(self, readers: Iterable[Reader]) -> None:
        self._by_name: dict[str, Reader] = {}
        for reader in readers:
            if reader.name in self._by_name:
                raise UnsupportedError(
                    f"two readers are named '{reader.name}'",
                    hint="uninstall one of the packages that bring them",
                )
            self._by_name[reader.name] = reader

    def __iter__(self) -> Iterator[Reader]:
        return iter(sorted(self._by_name.values(), key=lambda reader: reader.name))

    def get(self, name: str) -> Reader:
        """Return the reader of that name.

        :raises UnsupportedError: if there is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise UnsupportedError(
                f"no reader is named '{name}'", hint="see 'convert formats'"
            ) from None

    def match(self, source: ByteSource) -> Reader | None:
        """Return the one reader that ``source`` belongs to; None if it is of no known format.

        :raises AmbiguousError: if several match and none supersedes the others.
        """
        candidates = [
            reader for reader in self if _has_signature(reader, source) and reader.probe(source)
        ]
        losers = {name for reader in candidates for name in reader.supersedes}
        for reader in candidates:
            if SUPERSEDES_ALL in reader.supersedes:
                losers |= {other.name for other in candidates if other is not reader}
        winners = [reader for reader in candidates if reader.name not in losers]
        if len(winners) > 1 or (candidates and not winners):
            names = ", ".join(reader.name for reader in winners or candidates)
            raise AmbiguousError(
                f"can be read as {names}",
                origin=source.origin,
                hint="remove the stale signature (wipefs on a copy) or convert the part you mean",
            )
        return winners[0] if winners else None


def _has_signature(reader: Reader, source: ByteSource) -> bool:
    if not reader.signatures:
        return True
    for signature in reader.signatures:
        offset = signature.offset + (source.size if signature.offset < 0 else 0)
        length = len(signature.magic)
        if offset >= 0 and bytes(source.read_at(offset, length)) == signature.magic:
            return True
    return False


def _load_builtin(reference: str) -> tuple[Reader, ...]:
    module, _, attribute = reference.partition(":")
    loaded = getattr(importlib.import_module(module), attribute)
    return loaded if isinstance(loaded, tuple) else (cast("Reader", loaded),)


def _load_third_party() -> Iterator[Reader]:
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            loaded = point.load()
        except ImportError as error:
            raise MissingDependencyError(
                f"the reader '{point.name}' cannot be loaded: {error}",
                hint="reinstall or uninstall the package that brings it",
            ) from error
        yield cast("Reader", loaded)


@cache
def default_registry() -> Registry:
    """Return the built-in readers and those of installed third parties."""
    builtin = [reader for reference in BUILTIN_READERS for reader in _load_builtin(reference)]
    return Registry([*builtin, *_load_third_party()])


def readers_of(registry: Registry, category: Category) -> tuple[Reader, ...]:
    """Return the readers of one room, by name."""
    return tuple(reader for reader in registry if reader.category is category)
