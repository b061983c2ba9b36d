"""Variables that a machine gives to what it starts: environment(5) of pam_env, locale.conf(5).

Not what a login shell adds for itself, nor what only makes sense at a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from convert.inspect.environment_file import variables_of
from convert.inspect.evidence import Evidence
from convert.inspect.facts import MachineVariable, Service
from convert.inspect.guest import Guest
from convert.inspect.text import ARGUMENT_MAX, can_be_said

_FOR_ALL = b"etc/environment"
_LOCALES = (b"etc/locale.conf", b"etc/default/locale")
"""systemd hands the first to every service, Debian's the second: systemd(1), "Environment"."""
_ANY = re.compile(r"\w+")
_LOCALE = re.compile(r"LANG(?:UAGE)?|LC_\w+")
_NOISE = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|MAIL|PWD|OLDPWD|SHLVL|TERM|COLORTERM|DISPLAY|XAUTHORITY|XDG_.*"
    r"|PS[0-4]|PROMPT_COMMAND|LS_COLORS|HIST.*|EDITOR|VISUAL|PAGER|LESS.*|BROWSER|SSH_.*|DBUS_.*"
    r"|LD_PRELOAD|LD_LIBRARY_PATH|_"
)
"""Of a login; and what would load a library into everything that is started."""


def machine_environment(guest: Guest, *, has_systemd: bool) -> tuple[MachineVariable, ...]:
    """Return the variables, each once, those with the last word last."""
    found = {item.name: item for item in _variables(guest, has_systemd=has_systemd)}
    return tuple(found.values())


def _variables(guest: Guest, *, has_systemd: bool) -> Iterator[MachineVariable]:
    for path in _LOCALES if has_systemd else ():
        text = guest.text(path)
        if text is not None:
            yield from _of_text(text, path, _LOCALE, "locale")
            break
    for item in _of_text(guest.text(_FOR_ALL) or "", _FOR_ALL, _ANY, "environment"):
        if not _NOISE.fullmatch(item.name):
            yield item


def _of_text(
    text: str, path: bytes, wanted: re.Pattern[str], rule: str
) -> Iterator[MachineVariable]:
    for name, item in variables_of(text).items():
        if wanted.fullmatch(name) and can_be_said(item.value) and len(item.value) < ARGUMENT_MAX:
            yield MachineVariable(name, item.value, Evidence(path, item.line, rule))


def with_machine_environment(service: Service, environment: Iterable[MachineVariable]) -> Service:
    """Return a service with what the machine gives to all; its own have the last word."""
    merged = {item.name: item.value for item in environment} | dict(service.environment)
    return replace(service, environment=tuple(sorted(merged.items())))
