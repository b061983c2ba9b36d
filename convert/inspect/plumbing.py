"""Which services belong to the operating system and are no workload; the list is data."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Plumbing:
    """One group of the list.

    :ivar reason: why its services are no workload.
    :ivar is_last_resort: whether they are started where nothing else is left.
    """

    pattern: re.Pattern[str]
    reason: str
    is_last_resort: bool


@cache
def _groups() -> tuple[Plumbing, ...]:
    text = files("convert.inspect").joinpath("plumbing.toml").read_text(encoding="utf-8")
    return tuple(
        Plumbing(
            re.compile("|".join(translate(name) for name in group["services"])),
            group["reason"],
            group.get("last_resort", False),
        )
        for group in tomllib.loads(text)["plumbing"]
    )


def plumbing_of(service: str) -> Plumbing | None:
    """Return the group that a service of this name is in; None if it may be a workload."""
    return next((group for group in _groups() if group.pattern.match(service)), None)


def plumbing_reason(service: str) -> str | None:
    """Return why a service of this name is not a workload; None if it may be one."""
    group = plumbing_of(service)
    return group.reason if group is not None else None
