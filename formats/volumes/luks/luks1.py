"""The LUKS1 header (specification 1.2.3, section 2.1): 592 bytes with eight key slots."""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.origin import printable
from formats.core.source import ByteSource, read_exact
from formats.volumes.luks.header import (
    KEY_BYTES_MAX,
    SECTOR_BYTES,
    STRIPES_MAX,
    Kdf,
    KeyDigest,
    KeySlot,
    LuksHeader,
    Payload,
)

MAGIC = b"LUKS\xba\xbe\0\1"

# magic and version, cipher name, cipher mode, hash, payload offset, key bytes, digest of the volume
# key, its salt and iterations, UUID. Offsets count sectors.
_HEADER = struct.Struct(">8s32s32s32sII20s32sI40s")
_SLOT = struct.Struct(">II32sII")  # state, iterations, salt, offset of the area, stripes
_SLOTS = 8
_ENABLED = 0x00AC71F3
_DISABLED = 0x0000DEAD


def read_luks1(source: ByteSource) -> LuksHeader:
    """Read and check the header.

    :raises CorruptError: if its numbers make no sense. It has no checksum.
    """
    size = _HEADER.size + _SLOTS * _SLOT.size
    data = bytes(read_exact(source, 0, size, "the LUKS1 header"))
    _, name, mode, hash_name, payload, key_bytes, digest, salt, iterations, uuid = (
        _HEADER.unpack_from(data)
    )
    cipher = f"{_text(name)}-{_text(mode)}"
    if not 0 < key_bytes <= KEY_BYTES_MAX or not iterations:
        raise CorruptError(
            f"the LUKS1 header has a key of {key_bytes:,} bytes and {iterations:,} iterations",
            origin=source.origin,
        )
    slots = []
    for number in range(_SLOTS):
        state, rounds, slot_salt, offset, stripes = _SLOT.unpack_from(
            data, _HEADER.size + number * _SLOT.size
        )
        if state == _DISABLED:
            continue
        if state != _ENABLED or not rounds or not 0 < stripes <= STRIPES_MAX:
            raise CorruptError(
                f"key slot {number} of the LUKS1 header is damaged",
                origin=source.origin,
                offset=_HEADER.size + number * _SLOT.size,
            )
        slots.append(
            KeySlot(
                number=number,
                priority=1,
                kdf=Kdf("pbkdf2", slot_salt, rounds, _text(hash_name)),
                offset=offset * SECTOR_BYTES,
                cipher=cipher,
                cipher_key_bytes=key_bytes,
                key_bytes=key_bytes,
                stripes=stripes,
                stripes_hash=_text(hash_name),
            )
        )
    return LuksHeader(
        version=1,
        uuid=printable(_text(uuid).lower()),
        label="",
        payload=Payload(payload * SECTOR_BYTES, None, cipher, SECTOR_BYTES),
        digest=KeyDigest(Kdf("pbkdf2", salt, iterations, _text(hash_name)), digest),
        slots=tuple(slots),
    )


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "replace")
