"""OpenPGP signatures of a package: who says to have made it; none is verified, without a key.

Specification: rpm.org "Signatures and Digests"; RFC 9580, 4.2, 5.2 and 9.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from formats.packages.rpm import tags
from formats.packages.rpm.header import Header

_BINARY_TAGS = (
    (tags.SIG_RSA, "header"),
    (tags.SIG_DSA, "header"),
    (tags.SIG_PGP, "header and payload"),
    (tags.SIG_GPG, "header and payload"),
)
_SIGNATURE_PACKET = 2
_KEY_ALGORITHMS = {
    1: "RSA",
    3: "RSA",
    17: "DSA",
    19: "ECDSA",
    22: "EdDSA",
    27: "Ed25519",
    28: "Ed448",
    30: "ML-DSA-65+Ed25519",
    31: "ML-DSA-87+Ed448",
}
_HASHES = {
    1: "MD5",
    2: "SHA1",
    8: "SHA256",
    9: "SHA384",
    10: "SHA512",
    11: "SHA224",
    12: "SHA3-256",
    14: "SHA3-512",
}
_CREATED, _ISSUER, _ISSUER_FINGERPRINT = 2, 16, 33
_V6 = 6


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says of itself.

    :ivar covers: what it is of: ``header``, ``header and payload``.
    :ivar key: identifier of the key, lower-case hexadecimal; "" if it is not said.
    :ivar created: seconds since 1970-01-01; 0 if it is not said.
    """

    covers: str
    algorithm: str
    key: str
    created: int

    def __str__(self) -> str:
        key = f", key {self.key}" if self.key else ""
        when = ""
        if self.created:
            when = f", {datetime.fromtimestamp(self.created, UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.algorithm} of the {self.covers}{key}{when}"


def signatures_of(header: Header) -> tuple[Signature, ...]:
    """Return the signatures in a signature header; those that make no sense are named as such.

    :raises CorruptError: if their tags are not what they must be.
    """
    found = [
        _signature(header.binary(tag), covers) for tag, covers in _BINARY_TAGS if tag in header
    ]
    for text in header.strings(tags.SIG_OPENPGP):
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            raw = b""
        found.append(_signature(raw, "header"))
    return tuple(found)


def _signature(raw: bytes, covers: str) -> Signature:
    try:
        return _packet(raw, covers)
    except (struct.error, IndexError, ValueError):
        return Signature(covers, "a signature that makes no sense", "", 0)


def _packet(raw: bytes, covers: str) -> Signature:
    """Read a packet; its first byte and length first, old form or new (RFC 9580, 4.2)."""
    first = raw[0]
    if first & 0x40:
        kind = first & 0x3F
        start = _new_length_end(raw)
    else:
        kind = first >> 2 & 0xF
        start = 1 + (1, 2, 4, 0)[first & 3]
    if not first & 0x80 or kind != _SIGNATURE_PACKET:
        raise ValueError(kind)
    body = raw[start:]
    if body[0] == 3:  # the version
        created, key, algorithm, digest = struct.unpack_from(">I8sBB", body, 3)
        return Signature(covers, _algorithm(algorithm, digest), key.hex(), created)
    return _modern(body, covers)


def _modern(body: bytes, covers: str) -> Signature:
    """Read a signature of version 4 or 6 (RFC 9580, 5.2.3)."""
    version, _, algorithm, digest = struct.unpack_from(">4B", body)
    length = struct.Struct(">I" if version == _V6 else ">H")
    position = 4
    key, created = "", 0
    for _ in range(2):  # hashed and unhashed subpackets
        (size,) = length.unpack_from(body, position)
        position += length.size
        for kind, value in _subpackets(body[position : position + size]):
            if kind == _CREATED:
                (created,) = struct.unpack(">I", value)
            elif kind == _ISSUER:
                key = value.hex()
            elif kind == _ISSUER_FINGERPRINT and not key:
                # a key's identifier: the end of the fingerprint of version 4, the start of 6
                key = (value[1:9] if value[0] == _V6 else value[-8:]).hex()
        position += size
    return Signature(covers, _algorithm(algorithm, digest), key, created)


def _subpackets(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        length = data[position]
        position += 1
        if length >= 192:  # RFC 9580, 5.2.3.7
            if length == 255:
                (length,) = struct.unpack_from(">I", data, position)
                position += 4
            else:
                length = (length - 192 << 8) + data[position] + 192
                position += 1
        if not length:
            raise ValueError(length)
        yield data[position] & 0x7F, data[position + 1 : position + length]
        position += length


def _new_length_end(raw: bytes) -> int:
    first = raw[1]
    if first < 192:  # RFC 9580, 4.2.1
        return 2
    return 6 if first == 255 else 3


def _algorithm(key: int, digest: int) -> str:
    one = _KEY_ALGORITHMS.get(key, f"key algorithm {key}")
    return f"{one}/{_HASHES.get(digest, f'hash {digest}')}"
