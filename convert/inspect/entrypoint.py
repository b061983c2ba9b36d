"""What the container starts: one service in the foreground, an init system, or a shell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from convert.inspect.accounts import Accounts
from convert.inspect.facts import Facts, Init, Port, RuntimeFolder
from convert.inspect.foreground import Form, NeedsInit, foreground_form
from formats.core.entry import Kind
from formats.core.tree import TreeIndex

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SHELLS = ("/bin/bash", "/bin/sh", "/bin/ash", "/bin/busybox")
_SYSTEMD_STOP_SIGNAL = "SIGRTMIN+3"
"""systemd(1), "Signals": shut down in order."""


@dataclass(frozen=True, slots=True)
class Loser:
    """A service that did not become the entrypoint, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntrypointDecision:
    """The part of an image config that says what to run.

    :ivar entrypoint: the program; with ``cmd`` as its arguments, which a user may replace.
    :ivar user: ``uid:gid``; None for root.
    :ivar env: ``PATH`` always; sorted by name.
    :ivar service: the service that was chosen; None for an init system or a shell.
    :ivar runtime_folders: what has to be in the tree for it to start.
    :ivar evidence: why, one sentence a line, the decisive one first.
    """

    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    evidence: tuple[str, ...]
    user: str | None = None
    working_dir: str | None = None
    env: tuple[tuple[str, str], ...] = (("PATH", PATH),)
    ports: tuple[Port, ...] = ()
    stop_signal: str | None = None
    service: str | None = None
    runtime_folders: tuple[RuntimeFolder, ...] = ()
    losers: tuple[Loser, ...] = ()


def decide_entrypoint(facts: Facts, index: TreeIndex) -> EntrypointDecision:
    """Choose what to run: the only workload, or else an init system, or else a shell."""
    accounts = Accounts(index)
    losers: list[Loser] = []
    forms: list[Form] = []
    stuck: list[NeedsInit] = []
    for service in facts.services:
        if service.not_workload is not None:
            losers.append(Loser(service.name, service.not_workload))
            continue
        form = foreground_form(service, facts, index, accounts)
        if isinstance(form, Form):
            forms.append(form)
            continue
        losers.append(Loser(service.name, form.reason))
        if isinstance(form, NeedsInit):
            stuck.append(form)
    if len(forms) == 1 and not stuck:
        return replace(_one_service(forms[0], facts), losers=tuple(losers))
    losers += [Loser(form.service.name, "it is one of several services") for form in forms]
    return replace(_no_single_service(forms, stuck, facts, index), losers=tuple(losers))


def _no_single_service(
    forms: list[Form], stuck: list[NeedsInit], facts: Facts, index: TreeIndex
) -> EntrypointDecision:
    if not forms and not stuck:
        return _shell(index, _why_nothing(facts))
    names = sorted([*(form.service.name for form in forms), *(item.service.name for item in stuck)])
    if len(names) > 1:
        why = f"{len(names)} services start ({', '.join(names)})"
    else:
        why = f"{names[0]} cannot run by itself: {stuck[0].reason}"
    if facts.init is None:
        return _shell(index, f"{why}, and there is no init system")
    return _init_system(facts.init, forms, why)


def _one_service(form: Form, facts: Facts) -> EntrypointDecision:
    service = form.service
    environment = {"PATH": PATH} | dict(form.environment)
    folders = {folder.path: folder for folder in facts.runtime_folders}
    folders |= {folder.path: folder for folder in form.runtime_folders}
    return EntrypointDecision(
        entrypoint=form.argv[:1],
        cmd=form.argv[1:],
        user=form.user,
        working_dir=service.working_dir,
        env=tuple(sorted(environment.items())),
        ports=form.ports,
        stop_signal=form.stop_signal,
        service=service.name,
        runtime_folders=tuple(folders[path] for path in sorted(folders)),
        evidence=(
            f"{service.name} is the only workload that starts: {service.enabled_by}",
            *form.evidence,
        ),
    )


def _init_system(init: Init, forms: list[Form], why: str) -> EntrypointDecision:
    ports = {(port.number, port.protocol): port for form in forms for port in form.ports}
    return EntrypointDecision(
        entrypoint=(init.path,),
        cmd=(),
        env=(("PATH", PATH), ("container", "oci")),
        ports=tuple(ports[key] for key in sorted(ports)),
        stop_signal=_SYSTEMD_STOP_SIGNAL if init.name == "systemd" else None,
        evidence=(f"{why}, so the init system stays: {init.name}, {init.evidence}",),
    )


def _shell(index: TreeIndex, why: str) -> EntrypointDecision:
    for shell in _SHELLS:
        entry = index.resolve(shell.encode())
        if entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK} and entry.mode & 0o111:
            cmd = (shell, "sh") if shell.endswith("busybox") else (shell,)
            return EntrypointDecision((), cmd, (f"a shell: {why}",))
    return EntrypointDecision((), (), (f"nothing to start: {why}, and there is no shell",))


def _why_nothing(facts: Facts) -> str:
    unread = [f"/{finding.path.decode()}: {finding.evidence}" for finding in facts.findings]
    if unread:
        return f"no service was found that it could run ({'; '.join(unread)})"
    if facts.services:
        return f"all {len(facts.services)} services that start belong to the operating system"
    return "no service starts by itself"
