"""The table of obstacles: what each kind means for a person, and where to look for it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypedDict, cast

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Obstacle
from formats.core.origin import printable

_WHAT_MAX = 200


class _EnabledBy(TypedDict):
    file: str
    pattern: str


class FirewallRow(TypedDict, total=False):
    """Files with rules; ``enabled_by`` is a file that has to say that they are used."""

    files: Sequence[str]
    rule: str
    translation: str
    enabled_by: _EnabledBy


class NetworkRow(TypedDict):
    """Files that set the machine's addresses."""

    files: Sequence[str]
    pattern: str


class WatchedRow(TypedDict):
    """Files whose lines of a pattern are an obstacle of a kind."""

    files: Sequence[str]
    kind: str
    pattern: str


class NestedRow(TypedDict):
    """Services, by patterns for their names, that need a machine of their own."""

    services: Sequence[str]
    what: str


class _AgeRow(TypedDict, total=False):
    packages: str
    below: Sequence[int]
    or_below: Sequence[int]
    what: str


class _SysctlTable(TypedDict):
    namespaced: Sequence[str]


@dataclass(frozen=True, slots=True)
class Age:
    """Packages, by a pattern for their names, that are too old for cgroup v2.

    :ivar below: versions from which on they are not; none: all are.
    """

    packages: re.Pattern[str]
    below: tuple[tuple[int, ...], ...]
    what: str


class _Table(TypedDict):
    advice: Mapping[str, str]
    sysctl: _SysctlTable
    nested: Sequence[NestedRow]
    firewall: Sequence[FirewallRow]
    network: Sequence[NetworkRow]
    watched: Sequence[WatchedRow]


@cache
def _text() -> str:
    return files("convert.inspect.obstacles").joinpath("obstacles.toml").read_text("utf-8")


@cache
def table() -> _Table:
    """Return the table, read once."""
    return cast("_Table", tomllib.loads(_text()))  # its tests hold the form


@cache
def ages() -> tuple[Age, ...]:
    """Return what is known of versions and cgroup v2."""
    rows: list[_AgeRow] = tomllib.loads(_text())["cgroup-v1"]
    return tuple(
        Age(
            re.compile(row["packages"]),
            tuple(tuple(row[key]) for key in ("below", "or_below") if key in row),
            row["what"],
        )
        for row in rows
    )


@cache
def namespaced() -> re.Pattern[str]:
    """Return the pattern of the kernel's parameters that a container has for itself."""
    return re.compile("|".join(table()["sysctl"]["namespaced"]))


def obstacle(kind: str, what: str, evidence: Evidence) -> Obstacle:
    """Return an obstacle with the advice of its kind; ``what`` is made printable and short."""
    shown = printable(" ".join(what.split()))
    if len(shown) > _WHAT_MAX:
        shown = shown[: _WHAT_MAX - 1] + "…"
    return Obstacle(kind, shown, table()["advice"][kind], evidence)
