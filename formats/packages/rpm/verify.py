"""Digests of headers and payload, against what the package says of itself.

Specification: rpm.org "Signatures and Digests", "V6 Package format".

All digests of the header are verified, as they are cheap. Of the payload it is one: SHA-256 if it
is there, as nothing that others would find amiss gets past it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.limits import MIB
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header

_HINT = "the package was damaged or changed after it was built: fetch it again"

_HEADER_DIGESTS = (
    (tags.SIG_SHA1, "sha1"),
    (tags.SIG_SHA256, "sha256"),
    (tags.SIG_SHA3_256, "sha3_256"),
)
_PAYLOAD_DIGESTS = (
    (tags.PAYLOADSHA512, "sha512"),
    (tags.PAYLOADSHA3_256, "sha3_256"),
)


def verify_header(signature: Header, header: Header) -> None:
    """Hold the header against its digests.

    :raises CorruptError: if one is not that of the header.
    """
    covered = header.region_bytes(tags.HEADERIMMUTABLE)
    for tag, algorithm in _HEADER_DIGESTS:
        if tag in signature:
            actual = hashlib.new(algorithm, covered, usedforsecurity=False).hexdigest()
            _compare("header", algorithm, actual, signature.text(tag), header)


def verify_payload(
    source: ByteSource, signature: Header, header: Header, payload_start: int
) -> None:
    """Hold the compressed payload against the strongest digest of it that there is.

    :param source: the whole package.
    :raises CorruptError: if it is not that of the payload.
    """
    known = _payload_digest(header)
    if known is not None:
        algorithm, expected = known
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for block in _blocks(source, payload_start):
            digest.update(block)
        _compare("payload", algorithm, digest.hexdigest(), expected, header)
        return
    expected_md5 = signature.binary(tags.SIG_MD5)
    if not expected_md5:
        return
    digest = hashlib.md5(usedforsecurity=False)
    for block in _blocks(source, payload_start - header.packed_bytes):
        digest.update(block)
    _compare("header and payload", "md5", digest.hexdigest(), expected_md5.hex(), header)


def _payload_digest(header: Header) -> tuple[str, str] | None:
    """Return algorithm and digest; of SHA-256 and its slower relatives, which v6 has as well."""
    expected = header.text(tags.PAYLOADSHA256)
    number = header.number(tags.PAYLOADDIGESTALGO)
    algorithm = "sha256" if number is None else tags.DIGESTS.get(number)
    if expected and algorithm is not None:
        return algorithm, expected
    for tag, name in _PAYLOAD_DIGESTS:
        if tag in header:
            return name, header.text(tag)
    return None


def _blocks(source: ByteSource, start: int) -> Iterator[BytesLike]:
    for offset in range(start, source.size, MIB):
        length = min(MIB, source.size - offset)
        yield read_exact(source, offset, length, "the payload")


def _compare(what: str, algorithm: str, actual: str, expected: str, header: Header) -> None:
    if actual != expected.lower():
        raise CorruptError(
            f"the {what} has the {algorithm} digest {actual}, and the package says {expected}",
            origin=header.origin,
            hint=_HINT,
        )
