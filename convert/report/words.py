"""Numbers for people."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def human_size(count: int) -> str:
    """Return a size in powers of 1000: ``182.4 MB``."""
    value = float(count)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes everything")


def counted_words(count: int, word: str, plural: str | None = None) -> str:
    """Return ``1 path``, ``1,234 paths``."""
    return f"{count:,} {word if count == 1 else plural or f'{word}s'}"
