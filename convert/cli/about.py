"""``formats``, ``doctor`` and ``completion``: what this installation can do."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from convert.cli.output import emit_json, emit_table, json_option, quiet_option
from formats.core.errors import MissingDependencyError, UsageError

COMPLETION_VARIABLE = "_CONVERT_COMPLETE"


@click.command("formats")
@json_option
@quiet_option
def formats_command(as_json: bool, quiet: bool) -> None:
    """List the formats that can be read, and those that are refused by name."""
    from formats.core.registry import default_registry

    readers = sorted(default_registry(), key=lambda reader: (reader.category.value, reader.name))
    if as_json:
        emit_json(
            [
                {
                    "name": reader.name,
                    "category": reader.category.value,
                    "title": reader.doc.title,
                    "extensions": list(reader.doc.extensions),
                    "specification": reader.doc.specification,
                    "reads": reader.doc.reads,
                    "refuses": reader.doc.refuses,
                }
                for reader in readers
            ]
        )
        return
    if quiet:
        return
    read = [reader for reader in readers if reader.doc.reads]
    refused = [reader for reader in readers if not reader.doc.reads]
    click.echo("Read; a raw disk (.raw, .img, .dd) by what it begins with:")
    emit_table((f"  {reader.name}", reader.category.value, reader.doc.title) for reader in read)
    click.echo("\nRecognised, and refused by name:")
    emit_table((f"  {reader.name}", reader.category.value, reader.doc.title) for reader in refused)


@click.command("schema")
@click.argument("what", metavar="[options|COMMAND]", default="options")
def schema_command(what: str) -> None:
    """Print a JSON schema: of the file that --config takes, or of what COMMAND --json prints."""
    from convert.report.schemas import DOCUMENTS, OPTIONS, json_schema

    if what not in {OPTIONS, *DOCUMENTS}:
        raise UsageError(
            f"there is no schema of '{what}'", hint=f"there are: {OPTIONS}, {', '.join(DOCUMENTS)}"
        )
    emit_json(json_schema(what))


@click.command("doctor")
@json_option
@quiet_option
@click.option(
    "--spool",
    type=click.Path(path_type=Path),
    help="Folder for decompressed copies, to be checked instead of the system's.",
)
@click.option(
    "--boot",
    is_flag=True,
    help="Start libguestfs as well: seconds with KVM, a minute or more without.",
)
def doctor_command(as_json: bool, quiet: bool, spool: Path | None, boot: bool) -> None:
    """Check this machine. Exit code 6 if something that is always needed is missing."""
    from convert.doctor import examine

    checks = examine(os.environ, spool, boot=boot)
    missing = [check for check in checks if check.is_required and not check.is_ok]
    if as_json:
        emit_json([check.as_dict() for check in checks])
    elif not quiet:
        emit_table(
            (
                "ok" if check.is_ok else ("MISSING" if check.is_required else "absent"),
                check.name,
                check.found if check.is_ok else f"{check.used_for}; {check.remedy}",
            )
            for check in checks
        )
    if missing:
        names = ", ".join(check.name for check in missing)
        raise MissingDependencyError(f"missing: {names}", hint=missing[0].remedy)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: convert completion bash > ~/.local/share/bash-completion/completions/convert
    zsh:  convert completion zsh > "${fpath[1]}/_convert"
    fish: convert completion fish > ~/.config/fish/completions/convert.fish
    """
    from convert.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"no completion for '{shell}'")
    click.echo(kind(cli, {}, "convert", COMPLETION_VARIABLE).source())
