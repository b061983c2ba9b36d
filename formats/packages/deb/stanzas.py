"""Stanzas of fields: what Debian writes control files and indexes of packages in.

Specification: deb822(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike

Fields: TypeAlias = Mapping[str, str]
"""Values by the lower-case name of their field. Lines that continue a value keep the blank that
they begin with. Bytes that are no UTF-8 are surrogates (PEP 383)."""

_BLANK_LINES = re.compile(rb"\n(?:[ \t\r]*\n)+")
_BLANK_START = re.compile(rb"\A(?:[ \t\r]*\n)+")
"""What is left of blank lines where a block ends between them."""
_NAME = re.compile(r"""[!"$-,./0-9;-~][!-9;-~]{0,127}""")
_CACHED_NAMES = 1 << 10


def read_stanzas(
    blocks: Iterable[BytesLike], origin: Origin, limits: Limits = DEFAULT_LIMITS
) -> Iterator[bytes]:
    """Yield the stanzas of a text that comes in blocks, without the lines between them.

    :raises LimitError: if one is longer than ``limits.descriptor_bytes``.
    """
    rest = b"\n"
    start = 0
    for block in blocks:
        # what is looked at again ends the block before: blank lines may lie on both sides
        text = rest + block
        *whole, rest = _BLANK_LINES.split(text)
        yield from _some(whole)
        if len(rest) > limits.descriptor_bytes:
            raise LimitError(
                f"has a stanza of more than {limits.descriptor_bytes:,} bytes",
                origin=origin,
                offset=start,
            )
        start += len(block)
    yield from _some([rest])


def _some(stanzas: Iterable[bytes]) -> Iterator[bytes]:
    for stanza in stanzas:
        text = _BLANK_START.sub(b"", stanza).rstrip(b"\r\n")
        if text.strip():
            yield text


def parse_stanza(text: bytes) -> Fields:
    """Return the fields of one stanza.

    :raises CorruptError: without origin, for lines that are no fields, and fields given twice.
    """
    fields: dict[str, str] = {}
    last = ""
    for line in text.rstrip(b"\n").decode("utf-8", "surrogateescape").split("\n"):
        written, colon, value = line.partition(":")
        name = _field_name(written)
        if name and colon and name not in fields:
            fields[name] = value.strip()
            last = name
        elif last and line.startswith((" ", "\t")):
            fields[last] += "\n" + line.rstrip()
        elif name and colon:
            raise CorruptError(f"has the field {quoted(name)} twice")
        else:
            raise CorruptError(f"has the line {quoted(line[:80])}, which is no field")
    return fields


@lru_cache(maxsize=_CACHED_NAMES)
def _field_name(written: str) -> str:
    """Return a name as it is a key; "" for what is no name."""
    name = written.rstrip(" \t").lower()
    return name if _NAME.fullmatch(name) else ""
