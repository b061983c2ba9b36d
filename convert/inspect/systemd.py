"""Services, sockets and timers that systemd starts in this guest: systemd(1), bootup(7)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from convert.inspect.accounts import Accounts
from convert.inspect.closure import started_units
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Job, Port, Service, Socket
from convert.inspect.guest import Guest
from convert.inspect.service_unit import service_of
from convert.inspect.timers import timer_jobs
from convert.inspect.unit_file import is_true, last, values
from convert.inspect.units import Unit, UnitSet

_FALLBACK_TARGETS = ("graphical.target", "multi-user.target")

_LISTENING = (("ListenStream", "tcp"), ("ListenDatagram", "udp"))
_ADDRESS = re.compile(r"(?:(\[[^\]]*\]|[0-9.]+):)?(\d{1,5})(?:%\S+)?")
_LOOPBACK = ("127.", "[::1]")


@dataclass(frozen=True, slots=True)
class Started:
    """What systemd would start.

    :ivar native: names of all service units, started or not: no SysV script of that name is used.
    """

    default_target: str
    services: tuple[Service, ...]
    sockets: tuple[Socket, ...]
    timers: tuple[str, ...]
    jobs: tuple[Job, ...]
    native: frozenset[str]


def started_by_systemd(guest: Guest, accounts: Accounts) -> Started:
    """Return what is in the closure of ``default.target``, and the services of its sockets."""
    units = UnitSet(guest)
    target = _default_target(units)
    services: dict[str, Service] = {}
    sockets: list[Socket] = []
    timers: list[str] = []
    for name, evidence in sorted(started_units(units, target).items()):
        unit = units.load(name)
        if unit is None:
            continue
        if unit.name.kind == "service":
            services[name] = service_of(guest, accounts, unit, evidence)
        elif unit.name.kind == "socket":
            sockets.append(_socket(units, unit))
        elif unit.name.kind == "timer":
            timers.append(unit.name.stem)
    for socket in sockets:
        unit = units.load(f"{socket.service}.service")
        if unit is not None and not unit.is_masked and unit.name.full not in services:
            services[unit.name.full] = service_of(guest, accounts, unit, socket.evidence)
    return Started(
        target,
        tuple(services[name] for name in sorted(services)),
        tuple(sockets),
        tuple(timers),
        tuple(timer_jobs(units, accounts, timers)),
        units.service_names(),
    )


def _default_target(units: UnitSet) -> str:
    target = units.canonical("default.target")
    if units.load(target) is not None:
        return target
    present = (name for name in _FALLBACK_TARGETS if units.load(name) is not None)
    return next(present, _FALLBACK_TARGETS[-1])


def _socket(units: UnitSet, unit: Unit) -> Socket:
    settings = unit.settings
    stated = last(settings, "Socket", "Service")
    is_per_connection = is_true(last(settings, "Socket", "Accept"))
    if is_per_connection:
        service = f"{unit.name.stem}@0.service"
    else:
        service = units.canonical(stated.value if stated else f"{unit.name.stem}.service")
    ports: list[Port] = []
    for key, protocol in _LISTENING:
        for setting in values(settings, "Socket", key):
            number = listening_port(setting.value)
            if number is not None:
                evidence = Evidence(setting.path, setting.line, "systemd-socket")
                ports.append(Port(number, protocol, evidence))
    evidence = Evidence(unit.path, None, "systemd-unit")
    return Socket(
        name=unit.name.stem,
        service=service.removesuffix(".service"),
        ports=tuple(ports),
        evidence=evidence,
        is_per_connection=is_per_connection,
    )


def listening_port(value: str) -> int | None:
    """Return the port of a ``ListenStream=`` value; None for paths and for loopback addresses."""
    match = _ADDRESS.fullmatch(value)
    if match is None or (match[1] or "").startswith(_LOOPBACK):
        return None
    number = int(match[2])
    return number if 0 < number < 65536 else None
