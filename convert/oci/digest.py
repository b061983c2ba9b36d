"""Content digests, as in the image specification's descriptor.md.

Only ``sha256`` is known: every client computes it, and a digest of an unknown algorithm is one
that nobody checks.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from formats.core.errors import CorruptError, quoted
from formats.core.origin import Origin
from formats.core.source import BytesLike

ALGORITHM = "sha256"

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest.

    :ivar encoded: 64 lower case hexadecimal digits; the name of a blob's file, and therefore
        never anything else.
    """

    encoded: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.encoded):
            raise ValueError(f"{self.encoded!r} is not a SHA-256 digest")

    @classmethod
    def parse(cls, text: str, origin: Origin | None = None) -> Digest:
        """Return what ``sha256:HEX`` names.

        :raises CorruptError: for anything else, upper case digits and other algorithms included.
        """
        algorithm, colon, encoded = text.partition(":")
        if algorithm != ALGORITHM or not colon or not _HEX.fullmatch(encoded):
            raise CorruptError(f"{quoted(text[:100])} is not a sha256 digest", origin=origin)
        return cls(encoded)

    @classmethod
    def of(cls, data: BytesLike) -> Digest:
        """Return the digest of these bytes."""
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"{ALGORITHM}:{self.encoded}"
