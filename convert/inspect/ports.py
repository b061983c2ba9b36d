"""Which ports a service listens on: from its own configuration, never from the host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from convert.inspect.config_files import ConfigLine
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Port, Service, Socket
from convert.inspect.programs import Program

_LOOPBACK = re.compile(r"127\.|localhost\b|\[?::1\b")
_PORT_OPTION = re.compile(
    r"--?(?:[\w.-]*[-._])?(?:port|listen|bind|addr(?:ess)?)(?:[-._][\w.-]*)?|--?\w+Port|-p"
)
_PORT_VALUE = re.compile(r"(?:\w+://)?(?P<address>\[[^\]]*\]:|[\w.*-]*:)?(?P<port>\d{1,5})/?")
_OPTION_MAX = 64
_PORT_MAX = 65535


def ports_of(
    service: Service,
    program: Program | None,
    sockets: tuple[Socket, ...],
    argv: tuple[str, ...],
    lines: list[ConfigLine],
) -> tuple[Port, ...]:
    """Return the ports, by number.

    From its sockets, its arguments and its configuration files. Only if none of them says
    anything: from a variable ``PORT`` or as the program's usual port, with low confidence.

    :param argv: how the container runs it.
    :param lines: of the program's own configuration.
    """
    found = [port for socket in sockets if socket.service == service.name for port in socket.ports]
    found += _of_arguments(service, argv)
    if program is not None:
        stated = list(_of_lines(lines, program))
        found += stated[-1:] if program.last_port_counts else stated
    if not found:
        found += _guessed(service, program, lines)
    by_number: dict[tuple[int, str], Port] = {}
    for port in sorted(found, key=lambda port: port.is_local):
        if 0 < port.number <= _PORT_MAX:
            by_number.setdefault((port.number, port.protocol), port)
    return tuple(port for _, port in sorted(by_number.items()))


def _of_arguments(service: Service, argv: tuple[str, ...]) -> Iterator[Port]:
    command = service.start[0].evidence if service.start else service.evidence
    evidence = Evidence(command.path, command.line, "port-argument")
    for position, word in enumerate(argv[1:], start=1):
        option, equals, value = word.partition("=")
        if len(option) > _OPTION_MAX or not _PORT_OPTION.fullmatch(option):
            continue
        following = argv[position + 1] if position + 1 < len(argv) else ""
        match = _PORT_VALUE.fullmatch(value if equals else following)
        if match:
            is_local = _LOOPBACK.match(match["address"] or "") is not None
            yield Port(int(match["port"]), "tcp", evidence, is_local=is_local)


def _of_lines(lines: list[ConfigLine], program: Program) -> Iterator[Port]:
    bound = _bound(lines, program)
    for line, match in _matches(lines, program.port_pattern):
        groups = match.groupdict()
        address = groups.get("address") or ""
        evidence = bound or Evidence(line.path, line.number, f"{program.name}-config")
        is_local = bound is not None or _LOOPBACK.match(address) is not None
        protocols = ("udp",) if groups.get("udp") else program.protocols
        for protocol in protocols:
            yield Port(int(match["port"]), protocol, evidence, is_local=is_local)


def _bound(lines: list[ConfigLine], program: Program) -> Evidence | None:
    """Return what says that the program listens on loopback addresses only."""
    stated: tuple[ConfigLine, str] | None = None
    for line, match in _matches(lines, program.address_pattern):
        stated = (line, match["addresses"])
    if stated is None:
        if program.is_local_by_default and lines:
            return Evidence(lines[0].path, None, f"{program.name}-listens-on-localhost-by-default")
        return None
    line, text = stated
    addresses = [word.strip("-\"'") for word in re.split(r"[\s,]+", text)]
    if all(_LOOPBACK.match(address) for address in filter(None, addresses)):
        return Evidence(line.path, line.number, f"{program.name}-config")
    return None


def _matches(
    lines: list[ConfigLine], pattern: re.Pattern[str] | None
) -> Iterator[tuple[ConfigLine, re.Match[str]]]:
    if pattern is not None:
        for line in lines:
            for match in pattern.finditer(line.text):
                yield line, match


def _guessed(service: Service, program: Program | None, lines: list[ConfigLine]) -> Iterator[Port]:
    name = program.port_variable if program is not None and program.port_variable else "PORT"
    stated = dict(service.environment).get(name, "")
    if re.fullmatch(r"[0-9]{1,5}", stated):
        evidence = replace(service.evidence, rule=f"variable-{name}")
        yield Port(int(stated), "tcp", evidence, confidence="low")
    elif program is not None and program.default_port is not None:
        bound = _bound(lines, program)
        evidence = bound or replace(service.evidence, rule=f"default-port-of-{program.name}")
        is_local = bound is not None
        for protocol in program.protocols:
            yield Port(program.default_port, protocol, evidence, "low", is_local)
