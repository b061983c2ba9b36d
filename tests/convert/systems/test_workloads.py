"""Real Debian servers with one workload each: converted, started with the generated config alone,
asked on the port that it exposes, and stopped by the signal that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.recipes import debian_workloads as systems
from tests.images.recipes.debian_systems import System, disk_of
from tests.support.running import (
    ELSEWHERE,
    Image,
    Process,
    Running,
    Stop,
    converted,
    running,
    user_of_disk,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True, slots=True)
class Workload:
    """A system, and what is to be seen of what it is for.

    :ivar user: whom the first process runs as: the system's own name for them.
    :ivar workers: whom all others run as; the same where that is not said.
    :ivar volumes: where it keeps its data; patterns.
    :ivar program: matches the beginning of the first process's command: arguments end with NUL.
    :ivar ask: asks it on its port, as another machine would.
    :ivar exit_code: what it ends with then; 143 where that is the signal itself.
    :ivar last_words: what it logs only when it ends in order; empty where it logs nothing.
    """

    system: System
    port: int
    user: str
    program: str
    ask: Callable[[Running], str]
    answer: str
    stop_signal: str | None = None
    exit_code: int = 0
    last_words: str = ""
    workers: str = ""
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """What was seen of a workload while its container ran, and after it was stopped."""

    workload: Workload
    disk: Path
    image: Image
    answer: str
    processes: list[Process]
    stop: Stop
    log: str


@pytest.fixture(scope="class")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    workload: Workload = request.cls.workload
    name = workload.system.name
    disk = disk_of(workload.system)
    image = converted(disk, tmp_path_factory.mktemp(name) / "out")
    with running(image, name) as container:
        answer = workload.ask(container)
        processes = container.processes()
        stop = container.stop()
        return Served(
            workload, disk, image, answer, processes, stop, container.engine.log(container.name)
        )


class ServedSystem:
    """What holds for every workload; a class each, so that two of them are tried at once."""

    workload: Workload

    def test_answers_on_the_port_that_its_image_exposes(self, served: Served) -> None:
        assert served.image.ports == [self.workload.port]
        assert self.workload.answer in served.answer

    def test_runs_as_the_user_that_the_machine_ran_it_as(self, served: Served) -> None:
        user_id = user_of_disk(served.disk, self.workload.user)
        assert served.image.user == user_id
        assert served.processes[0].user_id == user_id
        workers = user_of_disk(served.disk, self.workload.workers or self.workload.user)
        assert {process.user_id for process in served.processes[1:]} <= {workers}

    def test_is_the_first_process_and_no_init_system_is_there(self, served: Served) -> None:
        assert re.match(self.workload.program, served.processes[0].command)
        assert not any("init" in process.command for process in served.processes)

    def test_declares_where_it_keeps_its_data_as_a_volume(self, served: Served) -> None:
        volumes = sorted(served.image.config.get("Volumes", ()))
        for pattern, volume in zip(self.workload.volumes, volumes, strict=True):
            assert re.fullmatch(pattern, volume)

    def test_ends_in_order_by_its_own_signal(self, served: Served) -> None:
        assert served.image.config.get("StopSignal") == self.workload.stop_signal
        assert served.stop.is_in_order, served.stop
        assert served.stop.exit_code == self.workload.exit_code
        assert self.workload.last_words in served.log


class TestPostgresql(ServedSystem):
    workload = Workload(
        systems.POSTGRESQL,
        port=5433,
        user="postgres",
        program=r"/usr/lib/postgresql/\d+/bin/postgres\0-c\0config_file=/etc/postgresql/\d+/main/",
        ask=lambda container: container.ran(
            "psql",
            f"postgresql://shop:beans@{ELSEWHERE}:5433/shop",
            "--tuples-only",
            "--command=SELECT name FROM goods",
        ),
        answer="forty-two beans",
        stop_signal="SIGINT",
        last_words="database system is shut down",
        volumes=(r"/var/lib/postgresql/\d+/main",),
    )


class TestMariadb(ServedSystem):
    workload = Workload(
        systems.MARIADB,
        port=3307,
        user="mysql",
        program=r"/usr/sbin/mariadbd\0",
        ask=lambda container: container.ran(
            *("mariadb", f"--host={ELSEWHERE}", "--port=3307", "--user=shop", "--password=beans"),
            "--execute=SELECT name FROM shop.goods",
        ),
        answer="forty-two beans",
        stop_signal="SIGTERM",
        last_words="mariadbd: Shutdown complete",
        volumes=("/var/lib/mysql",),
    )


class TestRedis(ServedSystem):
    workload = Workload(
        systems.REDIS,
        port=6380,
        user="redis",
        program=r"/usr/bin/redis-server 0\.0\.0\.0:6380",
        ask=lambda container: container.asked(6380, "GET greeting\r\nQUIT\r\n"),
        answer="forty-two beans",
        volumes=("/var/lib/redis",),
    )


class TestApacheWithPhp(ServedSystem):
    workload = Workload(
        systems.APACHE_WITH_PHP,
        port=8081,
        user="root",
        workers="www-data",
        program=r"/usr/sbin/apache2\0-DFOREGROUND\0",
        ask=lambda container: container.got(8081, "/"),
        answer="42 beans by apache2handler",
        stop_signal="SIGWINCH",
    )


class TestTomcat(ServedSystem):
    workload = Workload(
        systems.TOMCAT,
        port=8181,
        user="tomcat",
        program=r"/usr/lib/jvm/[^\0]+/bin/java\0.*\0org\.apache\.catalina\.startup\.Bootstrap\0start\0",
        ask=lambda container: container.got(8181, "/shop/"),
        answer="42 beans",
        exit_code=143,
        last_words="Destroying ProtocolHandler",
    )


class TestPythonApplication(ServedSystem):
    workload = Workload(
        systems.PYTHON_APPLICATION,
        port=8082,
        user="shop",
        program=r"/opt/shop/venv/bin/python3\0/opt/shop/venv/bin/gunicorn\0",
        ask=lambda container: container.got(8082, "/"),
        answer="forty-two beans for 997",
        last_words="Shutting down: Master",
        volumes=("/var/lib/shop",),
    )


class TestNodeApplication(ServedSystem):
    workload = Workload(
        systems.NODE_APPLICATION,
        port=8083,
        user="notes",
        program=r"/bin/sh\0-c\0.*\0/usr/bin/node\0server\.js\0",
        ask=lambda container: container.got(8083, "/"),
        answer="forty-two notes for 997 in /srv/notes",
        exit_code=143,
    )
