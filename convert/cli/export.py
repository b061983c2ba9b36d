"""``convert export``: an artifact in, its tree out."""

from __future__ import annotations

import click

from convert.cli.arguments import content_options, opening_options, sources_argument, tree_options
from convert.cli.output import (
    binary_stdout,
    emit_document,
    json_option,
    quiet_option,
)
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options


@click.command("export")
@sources_argument
@click.argument("destination", metavar="DEST")
@click.option(
    "--raw", is_flag=True, help="The volume's tree as it is: no rules, nothing mounted over it."
)
@opening_options
@content_options
@tree_options
@json_option
@quiet_option
def export_command(
    *,
    sources: tuple[str, ...],
    destination: str,
    raw: bool,
    as_json: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Write the tree that an image would get.

    \b
    DEST is one of
      tar:FILE    a tar archive; .tar.gz and .tar.zst are compressed; - is standard output
      dir:PATH    files below a new folder
    """
    from convert.export import export_artifact

    wanted = wanted_options(options)
    output = binary_stdout(destination, as_json=as_json)
    with TerminalProgress(enabled=not quiet) as progress:
        done = export_artifact(
            sources, destination, wanted, raw=raw, progress=progress, stdout=output
        )
    if as_json:
        from convert.report.documents import ExportDocument

        emit_document(ExportDocument.of(sources, done))
    elif not quiet:
        from convert.cli.summary import summary_of_export

        click.echo("\n".join(summary_of_export(done)), err=output is not None)
