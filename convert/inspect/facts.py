"""The facts that inspection finds; every one names the file and the line it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from convert.inspect.evidence import Evidence, OperatingSystem
from formats.core.finding import Finding
from formats.core.package import Package


@dataclass(frozen=True, slots=True)
class Architecture:
    """For which processor the guest's programs are made, in the words of an OCI image config.

    :ivar name: a GOARCH; None where no program of the guest tells.
    :ivar variant: ``v7`` and the like, where the OCI specification has one.
    :ivar reason: what was looked at where ``name`` is None.
    """

    name: str | None
    variant: str | None = None
    evidence: Evidence | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Init:
    """The init system.

    :ivar name: ``systemd``, ``sysvinit``, ``busybox``, ``openrc``, ``upstart``, ``runit``, ``s6``.
    :ivar path: absolute, as the guest's kernel would start it.
    """

    name: str
    path: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Command:
    """One command line, split into words, nothing left to expand."""

    argv: tuple[str, ...]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class MachineVariable:
    """A variable that the machine gives to all services."""

    name: str
    value: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class RuntimeFolder:
    """A folder that must be there before a service starts, as tmpfiles.d(5) would make it."""

    path: bytes
    mode: int
    uid: int
    gid: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Service:
    """A service that the guest starts by itself.

    :ivar name: without its suffix: ``nginx``, ``postgresql@15-main``.
    :ivar manager: ``systemd`` or ``sysv``.
    :ivar kind: systemd's ``Type=``; ``forking`` for a SysV script.
    :ivar start_pre: what runs before.
    :ivar start: more than one only for ``oneshot``.
    :ivar start_post: what runs once it has started.
    :ivar environment: sorted by name.
    :ivar enabled_by: the link that makes it start.
    :ivar root_dir: what it has for its root folder; None for that of the system.
    :ivar umask: as its unit states it.
    :ivar not_workload: why it is not what the machine was set up for; None where it is.
    :ivar is_last_resort: it is no workload, and still better than nothing at all.
    """

    name: str
    manager: str
    kind: str
    evidence: Evidence
    enabled_by: Evidence
    start_pre: tuple[Command, ...] = ()
    start: tuple[Command, ...] = ()
    start_post: tuple[Command, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    group: str | None = None
    working_dir: str | None = None
    runtime_folders: tuple[RuntimeFolder, ...] = ()
    kill_signal: str | None = None
    root_dir: str | None = None
    umask: str | None = None
    not_workload: str | None = None
    is_last_resort: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A periodic job, of cron or a timer; the container runs none.

    :ivar time: as crontab(5) has it: ``*/5 * * * *``, ``@daily``; or as ``OnCalendar=`` of
        systemd.timer(5) does: ``*-*-* 03:00``.
    :ivar user: whom it runs as.
    :ivar command: one line.
    """

    time: str
    user: str
    command: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Port:
    """A port that something listens on.

    :ivar protocol: ``tcp``, ``udp`` or ``sctp``.
    :ivar confidence: ``high`` from a config file, ``low`` from the program's name alone.
    :ivar is_local: only for the machine itself: on a loopback address.
    """

    number: int
    protocol: str
    evidence: Evidence
    confidence: str = "high"
    is_local: bool = False

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket unit: ports that systemd itself listens on, for the service it starts.

    :ivar service: as in :class:`Service`; the first instance where each connection has its own.
    :ivar is_per_connection: whether it starts a process for each connection, as inetd(8) does.
    """

    name: str
    service: str
    ports: tuple[Port, ...]
    evidence: Evidence
    is_per_connection: bool = False


@dataclass(frozen=True, slots=True)
class Application:
    """Software that was put on the system by hand, or that a runtime serves.

    :ivar kind: ``java``, ``tomcat-webapp``, ``jetty-webapp``, ``wildfly-deployment``, ``node``,
        ``python-venv``, ``python``, ``php-site``, ``ruby``, ``dotnet``, ``program``.
    :ivar path: its file or folder in the tree.
    :ivar version: as its own metadata has it.
    :ivar runtime: what runs it: ``node 18``, ``/usr/bin/python3.11``.
    :ivar start: how its own metadata says that it is started.
    """

    kind: str
    name: str
    path: bytes
    evidence: Evidence
    version: str | None = None
    runtime: str | None = None
    start: Command | None = None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something of the machine that does not work in a container, or not by itself.

    :ivar kind: ``kernel-module``, ``sysctl``, ``remote-mount``, ``firewall``, ``address`` …
    :ivar what: the thing: ``net.ipv4.ip_forward = 1``, ``nas:/export on /srv/data``.
    :ivar advice: what to do instead, for a person.
    """

    kind: str
    what: str
    advice: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A folder that a service keeps its data in.

    :ivar path: absolute, as a config has it.
    :ivar service: as in :class:`Service`; None where it is not known whose it is.
    """

    path: str
    evidence: Evidence
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A user whom people log in as, or whom something was made for by hand.

    :ivar shell: that of passwd(5).
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was found out about a tree.

    :ivar environment: what the machine gives to all services; in theirs already.
    :ivar packages: what the databases of package managers have as installed.
    :ivar obstacles: what will not work in a container, the same place never twice.
    :ivar volumes: data folders of the services and applications that can be chosen.
    :ivar accounts: people; accounts of daemons are left out.
    :ivar jobs: what cron and timers would start.
    :ivar runtime_folders: what systemd-tmpfiles(8) would make below ``/run`` at boot.
    """

    operating_system: OperatingSystem | None
    architecture: Architecture
    init: Init | None
    services: tuple[Service, ...] = ()
    sockets: tuple[Socket, ...] = ()
    timers: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()
    default_target: str | None = None
    runtime_folders: tuple[RuntimeFolder, ...] = ()
    environment: tuple[MachineVariable, ...] = ()
    packages: tuple[Package, ...] = ()
    applications: tuple[Application, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    volumes: tuple[DataFolder, ...] = ()
    accounts: tuple[Account, ...] = ()
    findings: tuple[Finding, ...] = ()
