"""``convert report``: what run would do, for people, as one HTML file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from convert.cli.arguments import (
    config_options,
    content_options,
    opening_options,
    sources_argument,
    tree_options,
)
from convert.cli.output import emit_json, json_option, quiet_option, write_text
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options

_STANDARD_OUTPUT = "-"


@click.command("report")
@sources_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="report.html",
    show_default=True,
    help="Where the page goes; - is standard output. A file that is there is replaced.",
)
@opening_options
@content_options
@tree_options
@config_options
@json_option
@quiet_option
def report_command(
    *, sources: tuple[str, ...], output: str, as_json: bool, quiet: bool, **options: object
) -> None:
    """Write one HTML file about SOURCE: what was found, what run would decide and why.

    It shows what rules take out, where the space goes (by folder, package and layer) and all
    findings. Any browser opens it; it loads nothing from elsewhere. Exit code 0 where SOURCE can
    be converted; else the page says why not, and the code is the one that run would end with.
    """
    from convert.preview import preview_artifact
    from convert.report.html.page import report_page
    from formats.core.errors import UsageError

    if as_json and output == _STANDARD_OUTPUT:
        raise UsageError("standard output cannot take both the page and --json", hint="name a file")
    wanted = wanted_options(options)
    with TerminalProgress(enabled=not quiet) as progress:
        preview = preview_artifact(sources, wanted, weighing=True, progress=progress)
    page = report_page(preview)
    if output == _STANDARD_OUTPUT:
        sys.stdout.buffer.write(page.encode())
        sys.stdout.buffer.flush()
    else:
        write_text(Path(output), page)
        if as_json:
            emit_json({"report": output, "bytes": len(page.encode())})
        elif not quiet:
            click.echo(output)
    if preview.inspection.problem is not None:
        click.get_current_context().exit(preview.inspection.problem.exit_code)
