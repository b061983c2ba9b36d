"""Which packages the Dockerfile names, of those that somebody asked for.

``packages.toml`` beside this file says which are of the machine, or in every official image.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from convert.dockerfile.wanted import Wanted, not_needed_by
from formats.core.package import Package, PackageSystem

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*(?:[@<>=~]+[A-Za-z0-9+._~-]+){0,2}")
_REQUIRED, _IMPORTANT = "required", "important"
"""Priorities of Debian Policy, 2.5: what official images have, and what debootstrap(8) adds."""
_NO_ARCHITECTURE = frozenset({"all", "noarch", "any", ""})


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    why: str
    names: tuple[str, ...]
    is_init: bool = Field(default=False, alias="is-init")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    in_image: tuple[str, ...] = Field(alias="in-image")
    group: tuple[_Group, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The packages that are installed, and those that are not.

    :ivar names: as the package manager takes them, sorted.
    :ivar left_out: what was asked for and is not installed: name, and why.
    :ivar weak: what the machine has beyond that, and nothing that is installed depends on.
    """

    names: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    weak: tuple[str, ...]

    @property
    def absent(self) -> frozenset[str]:
        """Packages of the machine that the image will not have."""
        return frozenset({name for name, _ in self.left_out if name}) & frozenset(self.weak)


def choose_packages(
    wanted: Wanted,
    packages: Sequence[Package],
    system: PackageSystem,
    needed: Iterable[str],
    *,
    init: bool,
) -> Chosen:
    """Choose the packages to install.

    :param needed: packages that what is started belongs to: always installed.
    :param init: an init system stays, and with it what belongs to one.
    """
    own = {package.name: package for package in packages if package.system is system}
    always = {name for name in needed if name in own}
    in_image = [name for name, package in own.items() if _is_in_image(package)]
    brought = set(own) - set(not_needed_by(list(own.values()), in_image))
    native = _native(own.values())
    names: list[str] = []
    left_out: list[tuple[str, str]] = []
    for name in wanted.names:
        is_kept = name in always or (init and _is_of_init(name))
        if name in brought and (name in in_image or not is_kept):
            continue  # the official image has it, or needs it
        package = own.get(name)
        why = None if package is None else _why_not(package, native, init=init)
        asked = name + (wanted.constraints or {}).get(name, "")
        if package is None or _NAME.fullmatch(asked) is None:
            left_out.append((name, "no Dockerfile can name it"))
        elif why is not None and name not in always:
            left_out.append((name, why))
        else:
            names.append(asked)
    dropped = {name for name, _ in left_out}
    installed = {name for name in wanted.names if name not in dropped} | set(in_image)
    missing = always & set(not_needed_by(list(own.values()), installed))
    weak = not_needed_by(list(own.values()), installed | missing)
    if not any(package.requirements for package in own.values()):
        weak = tuple(name for name in weak if name in dropped)  # nothing is known of the others
    return Chosen(tuple(sorted({*names, *missing})), tuple(left_out), weak)


def _native(packages: Iterable[Package]) -> str:
    """Return the architecture that most packages are for."""
    counts: dict[str, int] = {}
    for package in packages:
        if package.architecture not in _NO_ARCHITECTURE:
            counts[package.architecture] = counts.get(package.architecture, 0) + 1
    return max(sorted(counts), key=lambda name: counts[name], default="")


def _why_not(package: Package, native: str, *, init: bool) -> str | None:
    if package.architecture not in {native, *_NO_ARCHITECTURE} and package.system is (
        PackageSystem.DEB
    ):
        return f"it is for another architecture, {package.architecture}"
    for group in _table().group:
        is_kept = group.is_init and init
        if not is_kept and any(fnmatchcase(package.name, pattern) for pattern in group.names):
            return group.why
    if package.facts.get("priority") == _IMPORTANT:
        return "every machine of the distribution gets it"
    return None


def _is_of_init(name: str) -> bool:
    groups = (group for group in _table().group if group.is_init)
    return any(fnmatchcase(name, pattern) for group in groups for pattern in group.names)


def _is_in_image(package: Package) -> bool:
    """Tell whether the official image has a package."""
    if package.is_essential or package.facts.get("priority") == _REQUIRED:
        return True
    return any(fnmatchcase(package.name, pattern) for pattern in _table().in_image)


@cache
def _table() -> _Table:
    text = (files("convert.dockerfile") / "packages.toml").read_text(encoding="utf-8")
    return _Table.model_validate(tomllib.loads(text))
