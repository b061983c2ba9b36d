"""Names, where Rock Ridge gives none.

Plain ones are shown as the kernel does by default (``map=normal`` in mount(8)): in lower case,
without a version ``;1``, and without the dot of an empty extension. Joliet's are UTF-16 without the
version; half a surrogate pair is encoded like a character, so that no two names become one.
"""

from __future__ import annotations

from collections.abc import Callable

Naming = Callable[[bytes], bytes]


def plain_name(raw: bytes) -> bytes:
    """Return the name of a record of the primary volume."""
    name = raw
    if name.endswith(b".;1"):
        name = name[:-3]
    elif name.endswith(b";1"):
        name = name[:-2]
    return name.lower().replace(b";", b".").replace(b"/", b".")


def joliet_name(raw: bytes) -> bytes:
    """Return the name of a record of a Joliet volume in UTF-8; an odd last byte is kept out."""
    text = raw[: len(raw) & ~1].decode("utf-16-be", "surrogatepass")
    return text.removesuffix(";1").encode("utf-8", "surrogatepass")


def enhanced_name(raw: bytes) -> bytes:
    """Return the name of a record of an enhanced volume (ISO 9660:1999): as it is written."""
    return raw
