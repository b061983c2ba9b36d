"""What both versions of a LUKS header come to: how to get the volume key, and what it decrypts."""

from __future__ import annotations

from dataclasses import dataclass, field

SECTOR_BYTES = 512
"""Unit of LUKS1 offsets, of IVs, and of encryption in key slots."""

KEY_BYTES_MAX = 512
STRIPES_MAX = 16_000
"""Both versions write 4000."""


@dataclass(frozen=True, slots=True)
class Kdf:
    """How a passphrase becomes the key of a key slot.

    :ivar kind: ``pbkdf2``, ``argon2i`` or ``argon2id``.
    :ivar hash_name: of PBKDF2; empty for Argon2.
    :ivar iterations: of PBKDF2, or Argon2's passes over its memory.
    :ivar memory_kib: of Argon2.
    :ivar lanes: of Argon2.
    """

    kind: str
    salt: bytes
    iterations: int
    hash_name: str = ""
    memory_kib: int = 0
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class KeySlot:
    """The volume key, split into stripes and encrypted with what a passphrase gives.

    :ivar priority: slots of higher priority are tried first.
    :ivar offset: byte in the volume at which its area starts.
    :ivar cipher: of the area, as in dm-crypt: ``aes-xts-plain64``.
    :ivar cipher_key_bytes: length of the key that decrypts the area.
    :ivar key_bytes: length of the volume key.
    """

    number: int
    priority: int
    kdf: Kdf
    offset: int
    cipher: str
    cipher_key_bytes: int
    key_bytes: int
    stripes: int
    stripes_hash: str


@dataclass(frozen=True, slots=True)
class KeyDigest:
    """Tells the right volume key from a wrong one: PBKDF2 of the key itself."""

    kdf: Kdf
    digest: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """The encrypted bytes.

    :ivar offset: byte in the volume at which they start.
    :ivar length: None for all up to the end.
    :ivar first_iv: number of the first sector for the IV, in units of 512 bytes.
    """

    offset: int
    length: int | None
    cipher: str
    sector_bytes: int
    first_iv: int = 0


@dataclass(frozen=True, slots=True)
class LuksHeader:
    """A header, checked.

    :ivar slots: those that hold the payload's key, in the order to try them.
    :ivar tokens: types of what may unlock it without a passphrase: ``systemd-tpm2``, ``clevis``.
    """

    version: int
    uuid: str
    label: str
    payload: Payload
    digest: KeyDigest
    slots: tuple[KeySlot, ...]
    tokens: tuple[str, ...] = field(default=())
