"""Options from a file: fields of :class:`~convert.options.ConvertOptions` as TOML, YAML or JSON."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import yaml

from convert.options import ConvertOptions
from formats.core.errors import UsageError
from formats.core.origin import printable

_MOST_BYTES: Final = 1 << 20
_SCHEMA: Final = "$schema"
"""For editors; it says nothing."""


def _yaml(text: str) -> object:
    """Return what a YAML document holds; only plain data, and no object of Python."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


_PARSERS: Final[dict[str, Callable[[str], object]]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def read_options_file(path: str | os.PathLike[str]) -> Mapping[str, object]:
    """Return the fields that a file sets, not yet validated.

    :param path: ``*.toml``, ``*.yaml`` or ``*.json``. Paths in it are relative to the current
        folder, as on the command line.
    :raises UsageError: for another kind of file, one that cannot be read or is malformed, and
        fields that there are none of.
    """
    name = os.fspath(path)
    parse = _PARSERS.get(Path(name).suffix.lower())
    if parse is None:
        raise UsageError(
            f"'{printable(name)}' is no options file",
            hint=f"its name has to end in {' or '.join(_PARSERS)}; 'convert schema' has the fields",
        )
    try:
        fields = parse(_text(name))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{printable(name)}' is malformed: {error}") from None
    if not isinstance(fields, dict):
        raise UsageError(f"'{printable(name)}' holds no object of options")
    fields.pop(_SCHEMA, None)
    _refuse_unknown(name, fields)
    return fields


def _text(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read '{printable(name)}': {error.strerror or error}") from error
    if len(data) > _MOST_BYTES:
        raise UsageError(f"'{printable(name)}' is too large for an options file")
    return data.decode()


def _refuse_unknown(name: str, fields: Mapping[str, object]) -> None:
    known = ConvertOptions.model_fields
    for field in fields:
        if field not in known:
            close = difflib.get_close_matches(str(field), known, n=1)
            raise UsageError(
                f"'{printable(name)}' sets '{printable(str(field))}', which is no option",
                hint=f"did you mean '{close[0]}'?" if close else "'convert schema' has all of them",
            )
