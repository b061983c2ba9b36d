"""The runtimes of a guest, ``java`` and the like, with version and place; the table is data."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from posixpath import normpath
from typing import TypedDict

from convert.inspect.applications.context import Context, text_of
from convert.inspect.text import can_be_said
from formats.core.entry import Entry

_BESIDE_MAX = 20_000
"""As far into a file as its version is looked for."""


class _Row(TypedDict, total=False):
    name: str
    programs: Sequence[str]
    beside: Sequence[str]
    version: str
    real_name: str
    packages: str


@cache
def _rows() -> dict[str, _Row]:
    text = files("convert.inspect.applications").joinpath("runtimes.toml").read_text("utf-8")
    rows: list[_Row] = tomllib.loads(text)["runtime"]
    return {row["name"]: row for row in rows}


def runtime(context: Context, name: str) -> str | None:
    """Return a runtime as people call it: ``java 17.0.15 (/usr/bin/java)``; None if not there."""
    if name not in context.runtimes:
        context.runtimes[name] = _runtime(context, name)
    return context.runtimes[name]


def _runtime(context: Context, name: str) -> str | None:
    row = _rows()[name]
    found = _program(context, row)
    packaged = _packaged(context, row)
    if found is None:
        return f"{name} {packaged}" if packaged is not None else None
    entry, real = found
    path = text_of(entry.path)
    where = f" (/{path})" if can_be_said(path) else ""
    version = _stated(context, row, real) or packaged
    return f"{name} {version}{where}" if version else f"{name}{where}"


def _program(context: Context, row: _Row) -> tuple[Entry, Entry] | None:
    for pattern in row["programs"]:
        for entry in context.guest.glob(pattern.encode()):
            real = context.guest.index.resolve(entry.path)
            if real is not None:
                return entry, real
    return None


def _stated(context: Context, row: _Row, real: Entry) -> str | None:
    """Return what a file beside the program says, or else its own name."""
    for beside in row.get("beside", ()):
        path = normpath(real.parent + b"/" + beside.encode())
        match = re.search(row["version"], (context.guest.text(path) or "")[:_BESIDE_MAX])
        if match is not None:
            return ".".join(match.groups())
    named = re.search(row.get("real_name", r"(?!)"), text_of(real.name))
    return named[1] if named is not None else None


def _packaged(context: Context, row: _Row) -> str | None:
    """Return the version of its package, without epoch and the distribution's part."""
    pattern = re.compile(row["packages"])
    for package in context.installed.packages:
        if pattern.fullmatch(package.name):
            return re.split(r"[-+~]", package.version.rpartition(":")[2])[0]
    return None
