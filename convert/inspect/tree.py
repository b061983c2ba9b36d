"""Inspection from top to bottom: a tree in, facts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from convert.inspect.accounts import Accounts
from convert.inspect.arch import architecture
from convert.inspect.cron import periodic_jobs
from convert.inspect.facts import Facts, Service
from convert.inspect.guest import Guest
from convert.inspect.init import init_system
from convert.inspect.machine_environment import machine_environment, with_machine_environment
from convert.inspect.openrc import started_by_openrc
from convert.inspect.os_release import operating_system
from convert.inspect.plumbing import plumbing_of
from convert.inspect.supervised import started_by_supervision
from convert.inspect.supervisord import started_by_supervisord
from convert.inspect.systemd import started_by_systemd
from convert.inspect.sysv import started_by_sysv
from convert.inspect.tmpfiles import runtime_folders
from convert.inspect.upstart import started_by_upstart
from formats.core.tree import TreeIndex


def inspect_tree(
    index: TreeIndex, *, has_units: bool = False, is_all_packaged: bool = False
) -> Facts:
    """Return what a guest's tree says of itself.

    :param has_units: systemd's units are what starts, though systemd itself may not be there: the
        tree is made of packages.
    :param is_all_packaged: nothing else is in it, so there is nothing to find beside services.

    Never raises for what the guest's files hold: what makes no sense is passed over.

    :raises CorruptError: where a file cannot be read.
    """
    guest = Guest(index)
    accounts = Accounts(guest)
    facts = Facts(
        operating_system=operating_system(guest),
        architecture=architecture(guest),
        init=init_system(guest),
        runtime_folders=runtime_folders(guest, accounts),
    )
    if _is_systemd(facts, has_units=has_units):
        started = started_by_systemd(guest, accounts)
        facts = replace(
            facts,
            services=(*started.services, *started_by_sysv(guest, started.native)),
            sockets=started.sockets,
            timers=started.timers,
            jobs=started.jobs,
            default_target=started.default_target,
        )
    else:
        facts = replace(facts, services=_started_without_systemd(guest))
    found = _without_doubles(
        (*facts.services, *started_by_supervision(guest), *started_by_supervisord(guest))
    )
    environment = machine_environment(guest, has_systemd=_is_systemd(facts, has_units=has_units))
    judged = (with_machine_environment(_judged(service), environment) for service in found)
    services = sorted(judged, key=lambda service: service.name)
    jobs = (*facts.jobs, *periodic_jobs(guest))
    facts = replace(facts, services=tuple(services), environment=environment, jobs=jobs)
    facts = replace(facts, findings=tuple(guest.findings))
    if is_all_packaged:
        return facts
    from convert.inspect.beyond import beyond_services  # noqa: PLC0415 - a package starts without

    return beyond_services(index, facts)


def _started_without_systemd(guest: Guest) -> tuple[Service, ...]:
    """Return what OpenRC and Upstart start, and SysV scripts that neither has a service for."""
    native = (*started_by_openrc(guest), *started_by_upstart(guest))
    names = {service.name for service in native}
    scripts = (service for service in started_by_sysv(guest) if service.name not in names)
    return (*native, *scripts)


def _without_doubles(services: Iterable[Service]) -> Iterator[Service]:
    """Yield each service once: what several managers have under one name is the first's."""
    seen: set[str] = set()
    for service in services:
        if service.name not in seen:
            seen.add(service.name)
            yield service


def _is_systemd(facts: Facts, *, has_units: bool) -> bool:
    return has_units or (facts.init is not None and facts.init.name == "systemd")


def _judged(service: Service) -> Service:
    """Say of a service why it is no workload, if it is none."""
    group = plumbing_of(service.name)
    if group is None:
        return service
    return replace(service, not_workload=group.reason, is_last_resort=group.is_last_resort)
