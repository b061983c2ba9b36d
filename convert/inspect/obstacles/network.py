"""Firewalls, and what is tied to the machine's own addresses, devices and names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convert.inspect.config_files import config_lines
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Obstacle, Service
from convert.inspect.guest import Guest
from convert.inspect.obstacles.catalogue import FirewallRow, obstacle, table
from convert.inspect.obstacles.settings import lines_of
from convert.inspect.programs import program_of

_HOSTS = ("etc/hosts",)
_HOSTNAME = ("etc/hostname", "etc/HOSTNAME")
_HOSTNAME_VARIABLE = re.compile(r"\s*(?:HOSTNAME|hostname)=[\"']?([\w.-]+)")
_USUAL_NAMES = frozenset({"localhost", "debian", "ubuntu", "alpine", "centos", "fedora", "host"})
_PUBLIC_NAME = re.compile(r"\s*(?:server_name|ServerName|ServerAlias|myhostname|server-name)\b")
"""What a service is called by its clients, whatever the machine is called."""
_DEVICE = re.compile(
    r"(?<![\w/.])/dev/(?!null|zero|full|u?random|std(?:in|out|err)|fd\b|shm|mqueue|tty(?![A-Z0-9])"
    r"|console|ptmx|pts|log\b|tcp/|udp/|initctl)[\w./-]+"
)
_SETTING = re.compile(r"[\w./-]+")
_KNOWN_MAX = 64
"""Addresses and devices: each line of a service is searched for all of them."""
_LINES_MAX = 5000
_TEXT_MAX = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """What the machine is called, and its addresses and devices with where they are set."""

    addresses: dict[str, Evidence]
    interfaces: dict[str, Evidence]
    hostname: str


@dataclass(frozen=True, slots=True)
class Said:
    """A line of what a service reads, or its command, and whose it is."""

    service: str
    text: str
    evidence: Evidence


def identity(guest: Guest) -> Identity:
    """Return what the machine's own network set-up says of it."""
    addresses: dict[str, Evidence] = {}
    interfaces: dict[str, Evidence] = {}
    for row in table()["network"]:
        pattern = re.compile(row["pattern"])
        for entry, number, text in lines_of(guest, row["files"]):
            match = pattern.match(text[:_TEXT_MAX])
            if match is None or len(addresses) + len(interfaces) >= _KNOWN_MAX:
                continue
            evidence = Evidence(entry.path, number, "network-set-up")
            if match["interface"] and match["interface"] != "lo":
                interfaces.setdefault(match["interface"], evidence)
            address = _address(match["address"])
            if address is not None and not address.is_loopback:
                addresses.setdefault(str(address), evidence)
    return Identity(addresses, interfaces, _hostname(guest))


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        return None


def _hostname(guest: Guest) -> str:
    for _, _, text in lines_of(guest, _HOSTNAME):
        return text
    for _, _, text in lines_of(guest, ("etc/sysconfig/network", "etc/conf.d/hostname")):
        match = _HOSTNAME_VARIABLE.match(text)
        if match is not None:
            return match[1]
    return ""


def said_by_services(guest: Guest, services: Iterable[Service]) -> Iterator[Said]:
    """Yield command, variables and configuration of the services that are workloads."""
    for service in services:
        if service.not_workload is not None:
            continue
        for command in (*service.start_pre, *service.start):
            yield Said(service.name, " ".join(command.argv)[:_TEXT_MAX], command.evidence)
        for name, value in service.environment:
            yield Said(service.name, f"{name}={value}"[:_TEXT_MAX], service.evidence)
        program = program_of(service)
        if program is None:
            continue
        lines = config_lines(guest, program, service)
        for _, line in zip(range(_LINES_MAX), lines, strict=False):
            evidence = Evidence(line.path, line.number, f"{program.name}-config")
            yield Said(service.name, line.text, evidence)


def ties(guest: Guest, known: Identity, said: Iterable[Said]) -> Iterator[Obstacle]:
    """Yield where the machine's address is set, and each line that needs this very machine."""
    for address, evidence in known.addresses.items():
        yield obstacle("address", f"the machine is {address}", evidence)
    patterns = list(_patterns(known))
    for line in said:
        for kind, pattern in patterns:
            match = pattern.search(line.text)
            is_public = kind == "hostname" and _PUBLIC_NAME.match(line.text)
            if match is not None and not is_public:
                yield obstacle(
                    kind, f"{line.service}: {_without_values(line, match)}", line.evidence
                )
    for row in table()["watched"]:
        watched = re.compile(row["pattern"])
        for entry, number, text in lines_of(guest, row["files"], comments="#;!"):
            if watched.match(text[:_TEXT_MAX]):
                yield obstacle(row["kind"], text, Evidence(entry.path, number, "network-config"))
    yield from _hosts(guest, known)


def _without_values(line: Said, match: re.Match[str]) -> str:
    """Return a setting's name and what was found; what else is in the line may be a secret."""
    name = _SETTING.match(line.text)
    is_apart = name is not None and name.end() <= match.start()
    return f"{name[0]} {match[0]}" if name is not None and is_apart else match[0]


def _patterns(known: Identity) -> Iterator[tuple[str, re.Pattern[str]]]:
    yield "device", _DEVICE
    if known.addresses:
        choices = "|".join(map(re.escape, known.addresses))
        yield "own-address", re.compile(rf"(?<![\w.:])(?:{choices})(?![\w.]*\w)", re.IGNORECASE)
    names = [name for name in known.interfaces if re.search(r"\d", name)]
    if names:
        choices = "|".join(map(re.escape, names))
        yield "interface", re.compile(rf"(?<![\w./-])(?:{choices})(?![\w/-])")
    hostname = known.hostname
    if len(hostname) > 2 and hostname.partition(".")[0] not in _USUAL_NAMES:
        yield "hostname", re.compile(rf"(?<![\w./-]){re.escape(hostname)}(?![\w/-])")


def _hosts(guest: Guest, known: Identity) -> Iterator[Obstacle]:
    """Yield the names that only the machine's own ``/etc/hosts`` knows."""
    for entry, number, text in lines_of(guest, _HOSTS):
        fields = text.partition("#")[0].split()
        address = _address(fields[0]) if len(fields) > 1 else None
        if address is None or address.is_loopback or address.is_multicast:
            continue
        is_own = str(address) in known.addresses or known.hostname in fields[1:]
        if not is_own and not any(name.startswith("ip6-") for name in fields[1:]):
            yield obstacle("hosts-entry", " ".join(fields), Evidence(entry.path, number, "hosts"))


def firewalls(guest: Guest) -> Iterator[Obstacle]:
    """Yield each file with rules, and how many there are."""
    for row in table()["firewall"]:
        if _is_enabled(guest, row):
            yield from _rules(guest, row)


def _is_enabled(guest: Guest, row: FirewallRow) -> bool:
    switch = row.get("enabled_by")
    if switch is None:
        return True
    pattern = re.compile(switch["pattern"], re.IGNORECASE)
    return any(pattern.match(text) for _, _, text in lines_of(guest, (switch["file"],)))


def _rules(guest: Guest, row: FirewallRow) -> Iterator[Obstacle]:
    rule, translation = re.compile(row["rule"]), re.compile(row["translation"])
    counts: dict[bytes, list[int]] = {}
    for entry, number, text in lines_of(guest, row["files"]):
        line = text[:_TEXT_MAX]
        if not rule.match(line):
            continue
        count = counts.setdefault(entry.path, [number, 0, 0])
        count[1] += 1
        if translation.search(line):
            count[2] += 1
            if count[2] == 1:
                yield obstacle("translation", line, Evidence(entry.path, number, "firewall"))
    for path, (number, rules, _) in counts.items():
        what = f"{rules:,} firewall rule{'s' * (rules != 1)}"
        yield obstacle("firewall", what, Evidence(path, number, "firewall"))
