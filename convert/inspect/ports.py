"""Which ports a service listens on: from its own configuration, never from the host."""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.facts import Evidence, Port, Service, Socket
from convert.inspect.programs import Program
from convert.inspect.text import glob, text_of
from formats.core.tree import TreeIndex

_LOOPBACK = re.compile(r"127\.|localhost|\[::1\]")
_PORT_ARGUMENT = re.compile(r"--(?:http[-.]?|server[-.]?|listen[-.]?)?port(?:=(\d{1,5}))?")


def ports_of(
    index: TreeIndex,
    service: Service,
    program: Program | None,
    sockets: tuple[Socket, ...],
    argv: tuple[str, ...],
) -> tuple[Port, ...]:
    """Return the ports, by number.

    From its sockets, its arguments and its configuration files; only if none of them says
    anything, the program's usual port, with low confidence.
    """
    found: dict[tuple[int, str], Port] = {}
    sources = (_of_sockets(service, sockets), _of_arguments(service, argv))
    for source in (*sources, _of_files(index, program)):
        for port in source:
            found.setdefault((port.number, port.protocol), port)
    if not found and program is not None and program.default_port is not None:
        evidence = Evidence(service.evidence.path, None, f"default-port-of-{program.name}")
        for protocol in program.protocols:
            port = Port(program.default_port, protocol, evidence, confidence="low")
            found[port.number, protocol] = port
    return tuple(port for _, port in sorted(found.items()))


def _of_sockets(service: Service, sockets: tuple[Socket, ...]) -> Iterator[Port]:
    for socket in sockets:
        if socket.service == service.name:
            yield from socket.ports


def _of_arguments(service: Service, argv: tuple[str, ...]) -> Iterator[Port]:
    evidence = service.start[0].evidence if service.start else service.evidence
    for position, word in enumerate(argv):
        match = _PORT_ARGUMENT.fullmatch(word)
        if match is None:
            continue
        following = argv[position + 1] if position + 1 < len(argv) else ""
        text = match[1] or following
        if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
            yield Port(int(text), "tcp", Evidence(evidence.path, evidence.line, "port-argument"))


def _of_files(index: TreeIndex, program: Program | None) -> Iterator[Port]:
    if program is None or program.port_pattern is None:
        return
    for pattern in program.port_files:
        for entry in glob(index, pattern):
            for line, match in _matches(text_of(index, entry.path) or "", program.port_pattern):
                address = match.groupdict().get("address") or ""
                number = int(match["port"])
                if _LOOPBACK.match(address) or not 0 < number < 65536:
                    continue
                evidence = Evidence(entry.path, line, f"{program.name}-config")
                for protocol in program.protocols:
                    yield Port(number, protocol, evidence)


def _matches(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.lstrip().startswith(("#", ";")):
            for match in pattern.finditer(line):
                yield number, match
