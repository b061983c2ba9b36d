"""``convert plan``: every path that run would drop or change, and the exact config."""

from __future__ import annotations

from collections.abc import Iterator

import click

from convert.cli.arguments import (
    config_options,
    content_options,
    opening_options,
    sources_argument,
    tree_options,
)
from convert.cli.output import emit_document, json_option, quiet_option
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options


@click.command("plan")
@sources_argument
@opening_options
@content_options
@tree_options
@config_options
@click.option(
    "--all", "with_all", is_flag=True, help="Name each path, not only the topmost of each folder."
)
@json_option
@quiet_option
def plan_command(
    *,
    sources: tuple[str, ...],
    with_all: bool,
    as_json: bool,
    quiet: bool,
    **options: object,
) -> None:
    """Show what run would do to SOURCE: each path with its rule, and the image's config.

    Nothing is written. Paths are grouped by rule and counted; with --json each one is listed.
    """
    from convert.preview import preview_artifact

    wanted = wanted_options(options)
    with TerminalProgress(enabled=not quiet) as progress:
        preview = preview_artifact(sources, wanted, progress=progress)
    decisions = preview.inspection.decisions
    if decisions is None:
        assert preview.inspection.problem is not None  # noqa: S101 - there is one or the other
        raise preview.inspection.problem
    if as_json:
        from convert.report.planned import PlanDocument

        emit_document(PlanDocument.of(sources, decisions, preview.treated))
    elif not quiet:
        from convert.cli.plan_summary import summary_of_plan

        lines: Iterator[str] = summary_of_plan(decisions, preview.treated, with_all=with_all)
        click.echo("".join(f"{line}\n" for line in lines), nl=False)
