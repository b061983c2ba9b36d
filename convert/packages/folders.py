"""What systemd-tmpfiles(8) makes of a package's tmpfiles.d(5), once it is installed.

What lies below ``/run`` is for the entrypoint (:mod:`convert.inspect.tmpfiles`); nothing is made
below ``/proc``, ``/sys``, ``/dev`` and ``/tmp``, which are a container's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convert.inspect.command_line import expand_specifiers
from convert.inspect.text import encoded
from convert.packages.commands.modes import mode_change
from convert.packages.declared import declared_lines
from convert.packages.system import DeedError, System
from convert.packages.world import World
from formats.core.entry import Kind
from formats.core.finding import Action

_NOT_HERE = re.compile(r"/(?:run|var/run|proc|sys|dev|tmp|var/tmp)(?:/|$)")
_SPECIFIERS = {"S": "/var/lib", "C": "/var/cache", "L": "/var/log", "t": "/run", "%": "%"}
_UNSET = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of tmpfiles.d, its unset fields None.

    :ivar kind: the letter alone; :ivar forces: whether ``+`` stands behind it.
    """

    kind: str
    forces: bool
    path: str
    mode: str | None
    user: str | None
    group: str | None
    argument: str | None
    where: str


def tmpfiles_lines(world: World) -> Iterator[Line]:
    """Yield the lines that are for paths of an image, in their order."""
    for words, where in declared_lines(world, b"tmpfiles.d"):
        mode, user, group = (
            None if word == _UNSET else word.lstrip(":~")
            for word in [*words[2:5], *[_UNSET] * 3][:3]
        )
        path = expand_specifiers(words[1], _SPECIFIERS)
        if "%" in path or not path.startswith("/") or _NOT_HERE.match(path):
            continue
        argument = " ".join(words[6:])
        letters = words[0]
        yield Line(
            letters[0],
            forces="+" in letters,
            path=path,
            mode=mode,
            user=user,
            group=group,
            argument=None if argument in {"", _UNSET} else argument,
            where=where,
        )


def make_declared(system: System) -> None:
    """Make what the lines ask for; a line that cannot be followed has a finding."""
    for line in tmpfiles_lines(system.world):
        make = _MAKERS.get(line.kind)
        if make is None:
            continue
        try:
            make(system, line)
        except DeedError as error:
            real = system.world.real(encoded(line.path)) or b""
            system.told("package-folder", real, Action.REPORTED, f"{error}, {line.where}")


def _folder(system: System, line: Line) -> None:
    by = f"by {line.where}"
    system.make_folder(line.path, by)
    _owned(system, line, by, line.path)


def _file(system: System, line: Line) -> None:
    by = f"by {line.where}"
    if system.item(line.path) is not None and not line.forces:
        return
    content = (line.argument or "").replace("\\n", "\n")
    system.write(line.path, encoded(content), by)
    _owned(system, line, by, line.path)


def _link(system: System, line: Line) -> None:
    name = line.path.rpartition("/")[2]
    target = line.argument or f"/usr/share/factory{line.path}"
    there = system.item(line.path, follow=False)
    if there is not None and not line.forces:
        return
    if line.kind == "L" and name:
        system.make_link(line.path, target, f"by {line.where}", replaces=line.forces)


def _copy(system: System, line: Line) -> None:
    """Copy a file or folder of ``/usr/share/factory``; one that is there stays."""
    source = line.argument or f"/usr/share/factory{line.path}"
    item = system.item(source)
    if item is None or system.item(line.path) is not None:
        return
    by = f"by {line.where}"
    start = len(item.entry.path)
    for name in system.world.below(item.entry.path)[::-1]:
        inner = system.world.get(name)
        path = line.path + name[start:].decode("utf-8", "surrogateescape")
        if inner is None:
            continue
        if inner.entry.kind is Kind.FOLDER:
            system.make_folder(path, by, inner.entry.mode)
        elif inner.entry.kind is Kind.FILE:
            system.copy("/" + name.decode("utf-8", "surrogateescape"), path, by)
    _owned(system, line, by, line.path)


def _matching(system: System, line: Line) -> list[str]:
    found = system.world.matching(encoded(line.path.lstrip("/")))
    return ["/" + path.decode("utf-8", "surrogateescape") for path in found]


def _adjust(system: System, line: Line) -> None:
    for path in _matching(system, line):
        _owned(system, line, f"by {line.where}", path)


def _adjust_all(system: System, line: Line) -> None:
    for path in _matching(system, line):
        for inner in system.below(path):
            _owned(system, line, f"by {line.where}", inner)


def _owned(system: System, line: Line, by: str, path: str) -> None:
    if line.mode is not None:
        system.set_mode(path, mode_change(line.mode), by)
    if line.user is not None or line.group is not None:
        system.set_owner(path, line.user, line.group, by)


_MAKERS: dict[str, Callable[[System, Line], None]] = {
    **dict.fromkeys("dDvqQ", _folder),
    "e": _adjust,
    "z": _adjust,
    "Z": _adjust_all,
    "f": _file,
    "F": _file,
    "L": _link,
    "C": _copy,
}
