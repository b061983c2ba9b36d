"""Sizes as OVF states them: a number, and a unit in the words of DSP0004 or of older drafts."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PROGRAMMATIC = re.compile(
    r"bytes?(?:\s*\*\s*(?P<factor>[0-9]{1,9}))?(?:\s*\*\s*(?P<base>2|10)\s*\^\s*(?P<power>[0-9]{1,2}))?"
)
_NAMES: Mapping[str, int] = {
    "": 1,
    "b": 1,
    **dict.fromkeys(("kb", "kilobyte", "kilobytes", "kib"), 1 << 10),
    **dict.fromkeys(("mb", "megabyte", "megabytes", "mib"), 1 << 20),
    **dict.fromkeys(("gb", "gigabyte", "gigabytes", "gib"), 1 << 30),
    **dict.fromkeys(("tb", "terabyte", "terabytes", "tib"), 1 << 40),
}


def bytes_of(quantity: str, unit: str) -> int | None:
    """Return a size in bytes; None where number or unit are not understood.

    ``byte * 2^20`` is a unit, and so are ``MegaBytes`` and ``MB``.
    """
    if not re.fullmatch(r"[0-9]{1,18}", quantity.strip()):
        return None
    unit = unit.strip().lower()
    factor = _NAMES.get(unit)
    if factor is None:
        match = _PROGRAMMATIC.fullmatch(unit)
        if match is None:
            return None
        factor = int(match["factor"] or 1) * int(match["base"] or 1) ** int(match["power"] or 0)
    return int(quantity) * factor


def shown_bytes(size: int) -> str:
    """Return a size for people: ``512 MiB``, ``8 GiB``."""
    for name, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift:,} {name}"
    return f"{size:,} bytes"
