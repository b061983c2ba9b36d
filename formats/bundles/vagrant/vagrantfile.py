"""What a Vagrantfile states plainly. It is a Ruby program, and it is never run.

Statements are looked at one by one: only those that are made of literals say anything here, and
whatever is computed, conditional or not understood is passed over. Specification: Vagrant's
documentation of the Vagrantfile ("Forwarded Ports", "config.vm", "config.ssh").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from formats.core.machine import StatedPort

FILE_NAME = "Vagrantfile"

_MAX_STATEMENT_LINES = 50
_MAX_STATEMENT = 4096
"""Longer statements say nothing: whatever is looked for in them is looked for at every place."""
_HEREDOC = re.compile(r"""<<[-~]?(["'`]?)([A-Za-z_]\w*)\1""")
_PORT = re.compile(
    r"""\.vm\.network\s*\(?\s*(?::forwarded_port|["']forwarded_port["'])\s*,(.*)""", re.DOTALL
)
_PORT_V1 = re.compile(r"\.vm\.forward_port\s*\(?\s*(\d{1,5})\s*,\s*\d{1,5}(.*)", re.DOTALL)
_OPTION = re.compile(
    r"""(?<![a-z_]):?(?P<key>[a-z_]+)(?:\s*=>|:)\s*(?P<value>\d+|:?\w+|"[^"#]*"|'[^']*')\s*(?:,|\)|$|\})"""
)

# Property → how it is assigned. A value is a literal to the statement's end.
_LITERAL = r"""\s*=\s*(?:"(?P<d>[^"#\\]*)"|'(?P<s>[^'\\]*)'|(?P<n>\d+|true|false|:\w+))\s*$"""
_ASSIGNED: Mapping[str, re.Pattern[str]] = {
    name: re.compile(rf"\.{key}{_LITERAL}")
    for name, key in {
        "hostname": r"vm\.host_?name",
        "box": r"vm\.box",
        "guest": r"vm\.guest",
        "memory": r"memory",
        "cpus": r"cpus",
        "ssh-user": r"ssh\.username",
        "ami": r"ami",
        "region": r"region",
        "image": r"image",
    }.items()
}
_MODIFY = re.compile(
    r"""\.customize\s*\(?\s*\[\s*["']modifyvm["']\s*,\s*:id\s*,\s*["']--(memory|cpus)["']\s*,\s*["']?(\d+)"""
)
_REGION_AMI = re.compile(
    r"""\.region_config\s*\(?\s*["']([\w-]+)["']\s*,.{0,200}?:?ami(?:\s*=>|:)\s*["']([\w-]+)["']""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a Vagrantfile says.

    :ivar settings: hostname, memory (MiB), cpus, … by short names; the first of each counts.
    :ivar ports: forwarded ports, as the guest has them.
    :ivar amis: images of a cloud, with their region where it is stated.
    """

    settings: Mapping[str, str]
    ports: tuple[StatedPort, ...]
    amis: tuple[tuple[str, str | None], ...]


def read_vagrantfile(text: str) -> Stated:
    """Return what is stated; never fails."""
    settings: dict[str, str] = {}
    ports: dict[str, StatedPort] = {}
    amis: list[tuple[str, str | None]] = []
    for number, statement in _statements(text):
        for name, pattern in _ASSIGNED.items():
            if (match := pattern.search(statement)) is not None:
                value = match["d"] or match["s"] or (match["n"] or "").lstrip(":")
                settings.setdefault(name, value)
        if (match := _MODIFY.search(statement)) is not None:
            settings.setdefault(match[1], match[2])
        if (match := _REGION_AMI.search(statement)) is not None:
            amis.append((match[2], match[1]))
        port = _port(statement)
        if port is not None:
            ports.setdefault(port, StatedPort(port, f"{FILE_NAME}:{number}"))
    if ami := settings.pop("ami", ""):
        amis.insert(0, (ami, settings.get("region")))
    return Stated(settings, tuple(ports.values()), tuple(amis))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and text of each statement, without comments and here-documents.

    A statement goes on where a line ends in a comma or an opening bracket.
    """
    held, start, lines = "", 0, 0
    is_comment = False
    document_end: str | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        if document_end is not None:
            if raw.strip() == document_end:
                document_end = None
            continue
        if raw.startswith(("=begin", "=end")):
            is_comment = raw.startswith("=begin")
            continue
        if is_comment:
            continue
        if raw.startswith("__END__"):
            break
        line = _without_comment(raw)
        if (match := _HEREDOC.search(line)) is not None:
            document_end = match[2]
        start = start if held else number
        lines = lines + 1 if held else 1
        held = f"{held} {line.strip()}"[: _MAX_STATEMENT + 1].strip()
        if held.endswith((",", "(", "[", "{", "\\")) and lines < _MAX_STATEMENT_LINES:
            continue
        if held and len(held) <= _MAX_STATEMENT:
            yield start, held
        held = ""


def _without_comment(line: str) -> str:
    if "#" not in line:
        return line
    quote, is_escaped = "", False
    for position, character in enumerate(line):
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#":
            return line[:position]
    return line


def _port(statement: str) -> str | None:
    """Return the port of the guest that a statement forwards: ``80/tcp``.

    Vagrant's own way in, SSH by the id ``ssh``, is no service of the machine.
    """
    if (old := _PORT_V1.search(statement)) is not None:
        options = _options(old[2])
        options["guest"] = old[1]
    elif (match := _PORT.search(statement)) is not None:
        options = _options(match[1])
    else:
        return None
    number = options.get("guest", "")
    protocol = options.get("protocol", "tcp")
    if options.get("disabled") == "true" or options.get("id") == "ssh":
        return None
    if not number.isdigit() or not 0 < int(number) < 1 << 16 or protocol not in {"tcp", "udp"}:
        return None
    return f"{int(number)}/{protocol}"


def _options(text: str) -> dict[str, str]:
    return {match["key"]: match["value"].strip("\"':") for match in _OPTION.finditer(text)}
