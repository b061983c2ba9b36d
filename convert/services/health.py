"""Health checks: what can be asked of a service with what is in its own image."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Final, TypedDict

from formats.core.entry import Kind
from formats.core.tree import TreeIndex

_FOLDERS: Final = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


class _Row(TypedDict):
    services: list[str]
    tests: list[list[str]]


def health_check(service: str, ports: Sequence[int], index: TreeIndex) -> tuple[str, ...] | None:
    """Return a command that succeeds when a service answers; None where nothing can ask.

    :param ports: of the service, the most important first.
    """
    name = service.partition("@")[0]
    for row in _rows():
        if not any(fnmatchcase(name, pattern) for pattern in row["services"]):
            continue
        for test in row["tests"]:
            needs_port = any("{port}" in word for word in test)
            if _has_program(index, test[0]) and (ports or not needs_port):
                return tuple(word.format(port=ports[0] if ports else 0) for word in test)
    return None


def _has_program(index: TreeIndex, name: str) -> bool:
    for folder in _FOLDERS:
        entry = index.resolve(f"{folder}/{name}".encode())
        if entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.mode & 0o111:
            return True
    return False


@cache
def _rows() -> tuple[_Row, ...]:
    text = files("convert.services").joinpath("healthchecks.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["check"])
