"""The JSON area of a LUKS2 header, read with a check at each value."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator

from formats.core.errors import CorruptError
from formats.core.origin import Origin, printable


class JsonObject:
    """An object of the area. Everything that is asked for is there and of its type, or an error.

    64-bit numbers are strings in LUKS2, others are not (section 3); both are taken for both.
    """

    def __init__(self, fields: dict[str, object], path: str, origin: Origin) -> None:
        self.origin = origin
        self._fields = fields
        self._path = path

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def get(self, key: str) -> JsonObject:
        """Return the object that is the value of ``key``."""
        value = self._fields.get(key)
        if not isinstance(value, dict):
            raise self._error(key)
        return JsonObject(value, f"{self._path}{key}.", self.origin)

    def objects(self, key: str) -> Iterator[tuple[str, JsonObject]]:
        """Yield the names and objects in the object ``key``, in the order of their names."""
        inner = self.get(key)
        for name in sorted(inner._fields):
            yield name, inner.get(name)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._fields.get(key, default)
        if not isinstance(value, str):
            raise self._error(key)
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of strings; an empty one where there is none."""
        value = self._fields.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._error(key)
        return value

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number in a range."""
        value = self._fields.get(key, default)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._error(key)
        return value

    def binary(self, key: str) -> bytes:
        """Return what a string in base64 stands for."""
        try:
            return base64.b64decode(self.text(key), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._error(key) from error

    def _error(self, key: str) -> CorruptError:
        shown = repr(self._fields.get(key))[:40]
        return CorruptError(
            f"the LUKS2 header has {printable(self._path + key)} = {printable(shown)}",
            origin=self.origin,
        )


def parse_json(text: bytes, origin: Origin) -> JsonObject:
    """Return the outermost object.

    :raises CorruptError: if the text is not JSON, not an object, or nested without end.
    """
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError("the LUKS2 header holds no JSON", origin=origin) from error
    if not isinstance(document, dict):
        raise CorruptError("the LUKS2 header holds no JSON object", origin=origin)
    return JsonObject(document, "", origin)
