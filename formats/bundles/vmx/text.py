"""The text of a .vmx: ``key = "value"`` lines.

There is no specification. VMware's knowledge base has the form (article 1714, "Editing a .vmx
file"); values escape characters as ``|22``, by their hexadecimal number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from formats.core.errors import CorruptError, LimitError, UnsupportedError, quoted
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.disks.vmdk.charsets import charset_of

_PROBE_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(r'([.\w:\-/]+)\s*=\s*(?:"(.*)"|([^"\s].*|))\s*')
_ESCAPE = re.compile(r"\|([0-9A-Fa-f]{2})")
_ENCODING = re.compile(
    rb'^[ \t]*\.encoding[ \t]*=[ \t]*"?([\w-]{1,32})', re.IGNORECASE | re.MULTILINE
)
_OWN_KEY = re.compile(
    rb"^[ \t]*(config\.version|virtualHW\.version|encryption\.keySafe)[ \t]*=",
    re.IGNORECASE | re.MULTILINE,
)
_FIRST_LINE = re.compile(rb"\s*(#|[.\w:]+[ \t]*=)")


def looks_like_vmx(source: ByteSource) -> bool:
    """Tell whether a file is text with one of the keys that every .vmx has."""
    head = bytes(source.read_at(0, 256)).removeprefix(_BOM)
    if b"\0" in head or not _FIRST_LINE.match(head):
        return False
    return _OWN_KEY.search(bytes(source.read_at(0, _PROBE_BYTES))) is not None


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed .vmx; keys are lower case, as VMware does not tell them apart."""

    values: Mapping[str, str]

    def get(self, key: str) -> str:
        """Return a value, "" where there is none."""
        return self.values.get(key.lower(), "")

    def is_true(self, key: str) -> bool:
        """Tell whether a switch is on; one that is not there is off."""
        return self.get(key).upper() == "TRUE"

    def is_false(self, key: str) -> bool:
        """Tell whether a switch is there and off."""
        return self.get(key).upper() == "FALSE"


def parse_vmx(source: ByteSource, limits: Limits) -> Settings:
    """Return the settings.

    :raises CorruptError: for lines that say nothing, and keys with two values.
    :raises UnsupportedError: for character sets that are not known.
    :raises LimitError: if it is too large.
    """
    if source.size > limits.descriptor_bytes:
        raise LimitError(
            f"has {source.size:,} bytes, more than the {limits.descriptor_bytes:,} allowed",
            origin=source.origin,
        )
    text = bytes(source.read_at(0, source.size)).removeprefix(_BOM).partition(b"\0")[0]
    codec = _codec(text, source.origin)
    values: dict[str, str] = {}
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = raw.decode(codec, "surrogateescape").strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise CorruptError(
                f"has a line {number} that says nothing: {quoted(line[:80])}", origin=source.origin
            )
        key, value = match[1].lower(), _unescaped(match[2] if match[2] is not None else match[3])
        if values.setdefault(key, value) != value:
            raise CorruptError(f"states {quoted(match[1])} twice", origin=source.origin)
    return Settings(values)


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)


def _codec(text: bytes, origin: Origin) -> str:
    match = _ENCODING.search(text)
    if match is None:
        return "utf-8"
    stated = match[1].decode("ascii", "replace")
    codec = charset_of(stated)
    if codec is None:
        raise UnsupportedError(
            f"is text in the encoding {quoted(stated)}",
            origin=origin,
            hint='save it as UTF-8 and write .encoding = "UTF-8" into it',
        )
    return codec
