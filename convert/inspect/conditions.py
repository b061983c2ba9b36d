"""Conditions of units that a tree alone decides: systemd.unit(5), "Conditions and Asserts"."""

from __future__ import annotations

from collections.abc import Callable

from convert.inspect.unit_file import Setting
from convert.inspect.units import Unit
from formats.core.entry import Kind
from formats.core.tree import TreeIndex

_VOLATILE = ("/run/", "/proc/", "/sys/", "/dev/")
"""What is there at run time cannot be told from a disk."""


def unmet_condition(index: TreeIndex, unit: Unit) -> str | None:
    """Return the first condition that keeps a unit from starting in a container; None if none.

    All plain conditions have to hold, and one of those with ``|``. What depends on the running
    machine is taken to hold.
    """
    triggers: list[tuple[str, bool]] = []
    for setting in unit.settings:
        if setting.section != "Unit" or not setting.key.startswith(("Condition", "Assert")):
            continue
        if not setting.value:  # an empty value forgets those before it
            triggers.clear()
            continue
        holds = _holds(index, setting)
        text = f"{setting.key}={setting.value}"
        if setting.value.startswith("|"):
            triggers.append((text, holds))
        elif not holds:
            return text
    if triggers and not any(holds for _, holds in triggers):
        return triggers[0][0]
    return None


def _holds(index: TreeIndex, setting: Setting) -> bool:
    value = setting.value.lstrip("|")
    is_negated = value.startswith("!")
    value = value.lstrip("!").strip()
    key = setting.key.removeprefix("Condition").removeprefix("Assert")
    if key == "Virtualization":
        known = _IN_A_CONTAINER.get(value)
        return True if known is None else known is not is_negated
    check = _CHECKS.get(key)
    if check is None or value.startswith(_VOLATILE) or "*" in value or "%" in value:
        return True
    return check(index, value.encode("utf-8", "surrogateescape")) is not is_negated


_IN_A_CONTAINER = {"container": True, "vm": False, "yes": True, "true": True, "no": False}


def _exists(index: TreeIndex, path: bytes) -> bool:
    return index.resolve(path) is not None


def _is_folder(index: TreeIndex, path: bytes) -> bool:
    entry = index.resolve(path)
    return entry is not None and entry.kind is Kind.FOLDER


def _is_link(index: TreeIndex, path: bytes) -> bool:
    entry = index.get(path.strip(b"/"))
    return entry is not None and entry.kind is Kind.SYMLINK


def _has_content(index: TreeIndex, path: bytes) -> bool:
    entry = index.resolve(path)
    return entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.size > 0


def _is_executable(index: TreeIndex, path: bytes) -> bool:
    entry = index.resolve(path)
    return entry is not None and entry.kind is not Kind.FOLDER and bool(entry.mode & 0o111)


def _is_filled_folder(index: TreeIndex, path: bytes) -> bool:
    return bool(index.children(path))


_CHECKS: dict[str, Callable[[TreeIndex, bytes], bool]] = {
    "PathExists": _exists,
    "PathIsDirectory": _is_folder,
    "PathIsSymbolicLink": _is_link,
    "FileNotEmpty": _has_content,
    "FileIsExecutable": _is_executable,
    "DirectoryNotEmpty": _is_filled_folder,
}
