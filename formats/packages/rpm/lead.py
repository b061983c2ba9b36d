"""The lead of an rpm: 96 bytes, of which only the magic and two numbers still mean something.

Specification: rpm.org "Lead Format"; LSB 4.1, 22.2.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from formats.core.errors import UnsupportedError
from formats.core.source import ByteSource, read_exact

MAGIC = b"\xed\xab\xee\xdb"
LEAD_BYTES = 96

_LEAD = struct.Struct(">4sBBhh66shh16x")
_FORMATS = {3, 4}
"""What the major number says of packages of v3 and v4 (3), and of v6 (4)."""
_SOURCE_TYPE = 1
_HEADER_SIGNATURE = 5
"""A signature header follows; all else went away with rpm 2."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What is still looked at.

    :ivar is_source: whether it is of a source package.
    """

    major: int
    is_source: bool


def read_lead(source: ByteSource) -> Lead:
    """Return the lead of a file that starts with :data:`MAGIC`.

    :raises CorruptError: if it is cut short.
    :raises UnsupportedError: for formats before v3.
    """
    raw = read_exact(source, 0, LEAD_BYTES, "the lead")
    _, major, minor, kind, _, _, _, signature_type = _LEAD.unpack(raw)
    if major not in _FORMATS or signature_type != _HEADER_SIGNATURE:
        raise UnsupportedError(
            f"is an rpm of format {major}.{minor} with signatures of type {signature_type};"
            " those from v3 on are read, whose type is 5",
            origin=source.origin,
            offset=4,
            hint="rebuild it with rpm 4 ('rpmrebuild -p')",
        )
    return Lead(major, kind == _SOURCE_TYPE)
