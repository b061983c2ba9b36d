"""Descriptors, decoded by pycdlib one at a time.

pycdlib is never given a whole image: on a hostile one it may go on without end. It gets the bytes
of one descriptor, checks its checksum and CRC, and takes it apart. Two things are done for it:

- It refuses logical blocks of other sizes than 2,048 bytes, which all hard disks have. The field is
  read here, and 2,048 is put in its place once the CRC is checked.
- It loses the type of an extent (recorded, unrecorded, continued). See :mod:`.allocation`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pycdlib import udf
from pycdlib.pycdlibexception import PyCdlibException

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.source import ByteSource

ANCHOR, PARTITION, LOGICAL_VOLUME, TERMINATOR = 2, 5, 6, 8
FILE_SET, FILE_IDENTIFIER, ALLOCATION_EXTENT = 256, 257, 258
FILE_ENTRY, EXTENDED_FILE_ENTRY = 261, 266
PRIMARY, POINTER, INTEGRITY = 1, 3, 9

TAG_BYTES = 16
_LOCATION = struct.Struct("<12xI")
_BLOCK_BYTES = struct.Struct("<I")
_BLOCK_BYTES_OFFSET = 212
_PYCDLIB_BLOCK_BYTES = 2048
_ONLY = "Only DVD Read"
"""How messages of pycdlib begin that are about media it does not know, and not about damage."""


class Place(NamedTuple):
    """Where a logical block is: in which partition of the volume, and which one there."""

    partition: int
    block: int


@contextmanager
def decoding(source: ByteSource, offset: int, what: str) -> Iterator[None]:
    """Turn what pycdlib raises into errors that say where.

    :param what: the descriptor, with its article.
    """
    try:
        yield
    except (PyCdlibException, struct.error, IndexError, ValueError) as error:
        if str(error).startswith(_ONLY):
            raise UnsupportedError(
                f"{what} is one of a medium that is not read: {error}", origin=source.origin
            ) from error
        raise CorruptError(
            f"{what} is damaged: {error}", origin=source.origin, offset=offset
        ) from error


def read_tag(data: bytes, source: ByteSource, offset: int, what: str) -> udf.UDFTag:
    """Return a descriptor's tag, its checksum and the CRC of what follows verified.

    :raises CorruptError: if they are wrong.
    """
    tag = udf.UDFTag()
    with decoding(source, offset, what):
        tag.parse(data, 0)
    return tag


def stated_location(data: bytes) -> int:
    """Return the block that a tag says that it is in; pycdlib corrects that silently."""
    location: int
    (location,) = _LOCATION.unpack_from(data)
    return location


def logical_volume(
    data: bytes, tag: udf.UDFTag, source: ByteSource, offset: int
) -> tuple[udf.UDFLogicalVolumeDescriptor, int]:
    """Return a logical volume descriptor and its block size."""
    descriptor = udf.UDFLogicalVolumeDescriptor()
    with decoding(source, offset, "the logical volume descriptor"):
        (block_bytes,) = _BLOCK_BYTES.unpack_from(data, _BLOCK_BYTES_OFFSET)
        readable = bytearray(data)
        _BLOCK_BYTES.pack_into(readable, _BLOCK_BYTES_OFFSET, _PYCDLIB_BLOCK_BYTES)
        descriptor.parse(bytes(readable), 0, tag)
    return descriptor, block_bytes


def icb_place(descriptor: udf.UDFLongAD) -> Place:
    """Return the place that a long allocation descriptor leads to."""
    return Place(descriptor.part_ref_num, descriptor.log_block_num)
