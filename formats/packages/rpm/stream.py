"""A compressed payload that is decoded only as far as it is read, and can be read again anywhere.

Packages are read nearly in the order of their payload. So what is decoded goes to the reader at
once, and is kept for the few files that are out of order: decoding, hashing and compressing then go
on at the same time, and a listing decodes nothing.
"""

from __future__ import annotations

import threading
from typing import Protocol

from formats.bundles.streams import Compressed, Decoder
from formats.core.errors import CorruptError
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.reader import OpenContext
from formats.core.source import BytesLike, ByteSource, FileSource, MemorySource
from formats.core.spool import Spool
from formats.packages.payload import bounded

_MEMORY_BYTES = 16 * MIB
_PIECE_BYTES = MIB


class Decoded(Protocol):
    """A payload without its compression."""

    def piece(self, offset: int, most: int) -> BytesLike:
        """Return between one and ``most`` bytes from ``offset``; none at the end."""
        ...

    def whole(self) -> ByteSource:
        """Return all of it."""
        ...


class StoredPayload:
    """A payload that was not compressed; see :class:`Decoded`."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source

    def piece(self, offset: int, most: int) -> BytesLike:
        """See :meth:`Decoded.piece`."""
        return self._source.read_at(offset, min(most, _PIECE_BYTES))

    def whole(self) -> ByteSource:
        """See :meth:`Decoded.whole`."""
        return self._source


class CompressedPayload:
    """A payload that is decoded on the way; see :class:`Decoded`. Threads may share it.

    :param origin: of what comes out.
    """

    def __init__(
        self, packed: ByteSource, decode: Decoder, origin: Origin, context: OpenContext
    ) -> None:
        self._blocks = bounded(Compressed(packed), decode, context)
        self._origin = origin
        self._context = context
        self._lock = threading.RLock()
        self._size = 0
        self._is_complete = False
        self._last = memoryview(b"")
        """The block decoded last: what is read in order is in it."""
        self._kept = bytearray()
        """All that was decoded, until it is too much for memory and goes to ``_spool``."""
        self._spool: Spool | None = None
        self._whole: ByteSource | None = None

    def piece(self, offset: int, most: int) -> BytesLike:
        """See :meth:`Decoded.piece`.

        :raises CorruptError: if what comes before cannot be decoded.
        :raises LimitError: if it gives more than the limits allow.
        """
        with self._lock:
            while self._size <= offset and self._decode():
                pass
            start = offset - (self._size - len(self._last))
            if start >= 0:
                return self._last[start : start + most]
            most = min(most, _PIECE_BYTES, self._size - offset)
            if self._spool is not None:
                return self._spool.read_at(offset, most)
            return bytes(self._kept[offset : offset + most])

    def whole(self) -> ByteSource:
        """See :meth:`Decoded.whole`.

        :raises CorruptError: if it cannot be decoded to its end.
        :raises LimitError: if it gives more than the limits allow.
        """
        with self._lock:
            while self._decode():
                pass
            if self._whole is None:
                self._whole = self._finished()
            return self._whole

    def _decode(self) -> bool:
        """Decode one more block; tell whether there was one."""
        if self._is_complete:
            return False
        block = next(self._blocks, b"")
        self._is_complete = not block
        if block:
            self._keep(block)
            self._last = memoryview(block)
            self._size += len(block)
        return bool(block)

    def _keep(self, block: bytes) -> None:
        if self._spool is None and len(self._kept) + len(block) > _MEMORY_BYTES:
            self._spool = Spool(self._context.spool_folder, self._origin, self._context.limits)
            self._context.on_close(self._spool.close)
            self._spool.add(bytes(self._kept))
            self._kept.clear()
        if self._spool is not None:
            self._spool.add(block)
        else:
            self._kept += block

    def _finished(self) -> ByteSource:
        if self._spool is None:
            return MemorySource(bytes(self._kept), self._origin)
        source: FileSource = self._spool.finish()
        self._context.on_close(source.close)
        return source


def exactly(payload: Decoded, offset: int, length: int, origin: Origin, what: str) -> bytes:
    """Return a few bytes of a payload, whole.

    :raises CorruptError: if it ends before.
    """
    parts: list[BytesLike] = []
    while length:
        part = payload.piece(offset, length)
        if not len(part):
            raise CorruptError(
                f"the payload ends inside of {what}",
                origin=origin,
                offset=offset,
                hint="the package may be cut short: fetch it again",
            )
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
