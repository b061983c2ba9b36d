"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from convert.cli.wanted import CONFIG_FILE

_Command = TypeVar("_Command", bound=Callable[..., object])

EPOCH_VARIABLE: Final = "SOURCE_DATE_EPOCH"


def _all(command: _Command, options: list[Callable[[_Command], _Command]]) -> _Command:
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def opening_options(command: _Command) -> _Command:
    """Add what says how an artifact is opened, and which of its volumes is meant."""
    return _all(
        command,
        [
            click.option(
                "--root",
                metavar="VOLUME",
                help="Volume to take as root: gpt:2, a label, a UUID or a device as in fstab.",
            ),
            click.option(
                "--vm", metavar="NAME", help="Machine to take, where a bundle holds several."
            ),
            click.option(
                "--allow-backing",
                metavar="DIR",
                multiple=True,
                type=click.Path(file_okay=False, path_type=Path),
                help="Further folder that backing images and extents may come from. Repeatable.",
            ),
            click.option(
                "--passphrase-file",
                "passphrase_files",
                metavar="FILE",
                multiple=True,
                type=click.Path(dir_okay=False, path_type=Path),
                help="File with the passphrase of an encrypted volume. Repeatable.",
            ),
            click.option(
                "--key-file",
                "key_files",
                metavar="FILE",
                multiple=True,
                type=click.Path(dir_okay=False, path_type=Path),
                help="File that is the key of an encrypted volume, byte for byte. Repeatable.",
            ),
            click.option(
                "--engine",
                type=click.Choice(["auto", "native", "libguestfs"]),
                default="auto",
                show_default=True,
                help="What reads volumes: auto takes libguestfs where own readers cannot.",
            ),
            click.option("--region", metavar="NAME", help="AWS region of ami: and snap: sources."),
            click.option(
                "--aws-profile",
                metavar="NAME",
                help="Profile of ~/.aws for ami: and snap: sources.",
            ),
            click.option(
                "--endpoint-url",
                metavar="URL",
                help="Where EC2 and EBS answer, if not at the usual place.",
            ),
            click.option(
                "--plain-http",
                metavar="HOST[:PORT]",
                multiple=True,
                help="Registry that may be spoken to without TLS. Repeatable.",
            ),
            click.option(
                "--spool",
                metavar="DIR",
                type=click.Path(file_okay=False, path_type=Path),
                help="Where decompressed copies are put for a while.",
            ),
            click.option(
                "--config",
                CONFIG_FILE,
                metavar="FILE",
                type=click.Path(dir_okay=False),
                help="Options from a file (.toml, .yaml, .json); what is given here goes first."
                " 'convert schema' describes it.",
            ),
        ],
    )


def tree_options(command: _Command) -> _Command:
    """Add what says what is taken out of the tree."""
    return _all(
        command,
        [
            click.option(
                "--profile",
                type=click.Choice(["container", "strict", "none"]),
                default="container",
                show_default=True,
                help="How much of the machine is taken out.",
            ),
            click.option(
                "--keep",
                metavar="RULE",
                multiple=True,
                help="Rule not to apply, or kind of secret to accept. Repeatable.",
            ),
            click.option(
                "--drop", metavar="GLOB", multiple=True, help="Paths to drop as well. Repeatable."
            ),
            click.option(
                "--secrets",
                type=click.Choice(["scrub", "report", "fail", "keep"]),
                default="scrub",
                show_default=True,
                help="What becomes of secrets; scrub takes out what identifies the machine.",
            ),
            click.option(
                "--strict",
                is_flag=True,
                help="Fail, before anything is written, if content is lost that no rule names.",
            ),
            click.option(
                "--source-date-epoch",
                metavar="SECONDS",
                type=int,
                envvar=EPOCH_VARIABLE,
                show_envvar=True,
                help="Newest time in the output, seconds since 1970 UTC.",
            ),
        ],
    )


def config_options(command: _Command) -> _Command:
    """Add what overrides the generated config."""
    return _all(
        command,
        [
            click.option(
                "--service", metavar="NAME", help="Service to start, where there are several."
            ),
            click.option("--entrypoint", metavar="COMMAND", help="Program to start."),
            click.option("--cmd", metavar="ARGUMENTS", help="Arguments that a user may replace."),
            click.option(
                "--env", metavar="NAME=VALUE", multiple=True, help="Variable to set. Repeatable."
            ),
            click.option(
                "--port",
                "ports",
                metavar="PORT[/udp]",
                multiple=True,
                help="Port to expose, instead of those found. Repeatable.",
            ),
            click.option("--user", metavar="USER[:GROUP]", help="User to run as."),
            click.option("--workdir", metavar="PATH", help="Working directory."),
            click.option(
                "--volume",
                "volume_paths",
                metavar="PATH",
                multiple=True,
                help="Folder to name as a volume as well. Repeatable.",
            ),
            click.option(
                "--volumes",
                type=click.Choice(["declare", "extract", "none"]),
                default="declare",
                show_default=True,
                help="What becomes of data folders of services.",
            ),
            click.option(
                "--stop-signal", metavar="SIGNAL", help="Signal that ends it: SIGTERM, QUIT."
            ),
            click.option(
                "--label",
                "labels",
                metavar="NAME=VALUE",
                multiple=True,
                help="Label to set. Repeatable.",
            ),
            click.option(
                "--platform",
                metavar="OS/ARCH",
                help="Platform to write, instead of that of the guest's programs.",
            ),
        ],
    )


def content_options(command: _Command) -> _Command:
    """Add what says what packages and archives become part of, and where they go."""
    return _all(
        command,
        [
            click.option(
                "--base",
                metavar="IMAGE",
                help="Image that the result is put on: oci:DIR[:TAG], an archive, docker://NAME.",
            ),
            click.option(
                "--pool",
                "pools",
                metavar="DIR",
                multiple=True,
                help="Folder, repository or medium that missing packages are taken from."
                " Repeatable.",
            ),
            click.option(
                "--with",
                "packages",
                metavar="PACKAGE",
                multiple=True,
                help="Package to take from a pool as well, by its name. Repeatable.",
            ),
            click.option(
                "--strip-top", is_flag=True, help="Leave out the one folder that an archive is in."
            ),
            click.option(
                "--prefix", metavar="PATH", help="Folder of the image that an archive goes to."
            ),
        ],
    )


sources_argument = click.argument(
    "sources",
    metavar="SOURCE...",
    nargs=-1,
)
"""Files, and what is no file: ``ami:…``, ``docker://…``, which a path would not keep."""
source_argument = click.argument("source")
