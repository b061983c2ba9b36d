"""Sectors encrypted with AES, many at a time, as dm-crypt does it one by one.

Each sector is a message of its own with an IV that comes from its number (the kernel's
Documentation/admin-guide/device-mapper/dm-crypt.rst). Calling a library once for each sector of
512 bytes costs ten times what the cipher does, so here whole units go through AES at once, and what
differs from sector to sector is worked out over arrays:

- XTS (IEEE 1619): a block is ``D(c ^ t) ^ t``, and the tweak ``t`` of the next block of a sector is
  that of the one before, multiplied by x in GF(2^128). All tweaks of a unit are an array.
- CBC: all sectors as one message, which gets only the first block of each sector wrong: it was
  combined with the last block of the sector before instead of with the IV.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from formats.core.errors import UnsupportedError
from formats.core.origin import Origin, printable
from formats.core.source import BytesLike
from formats.volumes.luks.header import SECTOR_BYTES

_BLOCK_BYTES = 16
_BLOCK_WORDS = 2
_AES_KEY_BYTES = frozenset({16, 24, 32})
_MODES = frozenset({"cbc", "ecb", "xts"})
_IVS = frozenset({"essiv", "plain", "plain64"})
_IV_HASHES = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"})
_SPECIFICATION = re.compile(r"aes-([a-z]+)(?:-([a-z0-9]+)(?::([a-z0-9-]+))?)?", re.ASCII)
_WORD = np.dtype("<u8")

_Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class CipherKind:
    """A cipher as dm-crypt writes it, taken apart.

    :ivar iv: ``plain``, ``plain64`` or ``essiv``; of no meaning for ECB.
    :ivar iv_hash: of ESSIV.
    """

    mode: str
    iv: str
    iv_hash: str


def parse_cipher(text: str, origin: Origin) -> CipherKind:
    """Return what ``aes-cbc-essiv:sha256`` says.

    :raises UnsupportedError: for everything that is not read, by its name.
    """
    match = _SPECIFICATION.fullmatch(text)
    if match is not None:
        kind = CipherKind(match[1], match[2] or "", match[3] or "")
        is_iv_known = kind.iv in _IVS and (kind.iv == "essiv") == (kind.iv_hash in _IV_HASHES)
        if kind.mode in _MODES and (kind.mode == "ecb" or is_iv_known):
            return kind
    raise UnsupportedError(
        f"is encrypted with the cipher '{printable(text[:64])}', which is not read",
        origin=origin,
        hint="open it on a machine with the key and image the open device:"
        " 'qemu-img convert -O qcow2 /dev/mapper/… …'",
    )


class SectorCipher:
    """Decrypts whole sectors; safe in any number of threads.

    :param kind: from :func:`parse_cipher`.
    :raises UnsupportedError: if the key is of no length that AES has.
    """

    def __init__(self, kind: CipherKind, key: bytes, sector_bytes: int, origin: Origin) -> None:
        half = len(key) // 2 if kind.mode == "xts" else len(key)
        if half not in _AES_KEY_BYTES or (kind.mode == "xts" and len(key) % 2):
            raise UnsupportedError(f"is encrypted with a key of {len(key)} bytes", origin=origin)
        self._kind = kind
        self._sector_bytes = sector_bytes
        self._key = algorithms.AES(key[:half])
        self._iv_key: algorithms.AES | None = None
        if kind.mode == "xts":
            self._iv_key = algorithms.AES(key[half:])
        elif kind.iv == "essiv":
            salt = hashlib.new(kind.iv_hash, key, usedforsecurity=False).digest()
            if len(salt) not in _AES_KEY_BYTES:
                raise UnsupportedError(
                    f"is encrypted with IVs from '{kind.iv_hash}'", origin=origin
                )
            self._iv_key = algorithms.AES(salt)

    def decrypt(self, data: BytesLike, first: int) -> BytesLike:
        """Return sectors decrypted.

        :param first: number of the first sector in units of 512 bytes, whatever the sectors' size.
        """
        if self._kind.mode == "ecb":
            return self._decrypted(data)
        if self._kind.mode == "cbc":
            return self._cbc(data, first)
        tweaks = self._tweaks(self._ivs(len(data) // self._sector_bytes, first))
        mixed = np.frombuffer(data, _WORD) ^ tweaks
        plain = np.frombuffer(self._decrypted(mixed.data.cast("B")), _WORD) ^ tweaks
        return plain.data.cast("B")

    def _decrypted(self, data: BytesLike) -> bytes:
        # A decryptor must not be shared between threads, and costs little beside a unit.
        return _blocks(self._key).decryptor().update(data)

    def _cbc(self, data: BytesLike, first: int) -> BytesLike:
        sector_words = self._sector_bytes // _WORD.itemsize
        ivs = self._ivs(len(data) // self._sector_bytes, first)
        first_iv = ivs[0].tobytes()
        whole = Cipher(self._key, modes.CBC(first_iv)).decryptor().update(data)
        plain = np.frombuffer(bytearray(whole), _WORD).reshape(-1, sector_words)
        encrypted = np.frombuffer(data, _WORD).reshape(-1, sector_words)
        plain[1:, :_BLOCK_WORDS] ^= encrypted[:-1, -_BLOCK_WORDS:] ^ ivs[1:]
        return plain.data.cast("B")

    def _ivs(self, count: int, first: int) -> _Words:
        """Return the IV of each sector, in two words; of XTS, its first tweak."""
        step = self._sector_bytes // SECTOR_BYTES
        numbers = np.zeros((count, _BLOCK_WORDS), _WORD)
        numbers[:, 0] = np.arange(first, first + count * step, step, dtype=_WORD)
        if self._kind.iv == "plain":
            numbers[:, 0] &= np.uint64(0xFFFFFFFF)
        if self._iv_key is None:
            return numbers
        encrypted = _blocks(self._iv_key).encryptor().update(numbers.data.cast("B"))
        return np.frombuffer(encrypted, _WORD).reshape(count, _BLOCK_WORDS)

    def _tweaks(self, firsts: _Words) -> _Words:
        """Return the tweak of every block, in the order of the blocks.

        With the first k tweaks of each sector, the next k are these times x^k.
        """
        blocks = self._sector_bytes // _BLOCK_BYTES
        low, high = (np.empty((blocks, len(firsts)), _WORD) for _ in range(_BLOCK_WORDS))
        low[0], high[0] = firsts[:, 0], firsts[:, 1]
        known = 1
        while known < blocks:
            both = low[:known], high[:known]
            for shift in [known] if known < 64 else [32] * (known // 32):
                both = _times_x(*both, shift)
            low[known : 2 * known], high[known : 2 * known] = both
            known *= 2
        tweaks = np.empty((len(firsts), blocks, _BLOCK_WORDS), _WORD)
        tweaks[:, :, 0], tweaks[:, :, 1] = low.T, high.T
        return tweaks.reshape(-1)


def _blocks(key: algorithms.AES) -> Cipher[modes.ECB]:
    """Return AES of each block by itself: what every mode is made of."""
    return Cipher(key, modes.ECB())  # noqa: S305 - the header says which mode, not we


def _times_x(low: _Words, high: _Words, power: int) -> tuple[_Words, _Words]:
    """Multiply by x^power in GF(2^128) modulo x^128 + x^7 + x^2 + x + 1; up to x^57."""
    up, down = np.uint64(power), np.uint64(64 - power)
    over = high >> down
    reduced = over ^ (over << np.uint64(1)) ^ (over << np.uint64(2)) ^ (over << np.uint64(7))
    return (low << up) ^ reduced, (high << up) | (low >> down)
