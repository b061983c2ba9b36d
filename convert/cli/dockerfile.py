"""``convert dockerfile``: a system in, a Dockerfile out that people can keep."""

from __future__ import annotations

from pathlib import Path

import click

from convert.cli.arguments import config_options, opening_options, sources_argument, tree_options
from convert.cli.output import emit_document, json_option, quiet_option
from convert.cli.progress import TerminalProgress
from convert.cli.wanted import wanted_options


@click.command("dockerfile")
@sources_argument
@click.argument("folder", metavar="DIR")
@opening_options
@tree_options
@config_options
@json_option
@quiet_option
def dockerfile_command(
    *, sources: tuple[str, ...], folder: str, as_json: bool, quiet: bool, **options: object
) -> None:
    """Write SOURCE as a Dockerfile into the new folder DIR.

    It starts from the distribution's official image, installs the packages that somebody asked
    for, and copies what was changed and what belongs to no package. NOTES.md in DIR says what of
    the machine is not in it.

    \b
    convert dockerfile server.vmdk server
    podman build -t server server
    """
    from convert.dockerfile.write import dockerfile_artifact

    wanted = wanted_options(options)
    with TerminalProgress(enabled=not quiet) as progress:
        done = dockerfile_artifact(sources, Path(folder), wanted, progress=progress)
    if as_json:
        from convert.report.drafted import DockerfileDocument

        emit_document(DockerfileDocument.of(sources, done))
    elif not quiet:
        click.echo(
            f"{folder}: FROM {done.base}, {len(done.packages):,} packages,"
            f" {len(done.copied):,} files copied, {len(done.removed):,} removed\n"
            f"read {Path(folder) / 'NOTES.md'}: {len(done.findings):,} notes"
        )
