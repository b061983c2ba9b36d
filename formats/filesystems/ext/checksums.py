"""The two checksums of ext4 metadata: crc32c and crc16 (kernel documentation, "Checksums").

Both are reflected, start from what the caller gives (all ones, or a seed made of the filesystem's
UUID) and are not inverted at the end. They are computed here and not by a library so that what is
verified does not depend on what happens to be installed.
"""

from __future__ import annotations

from formats.core.source import BytesLike

ALL_ONES = 0xFFFFFFFF
CRC16_START = 0xFFFF

_CRC32C_POLYNOMIAL = 0x82F63B78
_CRC16_POLYNOMIAL = 0xA001


def reflected_table(polynomial: int) -> tuple[int, ...]:
    """Return the 256 entries that advance a reflected CRC by one byte."""
    table = [0]
    # An entry is the exclusive or of the entries of its bits: the table doubles with each bit.
    for bit in range(8):
        value = 1 << bit
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.extend([known ^ value for known in table])
    return tuple(table)


CRC32C_TABLE = reflected_table(_CRC32C_POLYNOMIAL)
_CRC16_TABLE = reflected_table(_CRC16_POLYNOMIAL)


def crc32c(data: BytesLike, start: int = ALL_ONES) -> int:
    """Return the crc32c of ``data``, continued from ``start``; about 6 MB/s."""
    crc = start
    table = CRC32C_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def crc16(data: BytesLike, start: int = CRC16_START) -> int:
    """Return the crc16 (polynomial 0x8005) of ``data``, continued from ``start``."""
    crc = start
    for byte in data:
        crc = _CRC16_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc
