"""What a caller may ask for, validated once, at the edge."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeGuard

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from convert.layers.compress import Codec
from formats.core.errors import UsageError
from formats.core.limits import DEFAULT_LIMITS, Limits


class Profile(StrEnum):
    """How much of the machine the normalisation takes away."""

    CONTAINER = "container"
    STRICT = "strict"
    NONE = "none"


class Engine(StrEnum):
    """What reads volumes."""

    AUTO = "auto"
    """Own readers, and libguestfs where they cannot."""
    NATIVE = "native"
    LIBGUESTFS = "libguestfs"


class Volumes(StrEnum):
    """What becomes of the data folders of services."""

    DECLARE = "declare"
    """They stay in the image and are named as volumes: runtimes copy them into a fresh one."""
    EXTRACT = "extract"
    """They are named as volumes, and their content is written beside the image."""
    NONE = "none"


class Secrets(StrEnum):
    """What becomes of secrets in the tree."""

    SCRUB = "scrub"
    """The identity of the machine is taken out, everything else is reported."""
    REPORT = "report"
    """Nothing is taken out for being a secret."""
    FAIL = "fail"
    """Stop before anything is written if there is one that no rule takes out."""
    KEEP = "keep"


def _words(value: object) -> object:
    """Take a command as a list, or as one string that is split as a shell would."""
    return tuple(shlex.split(value)) if isinstance(value, str) else value


_SIGNALS = frozenset(item.name for item in signal.Signals)

Words = Annotated[tuple[str, ...], BeforeValidator(_words, json_schema_input_type=str | list[str])]


def _pairs(value: object) -> object:
    """Take pairs as a mapping as well, as a file has them."""
    return tuple(f"{name}={text}" for name, text in value.items()) if _is_mapping(value) else value


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


Pairs = Annotated[
    tuple[str, ...],
    BeforeValidator(_pairs, json_schema_input_type=list[str] | dict[str, str | int | bool]),
]


def _platform(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = value.split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise ValueError(f"'{value}' is not of the form linux/amd64 or linux/arm/v7")
    return (*parts, None)[:3]


Platform = Annotated[
    tuple[str, str, str | None], BeforeValidator(_platform, json_schema_input_type=str)
]


class OpenOptions(BaseModel):
    """How an artifact is opened and which root is taken."""

    # The validator is built at the first use: each command needs that of one model only.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    root: str | None = Field(
        default=None,
        description="volume to take as root: label, UUID or device",
    )
    vm: str | None = Field(
        default=None, description="machine to take, where a bundle holds several"
    )
    allow_backing: tuple[Path, ...] = Field(
        default=(), description="folders from which backing images and extents may come"
    )
    passphrase_files: tuple[Path, ...] = Field(
        default=(), description="files with a passphrase for encrypted volumes"
    )
    key_files: tuple[Path, ...] = Field(
        default=(), description="files that are keys for encrypted volumes, byte for byte"
    )
    engine: Engine = Field(
        default=Engine.AUTO, description="what reads volumes: own readers, libguestfs, or both"
    )
    region: str | None = Field(default=None, description="AWS region of ami: and snap: sources")
    aws_profile: str | None = Field(default=None, description="profile of ~/.aws to use for them")
    endpoint_url: str | None = Field(
        default=None, description="where EC2 and EBS answer, if not at the usual place"
    )
    plain_http: tuple[str, ...] = Field(
        default=(), description="HOST[:PORT] of registries that may be spoken to without TLS"
    )
    spool: Path | None = Field(default=None, description="place for decompressed copies")
    limits: Limits = Field(default=DEFAULT_LIMITS, description="limits on untrusted input")
    source_date_epoch: int | None = Field(
        default=None,
        description="newest time in the output, seconds since 1970 UTC",
    )


class ConvertOptions(OpenOptions):
    """How an artifact becomes an image.

    :raises pydantic.ValidationError: a ``ValueError`` that lists every wrong field.
    """

    base: str | None = Field(default=None, description="image that the result is put on")
    pools: tuple[str, ...] = Field(
        default=(), description="folders, repositories and media that packages are taken from"
    )
    packages: tuple[str, ...] = Field(
        default=(), description="packages to take from the pools, by name"
    )
    strip_top: bool = Field(
        default=False, description="leave out the one folder that an archive is in"
    )
    prefix: str | None = Field(
        default=None, description="folder of the image that an archive goes to"
    )
    compression: Codec | None = Field(
        default=None,
        description="how layers are compressed; default: as readers of the destination expect",
    )
    level: int | None = Field(default=None, description="compression level; default: the codec's")
    jobs: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=64, description="threads to use"
    )
    profile: Profile = Field(
        default=Profile.CONTAINER, description="how much of the machine is taken out"
    )
    keep: tuple[str, ...] = Field(
        default=(), description="rules that are not applied, and kinds of secrets that are accepted"
    )
    drop: tuple[str, ...] = Field(default=(), description="path patterns that are dropped as well")
    secrets: Secrets = Field(default=Secrets.SCRUB, description="what becomes of secrets")
    service: str | None = Field(
        default=None, description="service to start, where a machine has several"
    )
    volumes: Volumes = Field(
        default=Volumes.DECLARE, description="what becomes of data folders of services"
    )
    volume_paths: tuple[str, ...] = Field(
        default=(), description="folders to name as volumes as well"
    )
    attach_report: bool = Field(
        default=False,
        description="store the report beside the image, as an artifact that refers to it",
    )
    stop_signal: str | None = Field(default=None, description="signal that ends it: SIGTERM")
    strict: bool = Field(
        default=False, description="fail, before anything is written, if content is lost"
    )
    entrypoint: Words | None = Field(default=None, description="program to start")
    cmd: Words | None = Field(default=None, description="arguments that a user may replace")
    env: Pairs = Field(default=(), description="NAME=value")
    ports: tuple[str, ...] = Field(default=(), description="NUMBER[/tcp|/udp|/sctp]")
    user: str | None = Field(default=None, description="USER[:GROUP] to run as")
    workdir: str | None = Field(default=None, description="working directory")
    labels: Pairs = Field(default=(), description="NAME=value")
    platform: Platform | None = Field(
        default=None,
        description="OS/ARCHITECTURE[/VARIANT]; default: the guest's",
    )

    @field_validator("env", "labels")
    @classmethod
    def _are_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            name, separator, _ = item.partition("=")
            if not name or not separator or "\0" in item:
                raise ValueError(f"'{item}' is not of the form NAME=value")
        return value

    @field_validator("ports")
    @classmethod
    def _are_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_port(item) for item in value)

    @field_validator("prefix")
    @classmethod
    def _is_inside(cls, value: str | None) -> str | None:
        parts = (value or "").split("/")
        if value is not None and (not value.startswith("/") or ".." in parts or "\0" in value):
            raise ValueError(f"'{value}' is not an absolute path without '..'")
        return value

    @field_validator("stop_signal")
    @classmethod
    def _is_a_signal(cls, value: str | None) -> str | None:
        return None if value is None else _signal(value)

    @field_validator("volume_paths")
    @classmethod
    def _are_folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not item.startswith("/") or ".." in item.split("/") or "\0" in item:
                raise ValueError(f"'{item}' is not an absolute path without '..'")
        return value

    @field_validator("workdir")
    @classmethod
    def _is_absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError(f"'{value}' does not start with /")
        return value


def _port(item: str) -> str:
    number, _, protocol = item.partition("/")
    protocol = protocol or "tcp"
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 65535):
        raise ValueError(f"'{item}' is not a port from 1 to 65535")
    if protocol not in {"tcp", "udp", "sctp"}:
        raise ValueError(f"'{item}' names no protocol of tcp, udp, sctp")
    return f"{int(number)}/{protocol}"


def _signal(name: str) -> str:
    """Return a signal as an image config has it; runtimes take names and numbers of Linux."""
    number = name.removeprefix("SIGRTMIN+").removeprefix("SIGRTMAX-")
    if number != name and number.isascii() and number.isdigit() and int(number) <= 30:
        return name
    upper = name.upper()
    full = upper if upper.startswith("SIG") else f"SIG{upper}"
    if full not in _SIGNALS:
        raise ValueError(f"'{name}' is no signal")
    return full


def validated(fields: Mapping[str, object]) -> ConvertOptions:
    """Build options from the values of a command line; None is one that was not given.

    :raises UsageError: naming the first field that is wrong.
    """
    try:
        given = {name: value for name, value in fields.items() if value is not None}
        return ConvertOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "options"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{place}: {message}") from error
