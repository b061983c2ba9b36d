"""JSON documents: written in one canonical form, read without trust.

Canonical: UTF-8, keys sorted, no white space. The same image therefore has the same digest
wherever it is made. Read: bounded in size and depth, no key twice (parsers disagree on which one
wins, and then two clients see two images: CVE-2021-41190 is of that kind), nothing that could not
be written again (NaN, infinity, half a surrogate pair).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Never, TypeAlias

from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.origin import Origin
from formats.core.source import BytesLike

JsonValue: TypeAlias = (
    "Mapping[str, JsonValue] | Sequence[JsonValue] | str | int | float | bool | None"
)

DOCUMENT_BYTES = 4 << 20
"""Registries take manifests up to 4 MiB (distribution-spec, "Pushing Manifests")."""
DOCUMENT_DEPTH = 64
INTEGER_MAXIMUM = (1 << 63) - 1


def encode(value: JsonValue) -> bytes:
    """Return the canonical form of a document.

    :raises UnicodeEncodeError: for text that is not Unicode. What :func:`decode` gave never is.
    """
    text = json.dumps(
        value,
        ensure_ascii=False,
        allow_nan=False,
        sort_keys=True,
        indent=None,
        separators=(",", ":"),
    )
    return text.encode("utf-8")


def decode(data: BytesLike, what: str, origin: Origin) -> Document:
    """Return the object that ``data`` holds.

    :param what: its name for messages: "the manifest".
    :raises CorruptError: if it is not one JSON object, is nested deeper than 64, has a key twice,
        or could not be written again.
    :raises LimitError: if it is larger than 4 MiB.
    """
    if len(data) > DOCUMENT_BYTES:
        raise LimitError(
            f"{what} has {len(data):,} bytes, more than {DOCUMENT_BYTES:,}", origin=origin
        )
    try:
        value: JsonValue = json.loads(
            bytes(data).decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise CorruptError(f"{what} is not JSON: {error}", origin=origin) from error
    _check_depth(value, what, origin)
    try:
        encode(value)
    except ValueError as error:  # UnicodeEncodeError is one
        raise CorruptError(f"{what} cannot be written again: {error}", origin=origin) from error
    if not isinstance(value, Mapping):
        raise CorruptError(f"{what} is not a JSON object", origin=origin)
    return Document(value, what, origin)


def decode_list(data: BytesLike, what: str, origin: Origin) -> list[Document]:
    """Return the objects that a JSON list holds; otherwise as :func:`decode`."""
    wrapped = decode(b'{"items":' + bytes(data) + b"}", what, origin)
    return wrapped.objects("items")


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _check_depth(value: JsonValue, what: str, origin: Origin) -> None:
    level: list[JsonValue] = [value]
    for _ in range(DOCUMENT_DEPTH + 1):
        deeper: list[JsonValue] = []
        for item in level:
            if isinstance(item, Mapping):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return
        level = deeper
    raise CorruptError(f"{what} is nested deeper than {DOCUMENT_DEPTH} levels", origin=origin)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object that was read, with checked access to its members.

    Every method raises :class:`CorruptError` that names the member, where it is not as asked for.
    A member that is ``null`` counts as absent, as the specification's config.md says.
    """

    values: Mapping[str, JsonValue]
    what: str
    origin: Origin

    def bad(self, key: str, problem: str) -> CorruptError:
        """Return the error that says what is wrong with a member."""
        return CorruptError(f"{self.what}: {quoted(key)} {problem}", origin=self.origin)

    def text(self, key: str) -> str:
        """Return a string that has to be there."""
        found = self.optional_text(key)
        if found is None:
            raise self.bad(key, "is missing")
        return found

    def optional_text(self, key: str) -> str | None:
        """Return a string, or None if it is absent."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.bad(key, "is not a string")
        return value

    def integer(self, key: str) -> int:
        """Return a whole number from 0 to 2⁶³-1 that has to be there."""
        value = self.values.get(key)
        # bool is an int in Python; in JSON it is not
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.bad(key, "is not a whole number")
        if not 0 <= value <= INTEGER_MAXIMUM:
            raise self.bad(key, f"is {value}, which is out of range")
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean; an absent one is False."""
        value = self.values.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.bad(key, "is not a boolean")
        return value

    def object(self, key: str) -> Document:
        """Return an object that has to be there."""
        found = self.optional_object(key)
        if found is None:
            raise self.bad(key, "is missing")
        return found

    def optional_object(self, key: str) -> Document | None:
        """Return an object, or None if it is absent."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.bad(key, "is not an object")
        return Document(value, f"{self.what}, {key}", self.origin)

    def items(self, key: str) -> Sequence[JsonValue]:
        """Return a list that has to be there."""
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self.bad(key, "is not a list")
        return value

    def objects(self, key: str) -> list[Document]:
        """Return a list of objects that has to be there."""
        found = []
        for number, item in enumerate(self.items(key)):
            if not isinstance(item, Mapping):
                raise self.bad(key, f"holds something else than objects (item {number})")
            found.append(Document(item, f"{self.what}, {key}[{number}]", self.origin))
        return found

    def texts(self, key: str) -> list[str]:
        """Return a list of strings; an absent one is empty."""
        if self.values.get(key) is None:
            return []
        found = []
        for number, item in enumerate(self.items(key)):
            if not isinstance(item, str):
                raise self.bad(key, f"holds something else than strings (item {number})")
            found.append(item)
        return found

    def mapping(self, key: str) -> dict[str, str]:
        """Return an object whose values are all strings; an absent one is empty."""
        value = self.optional_object(key)
        return {} if value is None else {name: value.text(name) for name in value.values}
