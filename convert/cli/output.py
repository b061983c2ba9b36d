"""How results look on a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., object])

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def human_size(count: int) -> str:
    """Return a size for people, in powers of 1000: ``182.4 MB``."""
    value = float(count)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes everything")


def emit_json(value: object) -> None:
    """Print one JSON document on stdout: two spaces of indent, keys as they come."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def emit_table(rows: Iterable[Sequence[str]], *, gap: str = "  ") -> None:
    """Print rows with aligned columns; the last column is not padded."""
    lines = [list(row) for row in rows]
    if not lines:
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        click.echo(gap.join([*cells, line[-1]]).rstrip())


def json_option(command: _Command) -> _Command:
    """Add ``--json`` to a command."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )(command)


def quiet_option(command: _Command) -> _Command:
    """Add ``--quiet`` to a command."""
    return click.option(
        "-q", "--quiet", is_flag=True, help="Print nothing but errors, and no progress."
    )(command)
