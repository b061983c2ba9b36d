"""Init scripts: how they start their programs, as the distributions write them."""

from __future__ import annotations

import pytest

from convert.inspect.guest import Guest
from convert.inspect.sysv_script import Start, starts_of
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

LIGHTTPD = """\
#!/bin/sh
DAEMON=/usr/sbin/lighttpd
NAME=lighttpd
PIDFILE=/run/$NAME.pid
DAEMON_OPTS="-f /etc/lighttpd/lighttpd.conf"
        if ! start-stop-daemon --start --oknodo --quiet \\
            --pidfile $PIDFILE --exec $DAEMON -- $DAEMON_OPTS
        then
        if start-stop-daemon --stop --retry 30 --oknodo --quiet \\
            --pidfile $PIDFILE --exec $DAEMON
"""
REDIS = """\
#!/bin/sh
DAEMON=/usr/bin/redis-server
DAEMON_ARGS=/etc/redis/redis.conf
\tif start-stop-daemon --start --quiet --oknodo --umask 007 --pidfile $PIDFILE \
--chuid redis:redis --exec $DAEMON -- $DAEMON_ARGS; then
"""
SKELETON = """\
#! /bin/sh
DAEMON=/usr/sbin/app
DAEMON_ARGS="--port 1 --name 'the app'"
[ -r /etc/default/app ] && . /etc/default/app
\tstart-stop-daemon --start --quiet --pidfile $PIDFILE --exec $DAEMON --test > /dev/null \\
\t\t|| return 1
\tstart-stop-daemon -S -q -p $PIDFILE -bmx $DAEMON -d /srv/app -c app -- \\
\t\t$DAEMON_ARGS >/dev/null 2>&1 || return 2
"""
RED_HAT = """\
#!/bin/bash
. /etc/rc.d/init.d/functions
exec="/usr/sbin/vsftpd"
OPTIONS=""
[ -e /etc/sysconfig/vsftpd ] && . /etc/sysconfig/vsftpd
    daemon --user=ftp --pidfile=/run/x --check app +10 $exec ${OPTIONS:-/etc/vsftpd.conf} &
"""
RED_HAT_IN_QUOTES = """\
    daemon --user ${USER-redis} "LANG=C /usr/sbin/redis-server /etc/redis.conf --port 2"
"""
LSB = """\
EXTRA_OPTS="-L 5"
        start_daemon -p $PIDFILE /usr/sbin/cron $EXTRA_OPTS
"""
INIT_D_SCRIPT = """\
#!/lib/init/init-d-script
DAEMON=/usr/sbin/rsyslogd
DAEMON_ARGS="-n"
"""
CASES = {
    "lighttpd": (LIGHTTPD, Start(("/usr/sbin/lighttpd", "-f", "/etc/lighttpd/lighttpd.conf"), 6)),
    "redis": (
        REDIS,
        Start(("/usr/bin/redis-server", "/etc/redis/redis.conf"), 4, user="redis", group="redis"),
    ),
    "skeleton": (
        SKELETON,
        Start(
            ("/usr/sbin/app", "--port", "2", "--name", "the app"),
            7,
            user="app",
            folder="/srv/app",
            stays=True,
        ),
    ),
    "red hat": (RED_HAT, Start(("/usr/sbin/vsftpd", "/etc/vsftpd.conf"), 6, user="ftp")),
    "red hat, in quotes": (
        RED_HAT_IN_QUOTES,
        Start(("/usr/sbin/redis-server", "/etc/redis.conf", "--port", "2"), 1, user="redis"),
    ),
    "lsb": (LSB, Start(("/usr/sbin/cron", "-L", "5"), 2)),
    "init-d-script": (INIT_D_SCRIPT, Start(("/usr/sbin/rsyslogd", "-n"), 1)),
}
SETTINGS = {
    "etc/default/app": "DAEMON_ARGS=\"--port 2 --name 'the app'\"\n",
    "etc/sysconfig/vsftpd": "NOTHING=1\n",
}


def starts(script: str) -> list[Start]:
    files = {**SETTINGS, "etc/init.d/it": script}
    guest = Guest(TreeIndex(memory_tree(units_text(files))))
    return list(starts_of(guest, b"etc/init.d/it"))


@pytest.mark.parametrize("name", CASES)
def test_the_command_is_what_the_script_would_start(name: str) -> None:
    script, expected = CASES[name]
    assert starts(script) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "start-stop-daemon --start --exec /bin/x -- $(cat /etc/args)",
        "start-stop-daemon --start --exec /bin/x -- `cat /etc/args`",
        "start-stop-daemon --start --exec /bin/x -- 'open",
        "start-stop-daemon --start --quiet",
        "start-stop-daemon --stop --exec /bin/x",
        "start-stop-daemon --start --exec",
        "# start-stop-daemon --start --exec /bin/x",
        "daemon --user",
        "daemon",
    ],
)
def test_what_only_a_shell_can_work_out_is_left_alone(line: str) -> None:
    assert [start.argv for start in starts(line + "\n") if start.argv[0]] == []


def test_a_script_that_starts_and_reads_without_end_is_read_to_a_limit() -> None:
    found = starts(
        "A="
        + "x" * 100_000
        + "\n"
        + ". /etc/default/app\n" * 5000
        + "start-stop-daemon -S -x /bin/x -- $A\n" * 5000
    )
    assert found == []
    assert len(starts("start-stop-daemon -S -x /bin/x\n" * 5000)) < 100


def test_variables_that_name_each_other_do_not_grow_without_end() -> None:
    doubled = "".join(f"A{n}=$A{n - 1}$A{n - 1}\n" for n in range(1, 64))
    found = starts(f"A0=0123456789\n{doubled}start-stop-daemon -S -x /bin/x -- $A63\n")
    assert sum(len(word) for start in found for word in start.argv) < 1 << 20
