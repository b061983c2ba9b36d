"""The checksum of version 5's metadata.

It is the usual crc32c of the whole structure with zeros where the checksum is; the one
little-endian number in XFS.
"""

from __future__ import annotations

import google_crc32c

from formats.core.source import BytesLike

_BYTES = 4
_NOTHING = bytes(_BYTES)


def block_checksum(data: BytesLike, offset: int) -> str | None:
    """Return None if a structure's checksum is right; else what to say of it.

    :param data: the whole structure, which must reach behind the checksum.
    :param offset: where in it the checksum is.
    """
    end = offset + _BYTES
    stored = int.from_bytes(data[offset:end], "little")
    computed: int = google_crc32c.value(b"".join((data[:offset], _NOTHING, data[end:])))
    if computed == stored:
        return None
    return f"has checksum {stored:08x}, not {computed:08x}"


def set_checksum(data: bytearray, offset: int) -> None:
    """Put the right checksum into a structure.

    :param offset: where in it the checksum is.
    """
    end = offset + _BYTES
    data[offset:end] = _NOTHING
    checksum: int = google_crc32c.value(bytes(data))
    data[offset:end] = checksum.to_bytes(_BYTES, "little")
