"""Which readers there are, and which one a source belongs to.

Order never decides. All readers whose signature and probe match are candidates; those that another
candidate supersedes give way; if more than one is left, the input is ambiguous and the error lists
them. A file that is two formats at once is how format-guessing attacks work (CVE-2010-3851).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from formats.core.errors import AmbiguousError, MissingDependencyError, UnsupportedError
from formats.core.glance import may_be_tar, may_be_text, may_be_zip, may_have_md_superblock
from formats.core.reader import Category, Reader, Signature
from formats.core.source import ByteSource

ENTRY_POINT_GROUP = "oci_convert.readers.v1"

SUPERSEDES_ALL = "*"
"""In :attr:`Reader.supersedes`: every other reader gives way."""


@dataclass(frozen=True, slots=True)
class Builtin:
    """Readers that come with this package, and when their module is imported.

    :ivar reference: ``module:attribute`` of a reader, or of a tuple of readers.
    :ivar names: of the readers, for who asks for one by name.
    :ivar signatures: the readers' own, all together; without one of them in a source there is no
        need to import the module for it.
    :ivar glance: the same for readers without signatures. Without either, the module is always
        imported.
    """

    reference: str
    names: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()
    glance: Callable[[ByteSource], bool] | None = None

    @property
    def waits(self) -> bool:
        """Whether it is imported only for sources that its readers may be for."""
        return bool(self.signatures) or self.glance is not None

    def may_be(self, source: ByteSource) -> bool:
        """Tell whether one of its readers may be for a source."""
        if self.glance is not None:
            return self.glance(source)
        return has_signature(self.signatures, source)


def _reader(module: str, name: str, *signatures: tuple[int, bytes]) -> Builtin:
    return Builtin(f"{module}:READER", (name,), tuple(Signature(*pair) for pair in signatures))


def _glanced(module: str, name: str, glance: Callable[[ByteSource], bool]) -> Builtin:
    return Builtin(f"{module}:READER", (name,), glance=glance)


BUILTIN_READERS: tuple[Builtin, ...] = (
    _reader("formats.archives.ar", "ar", (0, b"!<arch>\n"), (0, b"!<thin>\n")),
    _reader(
        "formats.archives.cpio.reader",
        "cpio",
        *((0, magic) for magic in (b"070701", b"070702", b"070707", b"\xc7\x71", b"\x71\xc7")),
    ),
    _reader("formats.archives.makeself", "makeself", (0, b"#!")),
    _reader("formats.archives.script", "script", (0, b"#!")),
    _glanced("formats.archives.zip.reader", "zip", may_be_zip),
    Builtin("formats.bundles.compressed:READERS"),
    Builtin(
        "formats.bundles.more_compressed:READERS",
        ("lz4", "lzip", "lzma"),
        tuple(Signature(0, magic) for magic in (b"\x04\x22\x4d\x18", b"LZIP\x01", b"\x5d\0\0")),
    ),
    _glanced("formats.bundles.ovf.ova", "ova", may_be_tar),
    _glanced("formats.bundles.ovf.reader", "ovf", may_be_text),
    _glanced("formats.bundles.tar", "tar", may_be_tar),
    _glanced("formats.bundles.vagrant.reader", "vagrant", may_be_tar),
    _glanced("formats.bundles.vmx.reader", "vmx", may_be_text),
    _reader(
        "formats.disks.parallels", "parallels", (0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt")
    ),
    _reader("formats.disks.qcow2.reader", "qcow2", (0, b"QFI\xfb")),
    Builtin("formats.disks.split:READER"),
    _reader("formats.disks.vdi", "vdi", (0x40, b"\x7f\x10\xda\xbe")),
    _reader(
        "formats.disks.vhd.reader", "vhd", *((place, b"conectix") for place in (0, -512, -511))
    ),
    _reader("formats.disks.vhdx.reader", "vhdx", (0, b"vhdxfile")),
    _reader(
        "formats.disks.vmdk.reader",
        "vmdk",
        *((0, magic) for magic in (b"KDMV", b"COWD", b"\xbe\xba\xfe\xca")),
        *((0, start) for start in (b"#", b" ", b"\t", b"\r", b"\n", b"\xef\xbb\xbf")),
    ),
    _reader(
        "formats.filesystems.btrfs.reader",
        "btrfs",
        *((place + 0x40, b"_BHRfS_M") for place in (1 << 16, 1 << 26, 1 << 38)),
    ),
    _reader("formats.filesystems.erofs.reader", "erofs", (1024, b"\xe2\xe1\xf5\xe0")),
    _reader("formats.filesystems.ext.reader", "ext", (0x438, b"\x53\xef")),
    Builtin("formats.filesystems.fat.reader:READER"),
    _reader("formats.filesystems.iso.reader", "iso9660", (0x8001, b"CD001")),
    _reader("formats.filesystems.squashfs.reader", "squashfs", (0, b"hsqs"), (0, b"sqsh")),
    _reader(
        "formats.filesystems.udf.reader",
        "udf",
        *((0x8001, magic) for magic in (b"BEA01", b"NSR02", b"NSR03")),
    ),
    _reader("formats.filesystems.xfs.reader", "xfs", (0, b"XFSB")),
    _reader("formats.packages.deb.reader", "deb", (0, b"!<arch>\n"), (0, b"0.93")),
    _reader("formats.packages.rpm.reader", "rpm", (0, b"\xed\xab\xee\xdb"), (0, b"drpm")),
    Builtin("formats.recognised:READERS"),
    Builtin("formats.volumes.gpt:READER"),
    Builtin(
        "formats.volumes.luks:READERS",
        ("luks1", "luks2"),
        (
            Signature(0, b"LUKS\xba\xbe"),
            *(Signature(0x4000 << shift, b"SKUL\xba\xbe") for shift in range(9)),
        ),
    ),
    _reader(
        "formats.volumes.lvm",
        "lvm",
        *((sector * 512, b"LABELONE") for sector in range(4)),
    ),
    Builtin("formats.volumes.mbr:READER"),
    _glanced("formats.volumes.mdraid", "mdraid", may_have_md_superblock),
)
"""All of them. The large ones wait for their signatures: importing every reader takes longer than
most artifacts take to open."""


class Registry:
    """A set of readers with unique names.

    :param waiting: readers that are imported when a source has one of their signatures, or when
        someone asks for them.
    """

    def __init__(self, readers: Iterable[Reader], waiting: Iterable[Builtin] = ()) -> None:
        self._by_name: dict[str, Reader] = {}
        self._waiting = list(waiting)
        self._add(readers)

    def _add(self, readers: Iterable[Reader]) -> None:
        for reader in readers:
            if reader.name in self._by_name:
                raise UnsupportedError(
                    f"two readers are named '{reader.name}'",
                    hint="uninstall one of the packages that bring them",
                )
            self._by_name[reader.name] = reader

    def _load(self, is_wanted: Callable[[Builtin], bool]) -> None:
        """Import those that wait and are wanted."""
        wanted = [builtin for builtin in self._waiting if is_wanted(builtin)]
        for builtin in wanted:
            self._waiting.remove(builtin)
            self._add(_load_builtin(builtin.reference))

    def __iter__(self) -> Iterator[Reader]:
        self._load(lambda _: True)
        return self._loaded()

    def _loaded(self) -> Iterator[Reader]:
        return iter(sorted(self._by_name.values(), key=lambda reader: reader.name))

    def get(self, name: str) -> Reader:
        """Return the reader of that name.

        :raises UnsupportedError: if there is none.
        """
        self._load(lambda builtin: name in builtin.names)
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
        self._load(lambda builtin: builtin.may_be(source))
        candidates = [
            reader
            for reader in self._loaded()
            if has_signature(reader.signatures, source) and reader.probe(source)
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


def has_signature(signatures: Sequence[Signature], source: ByteSource) -> bool:
    """Tell whether a source has one of them; it has if there are none to have."""
    if not signatures:
        return True
    for signature in signatures:
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
    at_once = [builtin for builtin in BUILTIN_READERS if not builtin.waits]
    waiting = [builtin for builtin in BUILTIN_READERS if builtin.waits]
    builtin = [reader for item in at_once for reader in _load_builtin(item.reference)]
    return Registry([*builtin, *_load_third_party()], waiting)


def readers_of(registry: Registry, category: Category) -> tuple[Reader, ...]:
    """Return the readers of one room, by name."""
    return tuple(reader for reader in registry if reader.category is category)
