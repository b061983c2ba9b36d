"""Dates: of directory records, of descriptors, and of Rock Ridge's TF entries (ECMA-119, 9.1.5)."""

from __future__ import annotations

from calendar import timegm
from datetime import datetime
from functools import lru_cache

SHORT_BYTES = 7
LONG_BYTES = 17

_SECOND_NS = 10**9
_QUARTER_HOUR = 900
_ZONES = range(-48, 53)
"""Quarters of an hour from UTC, as the standard has them; other values are taken as UTC."""


@lru_cache(4096)
def short_time(data: bytes) -> int:
    """Return nanoseconds since 1970 of a date of 7 bytes; 0 for one that is none."""
    year, month, day, hour, minute, second, zone = data
    return _nanoseconds(1900 + year, month, day, hour, minute, second, 0, zone)


@lru_cache(4096)
def long_time(data: bytes) -> int:
    """Return nanoseconds since 1970 of a date of 16 digits and a zone; 0 for one that is none."""
    digits = data[:16]
    if not digits.isdigit():
        return 0
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    hour, minute, second = int(digits[8:10]), int(digits[10:12]), int(digits[12:14])
    return _nanoseconds(year, month, day, hour, minute, second, int(digits[14:16]), data[16])


def _nanoseconds(
    year: int, month: int, day: int, hour: int, minute: int, second: int, hundredths: int, zone: int
) -> int:
    try:
        datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001 - a check only
    except ValueError:
        return 0
    offset = zone - 256 if zone > 127 else zone
    seconds = timegm((year, month, day, hour, minute, second))
    if offset in _ZONES:
        seconds -= offset * _QUARTER_HOUR
    return seconds * _SECOND_NS + hundredths * 10_000_000
