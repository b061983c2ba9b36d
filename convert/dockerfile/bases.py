"""Which official image a system goes on, from ``bases.toml`` beside this file."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from convert.inspect.evidence import OperatingSystem
from formats.core.errors import UnsupportedError
from formats.core.origin import Origin
from formats.core.package import PackageSystem


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Manager(_Row):
    """A package manager.

    :ivar install: commands of a shell, one after the other; ``{packages}`` are names.
    """

    system: PackageSystem
    install: tuple[str, ...]


class _Base(_Row):
    id: str
    image: str
    manager: str
    majors: tuple[str, ...] = ()
    rolling: str | None = None
    note: str | None = None


class _Table(_Row):
    base: tuple[_Base, ...]
    manager: dict[str, Manager]


class Base(_Row):
    """What a Dockerfile is ``FROM``.

    :ivar image: as ``FROM`` takes it.
    :ivar note: what a person has to know of it.
    """

    image: str
    manager_name: str
    manager: Manager
    note: str | None = None


def base_of(system: OperatingSystem | None, origin: Origin) -> Base:
    """Return the official image of a system.

    :raises UnsupportedError: if none is known.
    """
    if system is None:
        raise UnsupportedError(
            "nothing in it says which distribution it is, so there is no image to build on",
            origin=origin,
            hint="'convert run' makes an image of it as it is",
        )
    table = _table()
    version = system.version_id or ""
    for row in table.base:
        image = _image(row, system.id, version)
        if image is not None:
            return Base(
                image=image,
                manager_name=row.manager,
                manager=table.manager[row.manager],
                note=row.note,
            )
    raise UnsupportedError(
        f"no official image is known of {system.pretty_name}",
        origin=origin,
        hint="'convert run' makes an image of it as it is",
    )


def _image(row: _Base, identity: str, version: str) -> str | None:
    if row.id != identity:
        return None
    numbers = version.split(".")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        is_any = "{" not in row.image
        return row.image if is_any else row.rolling if not version else None
    if row.majors and numbers[0] not in row.majors:
        return None
    return row.image.format(version=version, major=numbers[0], minor=".".join(numbers[:2]))


@cache
def _table() -> _Table:
    text = (files("convert.dockerfile") / "bases.toml").read_text(encoding="utf-8")
    return _Table.model_validate(tomllib.loads(text))
