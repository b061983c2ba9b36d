"""Inspection from top to bottom: a tree in, facts out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from convert.inspect.accounts import Accounts
from convert.inspect.arch import architecture
from convert.inspect.facts import Facts, Init, Service
from convert.inspect.guest import Guest
from convert.inspect.init import init_system
from convert.inspect.os_release import operating_system
from convert.inspect.plumbing import plumbing_reason
from convert.inspect.systemd import started_by_systemd
from convert.inspect.sysv import started_by_sysv
from convert.inspect.tmpfiles import runtime_folders
from formats.core.finding import Action, Finding
from formats.core.tree import TreeIndex

_UNREAD_MANAGERS: tuple[tuple[bytes, str], ...] = (
    (b"etc/runlevels/default", "OpenRC"),
    (b"etc/init", "Upstart"),
    (b"etc/service", "runit"),
    (b"etc/s6-rc", "s6"),
    (b"etc/supervisor/conf.d", "supervisord"),
)
"""Folders whose services are not read yet: said, so that a shell as entrypoint is explained."""


def inspect_tree(index: TreeIndex, *, has_units: bool = False) -> Facts:
    """Return what a guest's tree says of itself.

    :param has_units: systemd's units are what starts, though systemd itself may not be there: the
        tree is made of packages.

    Never raises for what the guest's files hold: what makes no sense is passed over.

    :raises CorruptError: where a file cannot be read.
    """
    guest = Guest(index)
    accounts = Accounts(guest)
    init = init_system(guest)
    facts = Facts(
        operating_system=operating_system(guest),
        architecture=architecture(guest),
        init=init,
        runtime_folders=runtime_folders(guest, accounts),
    )
    if has_units or (init is not None and init.name == "systemd"):
        started = started_by_systemd(guest, accounts)
        facts = replace(
            facts,
            services=(*started.services, *started_by_sysv(guest, started.native)),
            sockets=started.sockets,
            timers=started.timers,
            default_target=started.default_target,
        )
    else:
        facts = replace(facts, services=started_by_sysv(guest))
    services = sorted(map(_judged, facts.services), key=lambda service: service.name)
    findings = (*_unread(guest, init), *guest.findings)
    return replace(facts, services=tuple(services), findings=findings)


def _judged(service: Service) -> Service:
    """Say of a service why it is no workload, if it is none."""
    reason = plumbing_reason(service.name) or service.not_workload
    return replace(service, not_workload=reason)


def _unread(guest: Guest, init: Init | None) -> Iterator[Finding]:
    for folder, manager in _UNREAD_MANAGERS:
        if init is not None and init.name == "systemd" and manager in {"OpenRC", "Upstart"}:
            continue
        children = guest.children(folder)
        if children:
            evidence = f"{len(children)} entries there; services of {manager} are not read yet"
            yield Finding("services-not-read", folder, Action.REPORTED, evidence)
