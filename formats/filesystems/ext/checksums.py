"""The two checksums of ext4 metadata: crc32c and crc16 (kernel documentation, "Checksums").

Both are reflected, start from what the caller gives (all ones, or a seed made of the filesystem's
UUID) and are not inverted at the end.
"""

from __future__ import annotations

import google_crc32c

from formats.core.source import BytesLike

ALL_ONES = 0xFFFFFFFF
CRC16_START = 0xFFFF

_CRC16_POLYNOMIAL = 0xA001


def crc32c(data: BytesLike, start: int = ALL_ONES) -> int:
    """Return the crc32c of ``data``, continued from ``start``."""
    # The library inverts before and after, as iSCSI does; ext4 does neither.
    inverted: int = google_crc32c.extend(start ^ ALL_ONES, bytes(data))
    return inverted ^ ALL_ONES


def _crc16_table() -> tuple[int, ...]:
    table = [0]
    # An entry is the exclusive or of the entries of its bits: the table doubles with each bit.
    for bit in range(8):
        value = 1 << bit
        for _ in range(8):
            value = (value >> 1) ^ (_CRC16_POLYNOMIAL if value & 1 else 0)
        table.extend([known ^ value for known in table])
    return tuple(table)


_CRC16_TABLE = _crc16_table()


def crc16(data: BytesLike, start: int = CRC16_START) -> int:
    """Return the crc16 (polynomial 0x8005) of ``data``, continued from ``start``."""
    crc = start
    for byte in data:
        crc = _CRC16_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc
