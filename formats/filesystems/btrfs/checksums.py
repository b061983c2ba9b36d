"""The four checksums that a filesystem can have of its metadata and data (btrfs(5), CHECKSUM)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import NamedTuple

import google_crc32c
import xxhash

from formats.core.source import BytesLike

_CRC = struct.Struct("<I")
_XXHASH = struct.Struct("<Q")


class Checksum(NamedTuple):
    """One kind of checksum.

    :ivar name: as ``mkfs.btrfs --csum`` takes it.
    :ivar size: bytes.
    :ivar of: gives the checksum of some bytes as it is stored.
    """

    name: str
    size: int
    of: Callable[[bytes], bytes]

    def of_sectors(self, data: BytesLike, sector_bytes: int) -> bytes:
        """Return the checksums of all sectors of ``data``, one after the other."""
        whole, of = bytes(data), self.of
        return b"".join(
            [of(whole[at : at + sector_bytes]) for at in range(0, len(whole), sector_bytes)]
        )


def _crc32c(data: bytes) -> bytes:
    return _CRC.pack(google_crc32c.value(data))


def _xxhash64(data: bytes) -> bytes:
    return _XXHASH.pack(xxhash.xxh64_intdigest(data))


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _blake2b(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


CHECKSUMS = {
    0: Checksum("crc32c", 4, _crc32c),
    1: Checksum("xxhash64", 8, _xxhash64),
    2: Checksum("sha256", 32, _sha256),
    3: Checksum("blake2b", 32, _blake2b),
}
"""By ``csum_type`` of the superblock."""
