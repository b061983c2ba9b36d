"""``inspect``, ``ls`` and ``cat``: looking, without writing anything."""

from __future__ import annotations

import base64
import sys

import click

from convert.cli.arguments import (
    config_options,
    content_options,
    opening_options,
    source_argument,
    sources_argument,
    tree_options,
)
from convert.cli.output import emit_document, emit_json, json_option, quiet_option
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options


@click.command("inspect")
@sources_argument
@opening_options
@content_options
@tree_options
@config_options
@json_option
@quiet_option
def inspect_command(
    *, sources: tuple[str, ...], as_json: bool, quiet: bool, **options: object
) -> None:
    """Show what SOURCE is, what is inside it, and what run would decide, with the evidence.

    Exit code 0 where it can be converted; else the code that run would end with.
    """
    from convert.cli.summary import summary_of_inspection
    from convert.pipeline import inspect_artifact
    from convert.report.documents import InspectDocument

    wanted = wanted_options(options)
    with TerminalProgress(enabled=not quiet) as progress:
        seen = inspect_artifact(sources, wanted, progress=progress)
    if as_json:
        emit_document(InspectDocument.of(sources, seen))
    elif not quiet:
        click.echo("\n".join(summary_of_inspection(seen)))
    if seen.problem is not None:
        click.get_current_context().exit(seen.problem.exit_code)


disk_option = click.option(
    "--disk",
    "further",
    metavar="FILE",
    multiple=True,
    help="Further disk of the same machine. Repeatable.",
)


@click.command("ls")
@source_argument
@click.argument("path", default="/")
@click.option("-l", "--long", "is_long", is_flag=True, help="Mode, owner, size and time as well.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below PATH.")
@disk_option
@opening_options
@json_option
@quiet_option
def ls_command(
    *,
    source: str,
    further: tuple[str, ...],
    path: str,
    is_long: bool,
    recursive: bool,
    as_json: bool,
    quiet: bool,
    **options: object,
) -> None:
    """List what is at PATH inside SOURCE, the root folder by default.

    Volumes that the root's fstab mounts are in their places; nothing is taken out.
    """
    from convert.browse import listed
    from convert.cli.listing import as_object, long_line, short_line

    wanted = wanted_options(options)
    with TerminalProgress(enabled=not quiet) as progress:
        entries = listed((source, *further), path, wanted, recursive=recursive, progress=progress)
    if as_json:
        emit_json([as_object(entry) for entry in entries])
    elif not quiet:
        line = long_line if is_long else short_line
        click.echo("".join(f"{line(entry)}\n" for entry in entries), nl=False)


@click.command("cat")
@source_argument
@click.argument("path")
@disk_option
@opening_options
@json_option
@quiet_option
def cat_command(
    *,
    source: str,
    further: tuple[str, ...],
    path: str,
    as_json: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Print the file at PATH inside SOURCE, its bytes as they are.

    With --json, the bytes come as base64.
    """
    from convert.browse import content
    from convert.cli.listing import as_object

    wanted = wanted_options(options)
    with (
        TerminalProgress(enabled=not quiet) as progress,
        content((source, *further), path, wanted, progress=progress) as (entry, chunks),
    ):
        if as_json:
            data = base64.b64encode(b"".join(chunks)).decode("ascii")
            emit_json({**as_object(entry), "content": data})
        elif quiet:
            for _ in chunks:
                pass
        else:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
