"""Machines that more than one systemd unit starts, or another init system: converted, started with
the generated config alone, asked on every port, and stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.recipes import debian_inits as systems
from tests.images.recipes.debian_systems import System, disk_of
from tests.support.running import (
    Image,
    Process,
    Running,
    Stop,
    converted,
    running,
    user_of_disk,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_PING = "PING\r\nQUIT\r\n"


def web(port: int) -> Callable[[Running], str]:
    return lambda container: container.got(port, "/")


def redis(port: int) -> Callable[[Running], str]:
    return lambda container: container.asked(port, _PING)


@dataclass(frozen=True, slots=True)
class Machine:
    """A system, and what is to be seen of it.

    :ivar ports: those that its image exposes.
    :ivar questions: each with a part of its answer, in the order of asking.
    :ivar first: what the command of the first process begins with, arguments between NUL bytes.
    :ivar users: whom the process runs as whose command has this in it.
    :ivar last_words: what it logs only when it ends in order; empty where it logs nothing.
    """

    system: System
    ports: list[int]
    questions: tuple[tuple[Callable[[Running], str], str], ...]
    first: str
    users: dict[str, str]
    stop_signal: str | None = None
    last_words: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a machine while its container ran, and after it was stopped."""

    disk: Path
    image: Image
    answers: list[str]
    processes: list[Process]
    stop: Stop
    log: str


@pytest.fixture(scope="class")
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    machine: Machine = request.cls.machine
    name = machine.system.name
    disk = disk_of(machine.system)
    image = converted(disk, tmp_path_factory.mktemp(name) / "out", "--compression=none")
    with running(image, name) as container:
        answers = [ask(container) for ask, _ in machine.questions]
        processes = container.processes()
        stop = container.stop()
        return Seen(disk, image, answers, processes, stop, container.engine.log(container.name))


class StartedMachine:
    """What holds for every machine; a class each, so that two of them are tried at once."""

    machine: Machine

    def test_everything_on_it_answers(self, seen: Seen) -> None:
        assert seen.image.ports == self.machine.ports
        for answer, (_, expected) in zip(seen.answers, self.machine.questions, strict=True):
            assert expected in answer

    def test_each_process_runs_as_on_the_machine(self, seen: Seen) -> None:
        for program, user in self.machine.users.items():
            found = {item.user_id for item in seen.processes if program in item.command}
            assert found == {user_of_disk(seen.disk, user)}, program

    def test_the_first_process_is_what_was_decided(self, seen: Seen) -> None:
        assert seen.processes[0].command.startswith(self.machine.first)

    def test_it_ends_in_order(self, seen: Seen) -> None:
        assert seen.image.config.get("StopSignal") == self.machine.stop_signal
        assert seen.stop.is_in_order, seen.log
        assert self.machine.last_words in seen.log


class TestSysv(StartedMachine):
    machine = Machine(
        systems.SYSV,
        ports=[8101],
        questions=((web(8101), systems.PAGE),),
        first="/usr/sbin/lighttpd\0-f\0/etc/lighttpd/lighttpd.conf\0-D\0",
        users={"lighttpd": "www-data"},
        stop_signal="SIGINT",
    )


class TestSysvWithTwoServices(StartedMachine):
    machine = Machine(
        systems.SYSV_WITH_TWO,
        ports=[6382, 8102],
        questions=((web(8102), systems.PAGE), (redis(6382), "+PONG")),
        first="/bin/sh\0-c\0export RUNLEVEL=2 PREVLEVEL=N; ",
        users={"/usr/sbin/lighttpd\0-f": "www-data", "redis-server": "redis"},
        last_words="Stopping redis-server",
    )


class TestSystemdWithTwoServices(StartedMachine):
    machine = Machine(
        systems.SYSTEMD_WITH_TWO,
        ports=[6383, 8103],
        questions=((web(8103), systems.PAGE), (redis(6383), "+PONG")),
        first="/sbin/init\0",
        users={"/usr/sbin/lighttpd\0-D": "www-data", "redis-server": "redis"},
        stop_signal="SIGRTMIN+3",
    )


class TestOpenrcWithTwoServices(StartedMachine):
    machine = Machine(
        systems.OPENRC_WITH_TWO,
        ports=[8104, 8105],
        questions=((web(8104), systems.PAGE), (web(8105), f"{systems.PAGE}, noted")),
        first="/bin/sh\0-c\0export RUNLEVEL=2 PREVLEVEL=N; ",
        users={"/usr/sbin/lighttpd\0-f": "www-data", "httpd\0-f\0-p\x008105": "www-data"},
        last_words="Stopping web server: lighttpd",
    )


class TestRunitWithTwoServices(StartedMachine):
    machine = Machine(
        systems.RUNIT_WITH_TWO,
        ports=[8108],
        questions=((web(8108), systems.PAGE), (web(8109), f"{systems.PAGE}, noted")),
        first="/bin/sh\0-c\0stop() { /etc/runit/3; exit 0; }; ",
        users={"\x008108\0": "www-data", "\x008109\0": "www-data"},
        last_words="Waiting for services to stop",
    )


class TestSupervisord(StartedMachine):
    machine = Machine(
        systems.SUPERVISED,
        ports=[8106, 8107],
        questions=((web(8106), systems.PAGE), (web(8107), f"{systems.PAGE}, noted")),
        first="/usr/bin/python3\0/usr/bin/supervisord\0-c\0/etc/supervisor/supervisord.conf\0-n\0",
        users={"\x008106\0": "www-data", "\x008107\0": "www-data"},
        last_words="stopped: shop (terminated by SIGINT)",
    )


class TestCronAlone(StartedMachine):
    machine = Machine(
        systems.CRON_ALONE,
        ports=[],
        questions=((web(8110), systems.PAGE),),
        first="/bin/sh\0-c\0",
        users={"/usr/sbin/cron\0-f\0": "root", "/usr/bin/busybox\0httpd": "www-data"},
    )


class TestRemoteLoginAlone(StartedMachine):
    machine = Machine(
        systems.SSH_ALONE,
        ports=[8122],
        questions=(
            (lambda container: container.ran("ssh-keyscan", "-p", "8122", "127.0.0.1"), "ssh-"),
        ),
        first="sshd: /usr/sbin/sshd -D -e [listener]",
        users={"sshd": "root"},
        last_words="Received signal 15; terminating.",
    )

    def test_each_container_makes_host_keys_of_its_own(self, seen: Seen) -> None:
        """Those of the machine are not in the image."""
        with running(seen.image, "another") as container:
            keys = container.ran("ssh-keyscan", "-p", "8122", "127.0.0.1")
        assert sorted(keys.split()) != sorted(seen.answers[0].split())
