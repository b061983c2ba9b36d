"""The bytes inside: decrypted in units, kept for a while, decrypted ahead in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.codecs.ahead import UnitCache
from formats.core.errors import CorruptError
from formats.core.limits import KIB
from formats.core.origin import Origin
from formats.core.reader import OpenContext
from formats.core.source import BytesLike, ByteSource, Extent, read_exact, slice_source
from formats.volumes.luks.cipher import SectorCipher, parse_cipher
from formats.volumes.luks.header import SECTOR_BYTES, LuksHeader, Payload
from formats.volumes.luks.unlock import unlock

_UNIT_BYTES = 128 * KIB
"""Large enough for array operations to pay, small enough for all of them to stay in cache."""


class DecryptedSource:
    """The volume inside.

    Every byte is data, also where the file that holds the encrypted bytes has a hole: zeros
    decrypt to noise.
    """

    def __init__(
        self, encrypted: ByteSource, cipher: SectorCipher, first_iv: int, *, cache_bytes: int
    ) -> None:
        self.size = encrypted.size
        self.origin = encrypted.origin
        self._encrypted = encrypted
        self._cipher = cipher
        self._first_iv = first_iv
        self._cache = UnitCache(self._decode, unit_bytes=_UNIT_BYTES, capacity_bytes=cache_bytes)

    def _decode(self, unit: int) -> BytesLike:
        start = unit * _UNIT_BYTES
        length = min(_UNIT_BYTES, self.size - start)
        data = read_exact(self._encrypted, start, length, "the encrypted data")
        return self._cipher.decrypt(data, self._first_iv + start // SECTOR_BYTES)

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        units = range(offset // _UNIT_BYTES, (offset + length - 1) // _UNIT_BYTES + 1)
        if len(units) > 2:
            self._cache.will_need(units[1:], urgent=True)
        pieces = [self._piece(unit, offset, offset + length) for unit in units]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, unit: int, start: int, stop: int) -> BytesLike:
        base = unit * _UNIT_BYTES
        data = memoryview(self._cache.get(unit))
        return data[max(start - base, 0) : stop - base]

    def extents(self) -> Iterator[Extent]:
        """Yield one extent of data."""
        if self.size:
            yield Extent(0, self.size, is_hole=False)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Pass the hint on, and decrypt ahead."""
        self._encrypted.will_need(ranges)
        self._cache.will_need(self._units(tuple(ranges)))

    def _units(self, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
        for offset, length in ranges:
            stop = min(offset + length, self.size)
            if offset < stop:
                yield from range(offset // _UNIT_BYTES, (stop - 1) // _UNIT_BYTES + 1)

    def close(self) -> None:
        """End the threads; to be given to ``context.on_close``."""
        self._cache.close()


def open_payload(
    source: ByteSource, header: LuksHeader, context: OpenContext, origin: Origin
) -> tuple[DecryptedSource, int]:
    """Return the volume inside, and the number of the key slot that opened it.

    :raises EncryptedError: if none of ``context.keys`` opens it.
    :raises UnsupportedError: for a cipher that is not read.
    :raises CorruptError: if the encrypted bytes lie outside of ``source``.
    """
    payload = header.payload
    kind = parse_cipher(payload.cipher, source.origin)
    encrypted = _encrypted(source, payload, origin)
    key, slot = unlock(source, header, context.keys)
    cipher = SectorCipher(kind, key, payload.sector_bytes, source.origin)
    cache_bytes = context.limits.cache_bytes
    decrypted = DecryptedSource(encrypted, cipher, payload.first_iv, cache_bytes=cache_bytes)
    context.on_close(decrypted.close)
    return decrypted, slot


def _encrypted(source: ByteSource, payload: Payload, origin: Origin) -> ByteSource:
    rest = source.size - payload.offset
    length = rest - rest % payload.sector_bytes if payload.length is None else payload.length
    if rest <= 0 or length > rest or length % payload.sector_bytes:
        raise CorruptError(
            f"its data should start at byte {payload.offset:,} of {source.size:,}"
            + (f" and be {payload.length:,} bytes long" if payload.length is not None else ""),
            origin=source.origin,
            hint="the file may be truncated, or be a backup of the header alone",
        )
    return slice_source(source, payload.offset, length, origin)
