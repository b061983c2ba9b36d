"""``convert verify``: recompute every claim of an image."""

from __future__ import annotations

import click

from convert.cli.arguments import (
    config_options,
    content_options,
    opening_options,
    tree_options,
)
from convert.cli.output import emit_document, json_option, quiet_option
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options
from formats.core.errors import VerificationError


@click.command("verify")
@click.argument("image")
@click.argument("sources", metavar="[SOURCE...]", nargs=-1)
@opening_options
@content_options
@tree_options
@config_options
@click.option("--split", is_flag=True, help="IMAGE is one of those that run --split wrote.")
@json_option
@quiet_option
def verify_command(
    *,
    image: str,
    sources: tuple[str, ...],
    split: bool,
    as_json: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Recompute every digest and size that IMAGE claims, and check its layers' paths.

    With SOURCE, its tree is compared with the image file by file; give the same options as
    to run. Exit code 8 if anything differs.
    """
    from convert.cli.summary import summary_of_verification
    from convert.pipeline import verify_artifact
    from convert.report.documents import VerifyDocument

    wanted = wanted_options(options)
    with TerminalProgress(enabled=not quiet) as progress:
        found = verify_artifact(image, sources, wanted, split=split, progress=progress)
    if as_json:
        emit_document(VerifyDocument.of(image, found))
    elif not quiet:
        click.echo("\n".join(summary_of_verification(image, found)))
    if found.problems and not as_json:
        others = f", and {found.problem_count - 1:,} more" if found.problem_count > 1 else ""
        raise VerificationError(f"{image}: {found.problems[0]}{others}")
    if found.problems:
        click.get_current_context().exit(VerificationError.exit_code)
