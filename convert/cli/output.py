"""How results look on a terminal and as JSON."""

from __future__ import annotations

import json
import secrets
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import click

from formats.core.errors import OutputError, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

_WIDTH = 100
_Command = TypeVar("_Command", bound=Callable[..., object])


def emit_json(value: object) -> None:
    """Print one JSON document on stdout: two spaces of indent, keys as they come."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def emit_document(document: BaseModel) -> None:
    """Print a report's document on stdout."""
    click.echo(document.model_dump_json(indent=2))


def write_report(path: Path, document: BaseModel) -> None:
    """Write a document to a file, whole or not at all.

    :raises OutputError: if it cannot be written.
    """
    write_text(path, document.model_dump_json(indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a report to a file, whole or not at all; to a pipe or device, as it is.

    :raises OutputError: if it cannot be written.
    """
    from convert.staging import opened_stream

    stream = opened_stream(path)
    if stream is not None:
        with stream:
            stream.write(text.encode())
        return
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        try:
            with staged.open("x", encoding="utf-8") as file:
                file.write(text)
            staged.replace(path)
        except BaseException:
            with suppress(OSError):
                staged.unlink()
            raise
    except OSError as error:
        raise OutputError(f"the report cannot be written to {path}: {error.strerror}") from error


def binary_stdout(destination: str, *, as_json: bool) -> BinaryIO | None:
    """Return standard output where ``destination`` names it, or else None.

    :raises UsageError: if it is taken by ``--json``, or is a terminal.
    """
    from convert.destination import (
        FolderDestination,
        LayoutDestination,
        parse_destination,
    )

    target = parse_destination(destination)
    if isinstance(target, LayoutDestination | FolderDestination) or target.file is not None:
        return None
    if as_json:
        raise UsageError(
            "standard output cannot take both the result and --json",
            hint="use --report FILE, or write to a file",
        )
    if sys.stdout.isatty():
        raise UsageError("an archive is not written to a terminal", hint="redirect it, or name one")
    return sys.stdout.buffer


def emit_table(rows: Iterable[Sequence[str]], *, gap: str = "  ") -> None:
    """Print rows with aligned columns; the last column is not padded."""
    for line in table(rows, gap=gap):
        click.echo(line)


def table(rows: Iterable[Sequence[str]], *, gap: str = "  ") -> list[str]:
    """Return rows as lines with aligned columns; the last column is not padded."""
    lines = [list(row) for row in rows]
    if not lines:
        return []
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    padded = (
        [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        for line in lines
    )
    return [gap.join(cells).rstrip() for cells in padded]


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


def wrapped(lead: str, text: str) -> list[str]:
    """Return a text in lines of a readable width, the first led by ``lead``, the others even."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [lead.rstrip()]
