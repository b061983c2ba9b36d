"""The header of a qcow2 image, its extensions and its feature bits.

Specification: QEMU, docs/interop/qcow2.txt, sections "Header", "Header extensions" and "Feature
name table"; section names in comments are those of this document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from struct import Struct

from formats.core.errors import (
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.limits import Limits
from formats.core.origin import Origin, printable
from formats.core.source import ByteSource, read_exact

MAGIC = b"QFI\xfb"

_BASE = Struct(">4sIQIIQIIQQIIQ")  # versions 2 and 3
_V3 = Struct(">QQQII")
_EXTENSION = Struct(">II")
_FEATURE_NAME = Struct(">BB46s")
_VERSION = Struct(">I")

_COMPRESSION_TYPE_OFFSET = 104
_MAX_BACKING_NAME = 1023
_CLUSTER_BITS = range(9, 22)  # the lower end is the specification's, the upper end QEMU's
_EXTENDED_L2_CLUSTER_BITS = 14
_MAX_L1_BYTES = 32 << 20  # "an implementation limit of 32 MB as the maximum L1 table size"

_EXTENSION_END = 0
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_EXTENSION_FEATURE_NAMES = 0x6803F857
_EXTENSION_DATA_FILE = 0x44415441

_CRYPT_METHODS = {1: "AES", 2: "LUKS"}


class Incompatible(IntFlag):
    """Feature bits that a reader has to know."""

    DIRTY = 1 << 0
    CORRUPT = 1 << 1
    DATA_FILE = 1 << 2
    COMPRESSION_TYPE = 1 << 3
    EXTENDED_L2 = 1 << 4


class Compression(IntEnum):
    """Codec of compressed clusters."""

    ZLIB = 0
    ZSTD = 1


_KNOWN = sum(Incompatible)


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says, checked against the file and the limits.

    :ivar size: bytes of the guest's disk.
    :ivar l1_entries: entries that the guest's disk needs; the table may have more (VM state).
    :ivar backing_name: as spelled in the image, None if there is no backing image.
    :ivar backing_format: as stated in the header extension, None if it is not stated.
    """

    version: int
    cluster_bits: int
    size: int
    l1_offset: int
    l1_entries: int
    features: Incompatible
    compression: Compression
    snapshots: int
    backing_name: str | None
    backing_format: str | None

    @property
    def cluster_bytes(self) -> int:
        """Size of a cluster."""
        return 1 << self.cluster_bits

    @property
    def has_extended_l2(self) -> bool:
        """Whether L2 entries are 16 bytes and describe subclusters."""
        return bool(self.features & Incompatible.EXTENDED_L2)

    @property
    def l2_entries(self) -> int:
        """Entries of one L2 table, which fills one cluster."""
        return self.cluster_bytes // (16 if self.has_extended_l2 else 8)


@dataclass(frozen=True, slots=True)
class _Extensions:
    backing_format: str | None
    data_file: str | None
    feature_names: Mapping[int, str]


def read_header(source: ByteSource, limits: Limits) -> Header:
    """Parse and check the header.

    :raises UnsupportedError: qcow version 1, external data files, unknown features; by name.
    :raises EncryptedError: encrypted images.
    :raises LimitError: if the guest's disk is larger than allowed.
    :raises CorruptError: if it contradicts itself or the file.
    """
    origin = source.origin
    _check_version(source)
    (
        _magic,
        version,
        backing_offset,
        backing_length,
        cluster_bits,
        size,
        crypt_method,
        l1_entries,
        l1_offset,
        _refcount_offset,
        _refcount_clusters,
        snapshots,
        _snapshots_offset,
    ) = _BASE.unpack(read_exact(source, 0, _BASE.size, "the qcow2 header"))
    bits, header_length = 0, _BASE.size
    if version >= 3:
        bits, _compatible, _autoclear, _order, header_length = _V3.unpack(
            read_exact(source, _BASE.size, _V3.size, "the qcow2 version 3 header")
        )
        if header_length < _BASE.size + _V3.size or header_length % 8:
            raise CorruptError(
                f"states a header of {header_length:,} bytes", origin=origin, offset=100
            )
    if cluster_bits not in _CLUSTER_BITS:
        raise CorruptError(
            f"states clusters of 2^{cluster_bits} bytes; 2^9 to 2^21 are possible",
            origin=origin,
            offset=20,
        )
    cluster_bytes = 1 << cluster_bits
    area_end = min(backing_offset or cluster_bytes, cluster_bytes, source.size)
    extensions = _read_extensions(source, header_length, area_end)
    features = _known_features(bits, extensions, origin)
    if crypt_method:
        kind = _CRYPT_METHODS.get(crypt_method, f"method {crypt_method}")
        raise EncryptedError(
            f"is encrypted ({kind})",
            origin=origin,
            hint="decrypt it first: qemu-img convert --object secret,… --image-opts …",
        )
    if features & Incompatible.EXTENDED_L2 and cluster_bits < _EXTENDED_L2_CLUSTER_BITS:
        raise CorruptError("has subclusters in clusters under 16 KiB", origin=origin, offset=20)
    if size > limits.disk_virtual_bytes:
        raise LimitError(
            f"has a disk of {size:,} bytes, more than the {limits.disk_virtual_bytes:,} allowed",
            origin=origin,
            offset=24,
        )
    header = Header(
        version=version,
        cluster_bits=cluster_bits,
        size=size,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
        features=features,
        compression=_read_compression(source, features, header_length),
        snapshots=snapshots,
        backing_name=_read_backing_name(source, backing_offset, backing_length, cluster_bytes),
        backing_format=extensions.backing_format,
    )
    return _with_checked_l1(header, source)


def _check_version(source: ByteSource) -> None:
    (version,) = _VERSION.unpack(read_exact(source, 4, 4, "the qcow2 header"))
    if version == 1:
        raise UnsupportedError(
            "is a qcow version 1 disk, which is not read",
            origin=source.origin,
            offset=4,
            hint="convert it with 'qemu-img convert -f qcow -O qcow2' first",
        )
    if version not in {2, 3}:
        raise UnsupportedError(
            f"is qcow version {version}, which is not known", origin=source.origin, offset=4
        )


def _read_extensions(source: ByteSource, start: int, stop: int) -> _Extensions:
    """Read "Header extensions": between the header and the backing file's name."""
    backing_format: str | None = None
    data_file: str | None = None
    names: dict[int, str] = {}
    position = start
    while position + _EXTENSION.size <= stop:
        kind, length = _EXTENSION.unpack(
            read_exact(source, position, _EXTENSION.size, "a header extension")
        )
        if kind == _EXTENSION_END:
            break
        body = position + _EXTENSION.size
        if body + length > stop:
            raise CorruptError(
                f"has a header extension of {length:,} bytes, more than there is room for",
                origin=source.origin,
                offset=position,
            )
        data = bytes(read_exact(source, body, length, "a header extension"))
        if kind == _EXTENSION_BACKING_FORMAT:
            backing_format = printable(data)
        elif kind == _EXTENSION_DATA_FILE:
            data_file = printable(data)
        elif kind == _EXTENSION_FEATURE_NAMES:
            names = _feature_names(data)
        position = body + -(-length // 8) * 8
    return _Extensions(backing_format, data_file, names)


def _feature_names(table: bytes) -> dict[int, str]:
    """Return the names of incompatible features by bit number ("Feature name table")."""
    whole = len(table) // _FEATURE_NAME.size * _FEATURE_NAME.size
    rows = _FEATURE_NAME.iter_unpack(table[:whole])
    return {bit: printable(name.rstrip(b"\0")) for kind, bit, name in rows if kind == 0}


def _known_features(bits: int, extensions: _Extensions, origin: Origin) -> Incompatible:
    unknown = [bit for bit in range(64) if bits & ~_KNOWN & (1 << bit)]
    if unknown:
        names = [extensions.feature_names.get(bit, f"bit {bit}") for bit in unknown]
        raise UnsupportedError(
            f"uses qcow2 features that are not known: {', '.join(names)}",
            origin=origin,
            offset=72,
            hint="convert it with a current 'qemu-img convert -O qcow2' first",
        )
    features = Incompatible(bits)
    if features & Incompatible.DATA_FILE:
        name = quoted(extensions.data_file) if extensions.data_file else "a file it does not name"
        raise UnsupportedError(
            f"keeps its data in an external data file, {name}, which is not read",
            origin=origin,
            offset=72,
            hint="make one file of it: qemu-img convert -O qcow2",
        )
    if features & Incompatible.CORRUPT:
        raise CorruptError(
            "is marked as corrupt by QEMU: clusters may have been overwritten by others",
            origin=origin,
            offset=72,
            hint="repair a copy with 'qemu-img check -r all' and convert that",
        )
    return features


def _read_compression(
    source: ByteSource, features: Incompatible, header_length: int
) -> Compression:
    value = 0
    if header_length > _COMPRESSION_TYPE_OFFSET:
        value = read_exact(source, _COMPRESSION_TYPE_OFFSET, 1, "the qcow2 header")[0]
    if bool(value) != bool(features & Incompatible.COMPRESSION_TYPE):
        raise CorruptError(
            f"has compression type {value}, which its feature bits contradict",
            origin=source.origin,
            offset=_COMPRESSION_TYPE_OFFSET,
        )
    try:
        return Compression(value)
    except ValueError:
        raise UnsupportedError(
            f"is compressed with type {value}, which is not known",
            origin=source.origin,
            offset=_COMPRESSION_TYPE_OFFSET,
        ) from None


def _read_backing_name(
    source: ByteSource, offset: int, length: int, cluster_bytes: int
) -> str | None:
    if offset == 0:
        return None
    if not 0 < length <= _MAX_BACKING_NAME or offset + length > cluster_bytes:
        raise CorruptError(
            f"names its backing image in {length:,} bytes at {offset:,}, outside of the header",
            origin=source.origin,
            offset=8,
        )
    name = bytes(read_exact(source, offset, length, "the name of the backing image"))
    return name.decode("utf-8", "surrogateescape")


def _with_checked_l1(header: Header, source: ByteSource) -> Header:
    """Check the L1 table's place and size, and cut it to what the guest's disk needs."""
    table_bytes = header.l1_entries * 8
    if table_bytes > _MAX_L1_BYTES:
        raise LimitError(
            f"has an L1 table of {table_bytes:,} bytes, more than {_MAX_L1_BYTES:,}",
            origin=source.origin,
            offset=36,
        )
    needed = -(-header.size // (header.cluster_bytes * header.l2_entries))
    if header.l1_entries < needed:
        raise CorruptError(
            f"has {header.l1_entries:,} L1 entries where its disk needs {needed:,}",
            origin=source.origin,
            offset=36,
        )
    if header.l1_offset % header.cluster_bytes or (
        needed and not 0 < header.l1_offset <= source.size - needed * 8
    ):
        raise CorruptError(
            f"has its L1 table at {header.l1_offset:,}, misaligned or outside of the file",
            origin=source.origin,
            offset=40,
            hint="the file may be truncated: compare its size with the original",
        )
    return replace(header, l1_entries=needed)
