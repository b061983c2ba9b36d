"""What was found in a tree, as tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from convert.inspect.facts import Facts, Service
from convert.plan import Decisions
from formats.core.origin import printable
from formats.core.package import Package

_ROWS = 3000
"""More make a page slow; how many are left out is said."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One kind of thing that was found.

    :ivar name: for anchors, kebab-case.
    :ivar columns: the first one is what the row is about.
    :ivar rows: the first three thousand.
    :ivar count: of all.
    :ivar is_open: short enough to be shown at once.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    count: int
    is_open: bool

    @property
    def omitted(self) -> int:
        """How many rows are left out."""
        return self.count - len(self.rows)


def listings(decisions: Decisions) -> Iterator[Listing]:
    """Yield what there is to list; nothing for what was not found."""
    facts = decisions.facts
    for name, title, columns, rows in (
        (
            "services",
            "Services",
            ("service", "by", "what becomes of it", "evidence"),
            _services(decisions),
        ),
        ("sockets", "Sockets", ("socket", "ports", "service", "evidence"), _sockets(facts)),
        (
            "applications",
            "Applications",
            ("application", "kind", "where", "started by", "evidence"),
            _applications(facts),
        ),
        ("volumes", "Data folders", ("folder", "service", "evidence"), _volumes(facts)),
        (
            "jobs",
            "Periodic jobs, which the container does not run",
            ("job", "when", "user", "evidence"),
            _jobs(facts),
        ),
        (
            "timers",
            "Timers, which the container does not run",
            ("timer",),
            [(str(timer),) for timer in facts.timers],
        ),
        (
            "accounts",
            "Accounts of people",
            ("account", "uid:gid", "home", "shell", "evidence"),
            _accounts(facts),
        ),
        (
            "layer-packages",
            "Packages in the new layer",
            ("package", "version", "architecture", "summary"),
            _packages(decisions.packages),
        ),
        (
            "packages",
            "Packages installed",
            ("package", "version", "architecture", "summary"),
            _packages(facts.packages),
        ),
    ):
        listing = _listing(name, title, columns, rows)
        if listing.rows:
            yield listing


def shown(text: str) -> str:
    """Return text as a page shows it; what is printable already stays as it is."""
    return text if text.isprintable() else printable(text)


def _listing(
    name: str, title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> Listing:
    every = tuple(tuple(shown(cell) for cell in row) for row in rows)
    return Listing(name, title, columns, every[:_ROWS], len(every), is_open=len(every) <= 12)


def _services(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    """Yield the services: the one that runs, those that could, then plumbing."""
    why_not = {loser.name: loser.reason for loser in decisions.entrypoint.losers}
    chosen = decisions.entrypoint.service

    def rank(service: Service) -> tuple[bool, bool, str]:
        return service.name != chosen, service.not_workload is not None, service.name

    for service in sorted(decisions.facts.services, key=rank):
        fate = "it is what the container runs"
        if service.name != chosen:
            fate = why_not.get(service.name, service.not_workload or "started by the init system")
        yield service.name, service.manager, fate, str(service.enabled_by)


def _sockets(facts: Facts) -> Iterator[tuple[str, ...]]:
    for socket in facts.sockets:
        ports = ", ".join(map(str, socket.ports)) or "no port"
        yield socket.name, ports, socket.service, str(socket.evidence)


def _applications(facts: Facts) -> Iterator[tuple[str, ...]]:
    for item in facts.applications:
        name = f"{item.name} {item.version}" if item.version else item.name
        start = shlex.join(item.start.argv) if item.start is not None else item.runtime or ""
        yield name, item.kind, f"/{printable(item.path)}", start, str(item.evidence)


def _volumes(facts: Facts) -> Iterator[tuple[str, ...]]:
    for folder in facts.volumes:
        yield folder.path, folder.service or "", str(folder.evidence)


def _jobs(facts: Facts) -> Iterator[tuple[str, ...]]:
    for job in facts.jobs:
        yield job.command, job.time, job.user, str(job.evidence)


def _accounts(facts: Facts) -> Iterator[tuple[str, ...]]:
    for account in facts.accounts:
        ids = f"{account.uid}:{account.gid}"
        yield account.name, ids, account.home, account.shell, str(account.evidence)


def _packages(packages: Sequence[Package]) -> Iterator[tuple[str, ...]]:
    for package in sorted(packages, key=lambda item: (item.name, item.architecture)):
        yield package.name, package.version, package.architecture, package.summary
