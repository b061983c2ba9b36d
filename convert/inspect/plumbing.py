"""Which services belong to the operating system and are no workload; the list is data."""

from __future__ import annotations

import re
import tomllib
from fnmatch import translate
from functools import cache
from importlib.resources import files


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    text = files("convert.inspect").joinpath("plumbing.toml").read_text(encoding="utf-8")
    return tuple(
        (re.compile("|".join(translate(name) for name in group["services"])), group["reason"])
        for group in tomllib.loads(text)["plumbing"]
    )


def plumbing_reason(service: str) -> str | None:
    """Return why a service of this name is not a workload; None if it may be one."""
    for pattern, reason in _patterns():
        if pattern.match(service):
            return reason
    return None
