"""What was found in a tree, as tables."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from convert.inspect.facts import Service
from convert.plan import Decisions
from formats.core.origin import printable
from formats.core.package import Package

_ROWS = 3000
"""More make a page slow; how many are left out is said."""
_OPEN_ROWS = 12
_LONGEST = 600
"""Characters."""


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
    for name, title, columns, rows in _KINDS:
        every = tuple(tuple(map(shown, row)) for row in rows(decisions))
        if every:
            is_open = len(every) <= _OPEN_ROWS
            yield Listing(name, title, columns, every[:_ROWS], len(every), is_open)


def shown(text: str | bytes) -> str:
    """Return a guest's text or path as a page shows it; what is printable already stays so.

    The middle of what is longer than anything sensible is left out: thousands of names that are as
    long as they may be would make a page that no browser opens.
    """
    if isinstance(text, bytes) or not text.isprintable():
        text = printable(text)
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def _system(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    facts = decisions.facts
    if facts.operating_system is not None:
        found = facts.operating_system
        yield "operating system", found.pretty_name, str(found.evidence)
    if facts.architecture.name is not None:
        name = "/".join(filter(None, (facts.architecture.name, facts.architecture.variant)))
        yield "architecture", name, str(facts.architecture.evidence or "")
    if facts.init is not None:
        yield "init system", f"{facts.init.name}, {facts.init.path}", str(facts.init.evidence)
    if facts.default_target is not None:
        yield "default target", facts.default_target, ""
    if decisions.machine is not None:
        yield "machine", decisions.machine.name, ""
    for folder, origin in decisions.mounts:
        yield f"mounted on {folder}", str(origin), ""


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


def _sockets(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    for socket in decisions.facts.sockets:
        if socket.ports:  # the others are of the system's own parts
            ports = ", ".join(map(str, socket.ports))
            yield socket.name, ports, socket.service, str(socket.evidence)


def _applications(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    for item in decisions.facts.applications:
        name = f"{item.name} {item.version}" if item.version else item.name
        start = shlex.join(item.start.argv) if item.start is not None else item.runtime or ""
        yield name, item.kind, f"/{shown(item.path)}", start, str(item.evidence)


def _volumes(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    for folder in decisions.facts.volumes:
        yield folder.path, folder.service or "", str(folder.evidence)


def _jobs(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    for job in decisions.facts.jobs:
        yield job.command, job.time, job.user, str(job.evidence)


def _accounts(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    for account in decisions.facts.accounts:
        ids = f"{account.uid}:{account.gid}"
        yield account.name, ids, account.home, account.shell, str(account.evidence)


def _timers(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    return ((str(timer),) for timer in decisions.facts.timers)


def _layer_packages(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    return _packages(decisions.packages)


def _installed(decisions: Decisions) -> Iterator[tuple[str, ...]]:
    return _packages(decisions.facts.packages)


def _packages(packages: Sequence[Package]) -> Iterator[tuple[str, ...]]:
    for package in sorted(packages, key=lambda item: (item.name, item.architecture)):
        yield package.name, package.version, package.architecture, package.summary


_Rows: TypeAlias = Callable[[Decisions], Iterable[tuple[str, ...]]]
_PACKAGE = ("package", "version", "architecture", "summary")
_KINDS: tuple[tuple[str, str, tuple[str, ...], _Rows], ...] = (
    ("system", "System", ("what", "value", "evidence"), _system),
    ("services", "Services", ("service", "by", "what becomes of it", "evidence"), _services),
    ("sockets", "Sockets", ("socket", "ports", "service", "evidence"), _sockets),
    (
        "applications",
        "Applications",
        ("application", "kind", "where", "started by", "evidence"),
        _applications,
    ),
    ("volumes", "Data folders", ("folder", "service", "evidence"), _volumes),
    (
        "jobs",
        "Periodic jobs, which the container does not run",
        ("job", "when", "user", "evidence"),
        _jobs,
    ),
    ("timers", "Timers, which the container does not run", ("timer",), _timers),
    (
        "accounts",
        "Accounts of people",
        ("account", "uid:gid", "home", "shell", "evidence"),
        _accounts,
    ),
    ("layer-packages", "Packages in the new layer", _PACKAGE, _layer_packages),
    ("packages", "Packages installed", _PACKAGE, _installed),
)
"""What can be listed: name, title, columns, and what gives the rows."""
