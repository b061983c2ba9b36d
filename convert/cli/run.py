"""``convert run``: an artifact in, an image out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from convert.cli.arguments import (
    config_options,
    content_options,
    opening_options,
    sources_argument,
    tree_options,
)
from convert.cli.output import (
    binary_stdout,
    emit_document,
    json_option,
    quiet_option,
    write_report,
    write_text,
)
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options
from formats.core.errors import UsageError

if TYPE_CHECKING:
    from convert.options import ConvertOptions
    from convert.plan import Plan
    from convert.preview import Preview
    from formats.core.opener import Artifact


@click.command("run")
@sources_argument
@click.argument("destination", metavar="DEST")
@opening_options
@content_options
@tree_options
@config_options
@click.option(
    "--compression",
    type=click.Choice(["zstd", "gzip", "none"]),
    help="How layers are compressed.  [default: zstd for oci:, gzip for oci-archive:]",
)
@click.option("--level", type=int, help="Compression level.  [default: zstd 3, gzip 6]")
@click.option("--jobs", type=click.IntRange(1, 64), help="Threads.  [default: all cores]")
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all decisions and findings as JSON.",
)
@click.option(
    "--report-html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page that 'convert report' makes, with the image's layers.",
)
@click.option(
    "--attach-report",
    is_flag=True,
    help="Store the JSON beside the image, as an artifact that refers to it.",
)
@click.option(
    "--split",
    is_flag=True,
    help="One image for each service, over the same layers, and a compose file.",
)
@click.option(
    "--compose",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where --split writes the compose file.  [default: compose.yaml beside the layout]",
)
@json_option
@quiet_option
def run_command(
    *,
    sources: tuple[str, ...],
    destination: str,
    report: Path | None,
    report_html: Path | None,
    split: bool,
    compose: Path | None,
    as_json: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Convert SOURCE (or all disks of one machine) into an image at DEST.

    \b
    DEST is one of
      oci:DIR[:TAG]                    image layout in a folder
      oci-archive:FILE[:TAG]           the same in one file; docker load takes it as well
      docker-archive:FILE[:NAME:TAG]   what docker save writes
    A FILE of - is standard output.
    """
    from convert.pipeline import convert_artifact

    wanted = wanted_options(options)
    if split:
        if report_html is not None or wanted.attach_report or wanted.service is not None:
            raise UsageError(
                "--split goes with none of --report-html, --attach-report and --service",
                hint="convert a service by itself for these: --service NAME",
            )
        _run_split(sources, destination, wanted, compose, report, as_json=as_json, quiet=quiet)
        return
    if compose is not None:
        raise UsageError("--compose is for --split", hint="leave it out, or add --split")
    output = binary_stdout(destination, as_json=as_json)
    previews: list[Preview] = []

    def look(artifact: Artifact, plan: Plan) -> None:
        from convert.preview import preview_of

        previews.append(preview_of(artifact, plan, wanted))

    with TerminalProgress(enabled=not quiet) as progress:
        done = convert_artifact(
            sources,
            destination,
            wanted,
            progress=progress,
            stdout=output,
            on_plan=look if report_html is not None else None,
        )
    if report is not None or report_html is not None or as_json:
        from convert.report.documents import RunDocument

        document = RunDocument.of(sources, done)
        if report is not None:
            write_report(report, document)
        if report_html is not None:
            from convert.report.html.page import report_page

            write_text(report_html, report_page(previews[0], document.image))
        if as_json:
            emit_document(document)
            return
    if not quiet:
        from convert.cli.summary import summary_of_run

        click.echo("\n".join(summary_of_run(done)), err=output is not None)


def _run_split(
    sources: tuple[str, ...],
    destination: str,
    wanted: ConvertOptions,
    compose: Path | None,
    report: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from convert.services.split import split_services

    with TerminalProgress(enabled=not quiet) as progress:
        done = split_services(sources, destination, wanted, compose=compose, progress=progress)
    if report is not None or as_json:
        from convert.report.divided import SplitDocument

        document = SplitDocument.of(sources, done)
        if report is not None:
            write_report(report, document)
        if as_json:
            emit_document(document)
            return
    if not quiet:
        from convert.cli.summary import summary_of_split

        click.echo("\n".join(summary_of_split(done)))
