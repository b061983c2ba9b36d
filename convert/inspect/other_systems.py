"""Systems that are not Linux, known by their files; they can be looked into, and not be run."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TypedDict

from formats.core.entry import Kind
from formats.core.errors import ConvertError
from formats.core.limits import MIB
from formats.core.tree import TreeIndex

_READ_MAX_BYTES = 32 * MIB
"""A kernel is the largest file that a version is looked for in."""


class _Version(TypedDict, total=False):
    file: str
    pattern: str
    encoding: str


class _Row(TypedDict, total=False):
    name: str
    all: Sequence[str]
    version: _Version


@cache
def _rows() -> Sequence[_Row]:
    text = files("convert.inspect").joinpath("other_systems.toml").read_text("utf-8")
    rows: list[_Row] = tomllib.loads(text)["system"]
    return rows


def other_system(index: TreeIndex) -> str | None:
    """Return which system that is not Linux is in a tree, with its version if it says one."""
    for row in _rows():
        if all(index.resolve(path.encode()) is not None for path in row["all"]):
            version = _version(index, row)
            return f"{row['name']} {version}" if version else row["name"]
    return None


def _version(index: TreeIndex, row: _Row) -> str | None:
    where = row.get("version")
    if where is None:
        return None
    entry = index.resolve(where["file"].encode())
    if entry is None or entry.kind not in {Kind.FILE, Kind.HARDLINK}:
        return None
    try:
        content = index.content(entry.path, _READ_MAX_BYTES) or b""
    except ConvertError:  # the name alone has to do
        return None
    pattern = re.compile(where["pattern"])
    if where.get("encoding") is None:
        match = pattern.search(content.decode("utf-8", "replace"))
        return match[1].strip() if match is not None else None
    for start in (0, 1):  # resources need not be at an even place
        match = pattern.search(content[start:].decode(where["encoding"], "replace"))
        if match is not None:
            return match[1]
    return None
