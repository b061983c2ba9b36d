"""Blocks of metadata: reading them, and what version 5 says of each inside itself.

"XFS Algorithms & Data Structures", "Metadata Integrity": a header has a checksum, the place the
block was written to, the filesystem's UUID and the inode it belongs to. Comparing all four finds
not only flipped bits but also writes that were lost or went to the wrong place.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import ByteSource, read_exact
from formats.filesystems.xfs.checksums import block_checksum
from formats.filesystems.xfs.superblock import DADDR_BYTES, REPAIR_HINT, Superblock

_WORD = struct.Struct(">Q")


class Header(NamedTuple):
    """Where in a kind of block the fields of version 5 are, as byte offsets."""

    checksum: int
    address: int
    uuid: int
    owner: int


BTREE_HEADER = Header(checksum=64, address=24, uuid=40, owner=56)
FOLDER_HEADER = Header(checksum=4, address=8, uuid=24, owner=40)
ATTRIBUTE_HEADER = Header(checksum=12, address=16, uuid=32, owner=48)
REMOTE_HEADER = Header(checksum=12, address=40, uuid=16, owner=32)
"""of remote symlinks and remote values of attributes"""


class Blocks:
    """The blocks of one filesystem, by number from the volume's start."""

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._source = source
        self._superblock = superblock
        self._block_bytes = superblock.block_bytes

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        return self._source.origin

    def read(self, block: int, length: int, what: str) -> bytes:
        """Return ``length`` bytes from the start of a block.

        :raises CorruptError: if the volume ends before.
        """
        return bytes(read_exact(self._source, block * self._block_bytes, length, what))

    def verify(self, data: bytes, block: int, owner: int, header: Header, what: str) -> None:
        """Compare what a block of version 5 says of itself with what it is.

        :param data: the block, or as many as belong together.
        :param owner: number of the inode that led here.
        :raises CorruptError: if it is not the one.
        """
        superblock = self._superblock
        if not superblock.has_checksums:
            return
        wrong = block_checksum(data, header.checksum)
        if wrong is not None:
            raise self.damaged(f"{what} {wrong}", block)
        (address,) = _WORD.unpack_from(data, header.address)
        if address * DADDR_BYTES != block * self._block_bytes:
            raise self.damaged(f"{what} was written for disk address {address:,}", block)
        (number,) = _WORD.unpack_from(data, header.owner)
        if number != owner:
            raise self.damaged(f"{what} belongs to inode {number:,}, not {owner:,}", block)
        if data[header.uuid : header.uuid + 16] != superblock.metadata_uuid:
            raise self.damaged(f"{what} is left over from another filesystem", block)

    def damaged(self, message: str, block: int) -> CorruptError:
        """Return the error that says what is wrong with a block."""
        return CorruptError(
            message,
            origin=self._source.origin,
            offset=block * self._block_bytes,
            hint=REPAIR_HINT,
        )
