"""The image configuration (image-spec, config.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from convert.oci.descriptor import Platform
from convert.oci.digest import Digest
from convert.oci.documents import JsonValue, encode
from formats.core.errors import UsageError, quoted

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(?:tcp|udp|sctp))?", re.ASCII)
_ENV = re.compile(r"[^=\0]+=[^\0]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_PORT = 65535


def timestamp(seconds: int) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC: ``2024-02-03T04:05:06Z``.

    :raises UsageError: for a time that RFC 3339 cannot write (years 1 to 9999 only).
    """
    try:
        return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    except OverflowError as error:
        raise UsageError(f"the time {seconds} is outside of the years 1 to 9999") from error


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """How one layer came about.

    :ivar created: seconds since 1970.
    :ivar created_by: what made it, with the versions that its bytes depend on.
    :ivar is_empty: there is no layer for it.
    """

    created: int | None = None
    created_by: str | None = None
    comment: str | None = None
    is_empty: bool = False

    def as_json(self) -> dict[str, JsonValue]:
        """Return the history object."""
        fields: dict[str, JsonValue] = {}
        if self.created is not None:
            fields["created"] = timestamp(self.created)
        if self.created_by is not None:
            fields["created_by"] = self.created_by
        if self.comment is not None:
            fields["comment"] = self.comment
        if self.is_empty:
            fields["empty_layer"] = True
        return fields


@dataclass(frozen=True, slots=True)
class KeptHistory:
    """An entry of a base's history, written as it was read: times have fractions there.

    :ivar is_empty: there is no layer for it.
    """

    values: Mapping[str, JsonValue]
    is_empty: bool

    def as_json(self) -> Mapping[str, JsonValue]:
        """Return the history object."""
        return self.values


History: TypeAlias = HistoryEntry | KeptHistory


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Everything that a config says apart from its layers.

    :ivar entrypoint: None: not set. An empty tuple is written as such and clears a base's.
    :ivar env: ``NAME=value`` in order, each name once.
    :ivar exposed_ports: ``80/tcp``, ``53/udp``, ``8080``.
    :ivar volumes: absolute paths.
    :ivar labels: by name; written sorted.
    :ivar created: seconds since 1970, never from the clock.
    :raises UsageError: from the constructor, for a value that no runtime would take.
    """

    platform: Platform
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    created: int | None = None
    author: str | None = None

    def __post_init__(self) -> None:
        names = [item.partition("=")[0] for item in self.env]
        for item in self.env:
            if not _ENV.fullmatch(item):
                raise UsageError(f"{quoted(_name(item))} is not NAME=value")
        if len(set(names)) != len(names):
            raise UsageError("an environment variable is set twice")
        for port in self.exposed_ports:
            _check_port(port)
        for path in (*self.volumes, *([self.working_dir] if self.working_dir else [])):
            if not path.startswith("/"):
                raise UsageError(f"{quoted(path)} is not an absolute path in the container")
        for text in self._texts():
            _check_text(text)

    def _texts(self) -> list[str]:
        lists = (self.entrypoint or (), self.cmd or (), self.env, self.volumes)
        pairs = [text for pair in self.labels for text in pair]
        single = [self.user, self.working_dir, self.stop_signal, self.author or ""]
        return [text for texts in lists for text in texts] + pairs + single

    def _execution(self) -> dict[str, JsonValue]:
        """Return the ``config`` member: what a container is run with."""
        fields: dict[str, JsonValue] = {
            "User": self.user,
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Env": list(self.env),
            "Volumes": {path: {} for path in self.volumes},
            "WorkingDir": self.working_dir,
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
        }
        fields = {key: value for key, value in fields.items() if value}
        if self.entrypoint is not None:
            fields["Entrypoint"] = list(self.entrypoint)
        if self.cmd is not None:
            fields["Cmd"] = list(self.cmd)
        return fields

    def encode(self, diff_ids: Sequence[Digest], history: Sequence[History]) -> bytes:
        """Return the config's bytes.

        :param history: with one entry that is not empty for each layer, in the same order.
        """
        if sum(not entry.is_empty for entry in history) != len(diff_ids):
            raise ValueError("history and layers do not match")
        fields = self.as_json()
        fields["rootfs"] = {"type": "layers", "diff_ids": [str(item) for item in diff_ids]}
        fields["history"] = [entry.as_json() for entry in history]
        return encode(fields)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the config object without what is only known of written layers."""
        fields: dict[str, JsonValue] = dict(self.platform.as_json())
        fields["config"] = self._execution()
        if self.created is not None:
            fields["created"] = timestamp(self.created)
        if self.author is not None:
            fields["author"] = self.author
        return fields


def _check_port(port: str) -> None:
    match = _PORT.fullmatch(port)
    if match is None or any(int(number) > _LAST_PORT for number in match.groups() if number):
        raise UsageError(f"{quoted(port)} is not a port", hint="80, 80/tcp or 53/udp")


def _name(text: str) -> str:
    """Return what of a text may be shown: a value after ``=`` may be secret."""
    name, separator, _ = text.partition("=")
    return f"{name}=…" if separator else name


def _check_text(text: str) -> None:
    if "\0" in text:
        raise UsageError(f"{quoted(_name(text))} holds a NUL, which no process can be given")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{quoted(_name(text))} is not Unicode, which JSON cannot hold",
            hint="set the value explicitly",
        ) from error
