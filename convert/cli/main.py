"""Entry point: the group of commands, and how every error ends.

Each command lives in a module that is imported only when it is called, so that ``--help`` answers
at once.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from formats.core.errors import ConvertError, InterruptedByUserError, UsageError

_COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("convert.cli.run", "Convert an artifact into an image."),
    "inspect": ("convert.cli.look", "Show what an artifact is and what run would decide."),
    "plan": ("convert.cli.plan", "Show each path that run would drop or change, and the config."),
    "report": ("convert.cli.report", "Write a report for people, as one HTML file."),
    "export": ("convert.cli.export", "Write the tree as a tar archive or a folder."),
    "dockerfile": ("convert.cli.dockerfile", "Write a system as a Dockerfile to maintain."),
    "ls": ("convert.cli.look", "List files inside an artifact."),
    "cat": ("convert.cli.look", "Print a file inside an artifact."),
    "verify": ("convert.cli.verify", "Recompute every claim of an image."),
    "formats": ("convert.cli.about", "List the formats that can be read."),
    "schema": ("convert.cli.about", "Print the JSON schema of options files and of output."),
    "doctor": ("convert.cli.about", "Check this machine: what is missing and how to get it."),
    "completion": ("convert.cli.about", "Print the completion script for a shell."),
}
"""Command → module that defines it (as ``NAME_command``) and the line shown in ``--help``."""

DEBUG_VARIABLE = "OCI_CONVERT_DEBUG"
"""Set to anything, it adds the traceback to an internal error."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101 - holds by the table above
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from convert.version import VERSION

    click.echo(f"oci-convert {VERSION}")
    context.exit()


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Turn disks, appliances and packages into container images that run.

    \b
    convert run server.vmdk oci:out:latest      a disk becomes an image
    convert inspect server.vmdk                 what is in it, and what run would decide
    convert ls server.vmdk /etc                 look inside
    """


def main() -> NoReturn:
    """Run the command line and exit with the code of docs/errors.md."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    # What is made while a tree is read has no cycles, and there is much of it: looking for them
    # more often costs a tenth of the time.
    gc.set_threshold(50_000, 20, 50)
    exit_code = _run(sys.argv[1:])
    gc.freeze()  # at the end Python would look through everything that was ever imported
    sys.exit(exit_code)


class _Stopped(BaseException):
    """Ctrl-C, or a request to end; for KeyboardInterrupt, click would print a line of its own."""


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped


def _run(arguments: list[str]) -> int:
    try:
        result = cli.main(arguments, prog_name="convert", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        hint = "see 'convert --help'"
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f"see '{error.ctx.command_path} --help'"
        return _fail(UsageError(error.format_message().rstrip("."), hint=hint), arguments)
    except ConvertError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            return _reader_went_away()
        return _fail(error, arguments)
    except (_Stopped, KeyboardInterrupt, click.Abort):
        return _fail(InterruptedByUserError("stopped; nothing half-written is left"), arguments)
    except (BrokenPipeError, SystemExit):  # click makes the latter of the former, and only of it
        return _reader_went_away()
    except Exception as error:  # noqa: BLE001 - the last line of defence: never a traceback
        return _fail(_internal(error), arguments)
    return result if isinstance(result, int) else 0


def _reader_went_away() -> int:
    """End quietly: ``| head`` is no error worth a line.

    Python would complain once more while it flushes at exit, so stdout is pointed elsewhere.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _internal(error: Exception) -> ConvertError:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    return ConvertError(
        f"internal error: {type(error).__name__}: {' '.join(str(error).split())}",
        hint=f"please report it, with what {DEBUG_VARIABLE}=1 adds",
    )


def _fail(error: ConvertError, arguments: list[str]) -> int:
    """Print one line on stderr, or one object on stdout with ``--json``; return the exit code."""
    if "--json" in arguments:
        click.echo(json.dumps({"error": error.as_dict()}, ensure_ascii=False))
    else:
        click.echo(f"convert: {error}", err=True)
    return error.exit_code
