"""From a passphrase to the volume key: key derivation, key slots and the anti-forensic splitter.

LUKS1 specification 1.2.3, sections 2.4 (splitter) and 4.2 (recovering the key); LUKS2 differs only
in where the numbers come from.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import argon2
from argon2.low_level import Type, hash_secret_raw

from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
)
from formats.core.limits import GIB, KIB
from formats.core.origin import Origin, printable
from formats.core.source import ByteSource, read_exact
from formats.volumes.luks.cipher import SectorCipher, parse_cipher
from formats.volumes.luks.header import SECTOR_BYTES, Kdf, KeySlot, LuksHeader

_HASHES = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "whirlpool"})
_ARGON2 = {"argon2i": Type.I, "argon2id": Type.ID}

_MEMORY_KIB_MAX = GIB // KIB
"""What cryptsetup takes at the most unless it is told otherwise."""
_LANES_MAX = 16
# Both bound time: a minute or two on a slow machine. cryptsetup aims at two seconds.
_ITERATIONS_MAX = 100_000_000
_MEMORY_PASSES_KIB_MAX = 64 * GIB // KIB
_EFFORT_MAX = 4.0
"""All tries together, each as a part of the most that one may take."""


def unlock(source: ByteSource, header: LuksHeader, keys: Sequence[bytes]) -> tuple[bytes, int]:
    """Return the volume key and the number of the slot that gave it.

    :param keys: passphrases and contents of key files, each taken as it is.
    :raises EncryptedError: if no slot opens with any of them.
    :raises ConvertError: what kept a slot from being tried, if no other opens.
    """
    problem: ConvertError | None = None
    effort = 0.0
    for slot in header.slots:
        for passphrase in keys:
            effort += _effort(slot.kdf) + _effort(header.digest.kdf)
            if effort > _EFFORT_MAX:
                raise LimitError(
                    f"{len(header.slots)} key slots and {len(keys)} keys take too long to try",
                    origin=source.origin,
                    hint="give only the key that opens it",
                )
            try:
                key = _slot_key(source, slot, passphrase)
                if _is_volume_key(header, key, source.origin):
                    return key, slot.number
            except ConvertError as error:
                problem = problem or error
                break
    if problem is not None:
        raise problem
    raise EncryptedError(
        f"is a volume encrypted with LUKS{header.version}, and no key slot opens with what was"
        " given",
        origin=source.origin,
        hint=_no_slot_hint(header),
    )


def _effort(kdf: Kdf) -> float:
    """Return how long a try takes, 1 for the most that it may; more is refused there."""
    if kdf.kind == "pbkdf2":
        return min(kdf.iterations / _ITERATIONS_MAX, 1.0)
    return min(kdf.memory_kib * kdf.iterations / _MEMORY_PASSES_KIB_MAX, 1.0)


def _no_slot_hint(header: LuksHeader) -> str:
    if not header.slots:
        return "it has no key slots: nothing opens it"
    numbers = ", ".join(str(slot.number) for slot in header.slots)
    tokens = f"; it has tokens too ({', '.join(header.tokens)})" if header.tokens else ""
    return (
        "check --passphrase-file and --key-file, and that no line end is in a key file"
        f" (key slots in use: {numbers}{tokens})"
    )


def _slot_key(source: ByteSource, slot: KeySlot, passphrase: bytes) -> bytes:
    origin = source.origin
    cipher_kind = parse_cipher(slot.cipher, origin)
    area_bytes = -(-slot.stripes * slot.key_bytes // SECTOR_BYTES) * SECTOR_BYTES
    area = read_exact(source, slot.offset, area_bytes, f"the area of key slot {slot.number}")
    area_key = derived_key(slot.kdf, passphrase, slot.cipher_key_bytes, origin)
    cipher = SectorCipher(cipher_kind, area_key, SECTOR_BYTES, origin)
    return merged(
        bytes(cipher.decrypt(area, 0)), slot.key_bytes, slot.stripes, slot.stripes_hash, origin
    )


def _is_volume_key(header: LuksHeader, key: bytes, origin: Origin) -> bool:
    expected = header.digest.digest
    if not expected:
        raise CorruptError("the digest of its key is empty", origin=origin)
    return hmac.compare_digest(derived_key(header.digest.kdf, key, len(expected), origin), expected)


def derived_key(kdf: Kdf, passphrase: bytes, length: int, origin: Origin) -> bytes:
    """Return ``length`` bytes for a passphrase.

    :raises LimitError: if it would take absurdly long, or much memory.
    :raises UnsupportedError: for an unknown function or hash.
    """
    if kdf.kind == "pbkdf2":
        if kdf.iterations > _ITERATIONS_MAX:
            raise _too_costly(f"{kdf.iterations:,} iterations", f"{_ITERATIONS_MAX:,}", origin)
        _check_hash(kdf.hash_name, origin)
        return hashlib.pbkdf2_hmac(kdf.hash_name, passphrase, kdf.salt, kdf.iterations, length)
    if kdf.kind not in _ARGON2:
        raise UnsupportedError(
            f"derives keys with '{printable(kdf.kind)}', which is not read", origin=origin
        )
    if kdf.memory_kib > _MEMORY_KIB_MAX or kdf.lanes > _LANES_MAX:
        asked = f"{kdf.memory_kib:,} KiB in {kdf.lanes:,} lanes"
        raise _too_costly(asked, f"{_MEMORY_KIB_MAX:,} KiB in {_LANES_MAX}", origin)
    if kdf.memory_kib * kdf.iterations > _MEMORY_PASSES_KIB_MAX:
        asked = f"{kdf.iterations:,} passes over {kdf.memory_kib:,} KiB"
        raise _too_costly(asked, f"{_MEMORY_PASSES_KIB_MAX:,} KiB in all", origin)
    try:
        return hash_secret_raw(
            passphrase,
            kdf.salt,
            time_cost=kdf.iterations,
            memory_cost=kdf.memory_kib,
            parallelism=kdf.lanes,
            hash_len=length,
            type=_ARGON2[kdf.kind],
        )
    except argon2.exceptions.HashingError as error:
        raise CorruptError(f"a key cannot be derived: {error}", origin=origin) from error


def _too_costly(asked: str, allowed: str, origin: Origin) -> LimitError:
    return LimitError(
        f"deriving a key takes {asked}, more than the {allowed} allowed",
        origin=origin,
        hint="give a key slot a cheaper key on a copy: 'cryptsetup luksConvertKey'",
    )


def _check_hash(name: str, origin: Origin) -> None:
    """Refuse a hash that LUKS does not have, or that OpenSSL no longer has here."""
    if name not in _HASHES or name not in hashlib.algorithms_available:
        raise UnsupportedError(
            f"uses the hash '{printable(name[:32])}', which is not read", origin=origin
        )


def merged(area: bytes, key_bytes: int, stripes: int, hash_name: str, origin: Origin) -> bytes:
    """Return the key from its stripes (the anti-forensic splitter's AFmerge).

    :raises UnsupportedError: for an unknown hash.
    """
    _check_hash(hash_name, origin)
    mixed = 0
    for start in range(0, (stripes - 1) * key_bytes, key_bytes):
        mixed ^= int.from_bytes(area[start : start + key_bytes], "little")
        mixed = int.from_bytes(_diffused(mixed.to_bytes(key_bytes, "little"), hash_name), "little")
    last = (stripes - 1) * key_bytes
    mixed ^= int.from_bytes(area[last : last + key_bytes], "little")
    return mixed.to_bytes(key_bytes, "little")


def _diffused(block: bytes, hash_name: str) -> bytes:
    """Replace each piece of the hash's size by the hash of its number and itself."""
    size = hashlib.new(hash_name, usedforsecurity=False).digest_size
    pieces = [
        hashlib.new(
            hash_name,
            number.to_bytes(4, "big") + block[start : start + size],
            usedforsecurity=False,
        ).digest()[: len(block) - start]
        for number, start in enumerate(range(0, len(block), size))
    ]
    return b"".join(pieces)
