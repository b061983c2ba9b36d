"""What the container starts: one service in the foreground, an init system, or a shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from convert.inspect.accounts import Accounts
from convert.inspect.facts import DataFolder, Facts, Init, Port, RuntimeFolder, Service
from convert.inspect.foreground import Form, NeedsInit, foreground_form
from convert.inspect.guest import NAMES_NOT_READ, NOT_READ, Guest
from convert.inspect.kept_init import KeptInit, kept_init
from convert.inspect.text import can_be_said
from convert.inspect.timers import TIMER
from convert.reasons import Confidence
from formats.core.entry import Kind
from formats.core.errors import UnsupportedError, UsageError, quoted
from formats.core.origin import printable
from formats.core.tree import TreeIndex

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SHELLS = ("/bin/bash", "/bin/sh", "/bin/ash", "/bin/busybox")
_PRIVILEGED_BELOW = 1024

_LOGIN_SERVICES = frozenset({"ssh", "sshd", "dropbear"})
_SUPERVISOR = "supervisord"
_SUPERVISOR_SERVICES = frozenset({"supervisor", "supervisord"})


@dataclass(frozen=True, slots=True)
class Loser:
    """A service that did not become the entrypoint, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntrypointDecision:
    """The part of an image config that says what to run.

    :ivar entrypoint: the program; with ``cmd`` as its arguments, which a user may replace.
    :ivar user: ``uid`` or ``uid:gid``; None for root.
    :ivar env: ``PATH`` always; sorted by name.
    :ivar local_ports: those that only the machine itself can reach.
    :ivar service: the service that was chosen; None for an init system or a shell.
    :ivar init: the init system that stays, by its name; None where none does.
    :ivar runtime_folders: what has to be in the tree for it to start.
    :ivar volumes: folders with data of what is started, by path.
    :ivar evidence: why, one sentence a line, the decisive one first; printable.
    """

    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    evidence: tuple[str, ...]
    confidence: Confidence = Confidence.HIGH
    user: str | None = None
    working_dir: str | None = None
    env: tuple[tuple[str, str], ...] = (("PATH", PATH),)
    ports: tuple[Port, ...] = ()
    local_ports: tuple[Port, ...] = ()
    stop_signal: str | None = None
    service: str | None = None
    init: str | None = None
    runtime_folders: tuple[RuntimeFolder, ...] = ()
    volumes: tuple[DataFolder, ...] = ()
    losers: tuple[Loser, ...] = ()


def decide_entrypoint(
    facts: Facts,
    index: TreeIndex,
    *,
    is_meant: Callable[[Service], bool] | None = None,
    wanted: str | None = None,
) -> EntrypointDecision:
    """Choose what to run: the only workload, or else an init system, or else a shell.

    :param is_meant: which services can be chosen; the others belong to what the tree lies on.
    :param wanted: name of the service to take, whatever else starts.
    :raises UsageError: if no service of that name starts.
    :raises UnsupportedError: if it cannot run by itself.
    """
    guest = Guest(index)
    accounts = Accounts(guest)
    if wanted is not None:
        return _asked_for(wanted, facts, guest, accounts)
    forms, stuck, losers = _workloads(facts, guest, accounts, is_meant)
    if not forms and not stuck:
        forms = _last_resort(facts, guest, accounts)
    forms, given_up = _under_one_roof(forms)
    losers += given_up
    if len(forms) == 1 and not stuck:
        is_what = "no workload, but all" if forms[0].service.is_last_resort else "the only workload"
        decision = _one_service(forms[0], is_what)
        losers = [loser for loser in losers if loser.name != forms[0].service.name]
    elif forms or stuck:
        losers += [Loser(form.service.name, "it is one of several services") for form in forms]
        decision = _several_services(forms, stuck, facts, index)
    else:
        decision = _shell(index, _why_nothing(facts))
    return _printable(decision, losers)


def decide_each(
    facts: Facts, index: TreeIndex, *, is_meant: Callable[[Service], bool] | None = None
) -> tuple[tuple[EntrypointDecision, ...], tuple[Loser, ...]]:
    """Choose what to run where each workload gets a container of its own, by name.

    What keeps others running (supervisord) is left out where they can be started themselves.

    :return: the workloads that can run by themselves, and all other services.
    """
    guest = Guest(index)
    forms, _, losers = _workloads(facts, guest, Accounts(guest), is_meant)
    kept = [form for form in forms if form.service.manager == _SUPERVISOR]
    roofs = [form for form in forms if kept and form.service.name in _SUPERVISOR_SERVICES]
    losers += [Loser(form.service.name, "what it starts is started itself") for form in roofs]
    found = [_one_service(form, "a workload") for form in forms if form not in roofs]
    return tuple(_printable(decision, losers) for decision in found), tuple(losers)


def _printable(decision: EntrypointDecision, losers: Iterable[Loser]) -> EntrypointDecision:
    evidence = tuple(map(printable, decision.evidence))
    return replace(decision, losers=tuple(losers), evidence=evidence)


def _workloads(
    facts: Facts,
    guest: Guest,
    accounts: Accounts,
    is_meant: Callable[[Service], bool] | None,
) -> tuple[list[Form], list[NeedsInit], list[Loser]]:
    """Return what can run by itself, what an init system has to run, and what is not run."""
    forms: list[Form] = []
    stuck: list[NeedsInit] = []
    losers: list[Loser] = []
    for service in facts.services:
        if service.not_workload is not None:
            losers.append(Loser(service.name, printable(service.not_workload)))
            continue
        if is_meant is not None and not is_meant(service):
            losers.append(Loser(service.name, "it is a service of the base image"))
            continue
        form = foreground_form(service, facts, guest, accounts)
        if isinstance(form, Form):
            forms.append(form)
            continue
        losers.append(Loser(service.name, printable(form.reason)))
        if isinstance(form, NeedsInit):
            stuck.append(form)
    return forms, stuck, losers


def _asked_for(wanted: str, facts: Facts, guest: Guest, accounts: Accounts) -> EntrypointDecision:
    """Return the decision for the service that the user names."""
    service = _named(wanted, facts.services)
    form = foreground_form(service, facts, guest, accounts)
    if not isinstance(form, Form):
        raise UnsupportedError(
            f"{quoted(service.name)} cannot be started by itself: {printable(form.reason)}",
            hint="--entrypoint says what to start instead",
        )
    others = (other for other in facts.services if other is not service)
    return _printable(
        replace(_one_service(form, "what was asked for, and"), confidence=Confidence.HIGH),
        [Loser(other.name, f"{printable(service.name)} was asked for") for other in others],
    )


def _named(wanted: str, services: Sequence[Service]) -> Service:
    """Return a service by its name, or by that of its template if that is unmistakable."""
    name = wanted.removesuffix(".service")
    found = [service for service in services if service.name == name]
    found = found or [item for item in services if item.name.partition("@")[0] == name]
    if len(found) == 1:
        return found[0]
    of_machine = [item.name for item in services if item.not_workload is not None]
    names = sorted(item.name for item in found or services if item.name not in of_machine)
    listed = printable(", ".join(names or of_machine)) or "none starts by itself"
    what = "several services are called" if found else "no service that starts is called"
    raise UsageError(f"{what} {quoted(wanted)}", hint=f"there are: {listed}")


def _under_one_roof(forms: list[Form]) -> tuple[list[Form], list[Loser]]:
    """Settle who starts what supervisord keeps: itself if that is several, else the one program."""
    programs = [form for form in forms if form.service.manager == _SUPERVISOR]
    roofs = [form for form in forms if form.service.name in _SUPERVISOR_SERVICES]
    if not programs or not roofs:
        return forms, []
    if len(programs) == 1:
        why = f"it keeps only {programs[0].service.name}, which is started itself"
        return [form for form in forms if form not in roofs], [
            Loser(form.service.name, why) for form in roofs
        ]
    ports = tuple(port for form in programs for port in form.ports)
    roof = replace(roofs[0], ports=(*roofs[0].ports, *ports))
    kept = [form for form in forms if form not in programs and form not in roofs]
    return [*kept, roof], [
        Loser(form.service.name, f"{roof.service.name} starts it") for form in programs
    ]


def _last_resort(facts: Facts, guest: Guest, accounts: Accounts) -> list[Form]:
    """Return what is no workload and better than nothing: cron with its jobs, or remote login."""
    found = {
        service.name: form
        for service in facts.services
        if service.is_last_resort
        and isinstance(form := foreground_form(service, facts, guest, accounts), Form)
    }
    is_login = [name for name in found if name in _LOGIN_SERVICES]
    is_scheduler = [name for name in found if name not in _LOGIN_SERVICES]
    has_jobs = any(job.evidence.rule != TIMER for job in facts.jobs)  # cron starts no timers
    chosen = is_scheduler if has_jobs and is_scheduler else is_login
    return [found[name] for name in chosen[:1]]


def _several_services(
    forms: list[Form], stuck: list[NeedsInit], facts: Facts, index: TreeIndex
) -> EntrypointDecision:
    names = sorted([*(form.service.name for form in forms), *(item.service.name for item in stuck)])
    if len(names) > 1:
        why = f"{len(names)} services start ({', '.join(names)})"
    else:
        why = f"{names[0]} cannot run by itself: {stuck[0].reason}"
    if facts.init is None:
        return _shell(index, f"{why}, and there is no init system")
    return _init_system(facts.init, kept_init(facts.init, Guest(index)), forms, why)


def _one_service(form: Form, is_what: str = "the only workload") -> EntrypointDecision:
    service = form.service
    environment = {"PATH": PATH} | dict(form.environment)
    return EntrypointDecision(
        entrypoint=form.argv[: form.fixed_words],
        cmd=form.argv[form.fixed_words :],
        confidence=Confidence.LOW if service.is_last_resort else Confidence.HIGH,
        user=form.user,
        working_dir=_folder_name(service.working_dir),
        env=tuple(sorted(environment.items())),
        ports=tuple(port for port in form.ports if not port.is_local),
        local_ports=tuple(port for port in form.ports if port.is_local),
        stop_signal=form.stop_signal,
        service=service.name,
        runtime_folders=form.runtime_folders,
        volumes=form.data,
        evidence=(
            f"{service.name} is {is_what} that starts: {service.enabled_by}",
            *form.evidence,
            *_about_ports(form),
        ),
    )


def _folder_name(path: str | None) -> str | None:
    """Return a working folder as a config can hold it."""
    return path if path and path.startswith("/") and can_be_said(path) else None


def _about_ports(form: Form) -> Iterator[str]:
    for port in form.ports:
        if port.is_local:
            yield f"not exposed: {port}, only for the machine itself, {port.evidence}"
        elif port.number < _PRIVILEGED_BELOW and form.user is not None:
            yield f"{port} may need CAP_NET_BIND_SERVICE for user {form.user}"


def _init_system(init: Init, kept: KeptInit, forms: list[Form], why: str) -> EntrypointDecision:
    found = (port for form in forms for port in form.ports if not port.is_local)
    ports = {(port.number, port.protocol): port for port in found}
    volumes = {folder.path: folder for form in forms for folder in form.data}
    return EntrypointDecision(
        entrypoint=kept.argv,
        cmd=(),
        confidence=Confidence.MEDIUM,
        env=(("PATH", PATH), ("container", kept.container)),
        ports=tuple(ports[key] for key in sorted(ports)),
        volumes=tuple(volumes[path] for path in sorted(volumes)),
        stop_signal=kept.stop_signal,
        init=init.name,
        evidence=(
            f"{why}, so the init system stays: {init.name}, {init.evidence}",
            *filter(None, (kept.why,)),
        ),
    )


def _shell(index: TreeIndex, why: str) -> EntrypointDecision:
    for shell in _SHELLS:
        entry = index.resolve(shell.encode())
        if entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.mode & 0o111:
            cmd = (shell, "sh") if shell.endswith("busybox") else (shell,)
            return EntrypointDecision((), cmd, (f"a shell: {why}",), Confidence.LOW)
    evidence = f"nothing to start: {why}, and there is no shell"
    return EntrypointDecision((), (), (evidence,), Confidence.LOW)


def _why_nothing(facts: Facts) -> str:
    unread = [
        f"/{printable(finding.path)}: {finding.evidence}"
        for finding in facts.findings
        if finding.rule in {NOT_READ, NAMES_NOT_READ}
    ]
    if unread:
        return f"no service was found that it could run ({'; '.join(unread)})"
    if facts.services:
        return f"none of the services that start ({len(facts.services)}) is one to run here"
    return "no service starts by itself"
