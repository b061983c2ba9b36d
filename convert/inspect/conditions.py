"""Conditions of units that a tree alone decides: systemd.unit(5), "Conditions and Asserts"."""

from __future__ import annotations

from collections.abc import Callable

from convert.inspect.guest import Guest
from convert.inspect.text import encoded
from convert.inspect.unit_file import Setting
from convert.inspect.units import Unit
from formats.core.entry import Kind

_VOLATILE = ("/run/", "/proc/", "/sys/", "/dev/")
"""What is there at run time cannot be told from a disk."""


def unmet_condition(guest: Guest, unit: Unit) -> str | None:
    """Return the first condition that keeps a unit from starting in a container; None if none.

    All plain conditions have to hold, and one of those with ``|``. What depends on the running
    machine is taken to hold.
    """
    for kind in ("Condition", "Assert"):
        failed = _first_unmet(guest, _settings(unit, kind), kind)
        if failed is not None:
            return f"{failed.key}={failed.value}"
    return None


def _settings(unit: Unit, kind: str) -> list[Setting]:
    """Return the settings that count: an empty one of any key forgets all before it."""
    found: list[Setting] = []
    for setting in unit.settings:
        if setting.section == "Unit" and setting.key.startswith(kind):
            if setting.value:
                found.append(setting)
            else:
                found.clear()
    return found


def _first_unmet(guest: Guest, settings: list[Setting], kind: str) -> Setting | None:
    triggers = [setting for setting in settings if setting.value.startswith("|")]
    for setting in settings:
        if setting not in triggers and not _holds(guest, setting, kind):
            return setting
    if triggers and not any(_holds(guest, setting, kind) for setting in triggers):
        return triggers[0]
    return None


def _holds(guest: Guest, setting: Setting, kind: str) -> bool:
    value = setting.value.removeprefix("|").lstrip()
    is_negated = value.startswith("!")
    value = value.removeprefix("!").lstrip()
    key = setting.key.removeprefix(kind)
    if key == "Virtualization":
        known = _IN_A_CONTAINER.get(value)
        return known is None or known is not is_negated
    check = _CHECKS.get(key)
    if check is None or value.startswith(_VOLATILE) or "%" in value:
        return True
    return check(guest, encoded(value)) is not is_negated


_IN_A_CONTAINER = {"container": True, "vm": False, "yes": True, "true": True, "no": False}


def _exists(guest: Guest, path: bytes) -> bool:
    return guest.index.resolve(path) is not None


def _exists_glob(guest: Guest, path: bytes) -> bool:
    return any(True for _ in guest.glob(path))  # broken links too: glob(3)


def _is_folder(guest: Guest, path: bytes) -> bool:
    entry = guest.index.resolve(path)
    return entry is not None and entry.kind is Kind.FOLDER


def _is_link(guest: Guest, path: bytes) -> bool:
    folder, _, name = path.rstrip(b"/").rpartition(b"/")
    return any(entry.kind is Kind.SYMLINK for entry in guest.children(folder) if entry.name == name)


def _has_content(guest: Guest, path: bytes) -> bool:
    entry = guest.index.resolve(path)
    return entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.size > 0


def _is_executable(guest: Guest, path: bytes) -> bool:
    entry = guest.index.resolve(path)
    is_file = entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK}
    return is_file and entry is not None and bool(entry.mode & 0o111)


def _is_filled_folder(guest: Guest, path: bytes) -> bool:
    return bool(guest.children(path))


_CHECKS: dict[str, Callable[[Guest, bytes], bool]] = {
    "PathExists": _exists,
    "PathExistsGlob": _exists_glob,
    "PathIsDirectory": _is_folder,
    "PathIsSymbolicLink": _is_link,
    "FileNotEmpty": _has_content,
    "FileIsExecutable": _is_executable,
    "DirectoryNotEmpty": _is_filled_folder,
}
