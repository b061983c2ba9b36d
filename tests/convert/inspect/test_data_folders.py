"""Where services keep their data, and choosing a service by its name."""

from __future__ import annotations

import pytest

from convert.inspect.data_folders import _table
from convert.inspect.entrypoint import decide_each
from convert.inspect.programs import programs
from convert.inspect.tree import inspect_tree
from convert.reasons import Confidence
from formats.core.errors import UnsupportedError, UsageError
from tests.support.guests import SYSTEM, decide, guest_index, service

PROGRAMS = (
    SYSTEM
    + """
f 755 0:0 usr/bin/redis-server x
f 755 0:0 usr/sbin/mariadbd x
f 755 0:0 usr/bin/mongod x
f 755 0:0 usr/bin/postgres x
f 755 0:0 usr/sbin/sshd x
d 755 0:0 var/lib/redis
d 755 0:0 var/lib/mysql
d 755 0:0 var/lib/jenkins
"""
)


def folders(
    command: str, *settings: str, files: dict[str, str] | None = None, name: str = "x"
) -> list[tuple[str, str]]:
    """Return the data folders of the only service, each with what says so."""
    found = decide({f"{name}.service": service(command, *settings)}, files, PROGRAMS)
    return [(folder.path, str(folder.evidence)) for folder in found.volumes]


def test_a_state_directory_is_one() -> None:
    ((path, evidence),) = folders("/usr/bin/app", "StateDirectory=app", "CacheDirectory=app")
    assert path == "/var/lib/app"
    assert evidence.endswith("x.service:3 (systemd-statedirectory)")


def test_what_the_configuration_names_counts_even_if_it_is_not_there() -> None:
    files = {"etc/redis/redis.conf": "port 6379\ndir /srv/redis\n"}
    assert folders("/usr/bin/redis-server /etc/redis/redis.conf", files=files) == [
        ("/srv/redis", "/etc/redis/redis.conf:2 (redis-config)")
    ]


def test_the_usual_folder_counts_if_it_is_there() -> None:
    assert folders("/usr/bin/redis-server") == [
        ("/var/lib/redis", "/var/lib/redis (data-folder-of-redis)")
    ]
    assert folders("/usr/bin/mongod") == []


@pytest.mark.parametrize(
    ("command", "files", "path"),
    [
        ("/usr/sbin/mariadbd --datadir=/data/db", {}, "/data/db"),
        ("/usr/sbin/mariadbd", {"etc/my.cnf": "[mysqld]\ndatadir = /srv/db\n"}, "/srv/db"),
        ("/usr/bin/mongod", {"etc/mongod.conf": "storage:\n  dbPath: /srv/m\n"}, "/srv/m"),
        ("/usr/bin/postgres -D /srv/pg", {}, "/srv/pg"),
        ("/usr/bin/redis-server --dir /srv/r/../q/", {}, "/srv/q"),
    ],
)
def test_arguments_and_files_say_where(command: str, files: dict[str, str], path: str) -> None:
    assert [found for found, _ in folders(command, files=files)] == [path]


def test_services_without_a_row_of_their_program_are_known_by_name() -> None:
    assert folders("/usr/bin/app", name="jenkins") == [
        ("/var/lib/jenkins", "/var/lib/jenkins (data-folder-of-jenkins)")
    ]


@pytest.mark.parametrize(
    "path",
    ["/", "/var", "/etc/redis", "/var/lib", "/run/x", "/var/run/x", "/usr/x", "/proc/1", "x"],
)
def test_folders_that_are_not_the_services_own_are_no_volumes(path: str) -> None:
    assert folders(f"/usr/bin/redis-server --dir {path}") in (
        [],
        [("/var/lib/redis", "/var/lib/redis (data-folder-of-redis)")],
    )


def test_of_a_folder_inside_another_only_the_outer_counts() -> None:
    found = folders("/usr/sbin/mariadbd --datadir=/var/lib/app/db", "StateDirectory=app")
    assert [path for path, _ in found] == ["/var/lib/app"]


def test_an_init_system_has_the_folders_of_all() -> None:
    units = {
        "app.service": service("/usr/bin/app", "StateDirectory=app"),
        "redis.service": service("/usr/bin/redis-server"),
    }
    found = decide(units, None, PROGRAMS)
    assert found.entrypoint == ("/sbin/init",)
    assert [folder.path for folder in found.volumes] == ["/var/lib/app", "/var/lib/redis"]


def test_every_row_is_about_a_program_or_a_service() -> None:
    by_program, by_service = _table()
    assert set(by_program) <= {program.name for program in programs()}
    assert all(row.folders or row.pattern for row in (*by_program.values(), *by_service.values()))


UNITS = {
    "app.service": service("/usr/bin/app --port 81"),
    "redis@a.service": service("/usr/bin/redis-server --port 82"),
    "redis@b.service": service("/usr/bin/redis-server --port 83"),
    "cache@x.service": service("/usr/bin/other"),
    "ssh.service": service("/usr/sbin/sshd -D"),
    "stuck.service": service("/usr/bin/other", "Type=dbus"),
}


@pytest.mark.parametrize(
    ("wanted", "service_name"),
    [
        ("app", "app"),
        ("app.service", "app"),
        ("redis@b", "redis@b"),
        ("cache", "cache@x"),
        ("ssh", "ssh"),
    ],
)
def test_a_service_is_taken_by_its_name(wanted: str, service_name: str) -> None:
    found = decide(UNITS, None, PROGRAMS, wanted)
    assert found.service == service_name
    assert found.confidence is Confidence.HIGH
    assert f"{service_name} is what was asked for" in found.evidence[0]
    assert {loser.name for loser in found.losers} == {
        name.removesuffix(".service") for name in UNITS
    } - {service_name}


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ("nginx", "no service that starts is called 'nginx'", "there are: app, cache@x, redis@a"),
        ("redis", "several services are called 'redis'", "there are: redis@a, redis@b"),
    ],
)
def test_a_name_that_does_not_say_which_is_refused(wanted: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        decide(UNITS, None, PROGRAMS, wanted)
    assert caught.value.message == message
    assert (caught.value.hint or "").startswith(hint)


def test_a_service_that_needs_more_than_a_process_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="'stuck' cannot be started by itself: needs the"):
        decide(UNITS, None, PROGRAMS, "stuck")


def test_each_workload_that_can_runs_by_itself() -> None:
    index = guest_index(UNITS, None, PROGRAMS)
    found, losers = decide_each(inspect_tree(index), index)
    assert [decision.service for decision in found] == ["app", "cache@x", "redis@a", "redis@b"]
    assert {loser.name for loser in losers} == {"ssh", "stuck"}
