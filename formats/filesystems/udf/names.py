"""Names (OSTA UDF 2.60, 2.1.1 and 2.1.2): compressed Unicode, of 8 or 16 bits a character."""

from __future__ import annotations

from formats.core.errors import CorruptError

_BITS_8 = (8, 254)
_BITS_16 = (16, 255)
"""The second number of each marks names of deleted files."""


def decoded(data: bytes) -> bytes:
    """Return a name in UTF-8; half a surrogate pair is encoded like a character.

    :raises CorruptError: if it is of neither kind.
    """
    if not data:
        return b""
    kind, raw = data[0], data[1:]
    if kind in _BITS_8:
        return raw.decode("latin-1").encode()
    if kind in _BITS_16:
        text = raw[: len(raw) & ~1].decode("utf-16-be", "surrogatepass")
        return text.encode("utf-8", "surrogatepass")
    raise CorruptError(f"a name is encoded in a way that is not known ({kind})")


def dstring(data: bytes) -> bytes:
    """Return a field of fixed length whose last byte says how much of it is used."""
    return decoded(data[: min(data[-1], len(data) - 1)]) if data else b""
