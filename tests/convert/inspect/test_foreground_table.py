"""Each program of the table: as its package starts it with an init system, and as a container does.

The first commands are those of the units and scripts of Debian, Red Hat, or the makers' packages.
"""

from __future__ import annotations

import pytest

from tests.support.guests import SYSTEM, decide, service

FORKING = "Type=forking"
CASES: dict[str, tuple[str, str, list[str]]] = {
    # unit: its command, its type, and what is run instead
    "nginx": (
        "/usr/sbin/nginx -g 'daemon on; master_process on;'",
        FORKING,
        ["/usr/sbin/nginx", "-g", "daemon off; master_process on;"],
    ),
    "apache2": ("/usr/sbin/apachectl start", FORKING, ["/usr/sbin/apache2", "-DFOREGROUND"]),
    "httpd": ("/usr/sbin/httpd -k start", FORKING, ["/usr/sbin/httpd", "-DFOREGROUND"]),
    "mysqld": ("/usr/sbin/mysqld --daemonize", FORKING, ["/usr/sbin/mysqld"]),
    "mariadb": ("/usr/sbin/mariadbd $X", "Type=notify", ["/usr/sbin/mariadbd"]),
    "redis": (
        "/usr/bin/redis-server /etc/r.conf --supervised systemd --daemonize yes",
        FORKING,
        ["/usr/bin/redis-server", "/etc/r.conf", "--daemonize", "no"],
    ),
    "memcached": ("/usr/bin/memcached -d -m 64", FORKING, ["/usr/bin/memcached", "-m", "64"]),
    "vsftpd": (
        "/usr/sbin/vsftpd /etc/vsftpd.conf",
        FORKING,
        ["/usr/sbin/vsftpd", "/etc/vsftpd.conf", "-obackground=NO"],
    ),
    "php-fpm": (
        "/usr/sbin/php-fpm8.2 --daemonize --fpm-config /etc/php/8.2/fpm/php-fpm.conf",
        FORKING,
        ["/usr/sbin/php-fpm8.2", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf", "-F"],
    ),
    "haproxy": (
        "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg",
        "Type=notify",
        ["/usr/sbin/haproxy", "-f", "/etc/haproxy/haproxy.cfg", "-W", "-db"],
    ),
    "squid": ("/usr/sbin/squid -sYC", FORKING, ["/usr/sbin/squid", "-sYC", "-N"]),
    "named": ("/usr/sbin/named -u bind", FORKING, ["/usr/sbin/named", "-u", "bind", "-f"]),
    "rsyslog-of-hand": (
        "/usr/sbin/rsyslogd -iNONE",
        FORKING,
        ["/usr/sbin/rsyslogd", "-iNONE", "-n"],
    ),
    "tomcat": (
        "/opt/tomcat/bin/startup.sh",
        FORKING,
        ["/opt/tomcat/bin/catalina.sh", "run"],
    ),
    "exim4": ("/usr/sbin/exim4 -bd -q30m", FORKING, ["/usr/sbin/exim4", "-bdf", "-q30m"]),
    "postfix": ("/usr/sbin/postfix start", FORKING, ["/usr/sbin/postfix", "start-fg"]),
    "dovecot": ("/usr/sbin/dovecot", FORKING, ["/usr/sbin/dovecot", "-F"]),
    "rabbitmq-server": (
        "/usr/sbin/rabbitmq-server -detached",
        FORKING,
        ["/usr/sbin/rabbitmq-server"],
    ),
    "elasticsearch": (
        "/usr/share/elasticsearch/bin/systemd-entrypoint -p /run/e.pid --quiet",
        "Type=notify",
        ["/usr/share/elasticsearch/bin/systemd-entrypoint", "--quiet"],
    ),
    "mongod": (
        "/usr/bin/mongod --config /etc/mongod.conf --fork",
        FORKING,
        ["/usr/bin/mongod", "--config", "/etc/mongod.conf"],
    ),
    "jenkins": ("/usr/bin/jenkins", "Type=notify", ["/usr/bin/jenkins"]),
    "gunicorn": (
        "/srv/venv/bin/gunicorn --daemon --bind 0.0.0.0:9000 shop:app",
        FORKING,
        ["/srv/venv/bin/gunicorn", "--bind", "0.0.0.0:9000", "shop:app"],
    ),
    "uwsgi": (
        "/usr/bin/uwsgi --ini /etc/shop.ini --daemonize /var/log/shop.log",
        FORKING,
        ["/usr/bin/uwsgi", "--ini", "/etc/shop.ini"],
    ),
    "java": (
        "/usr/bin/java -Xmx1g -jar /srv/shop.jar --server.port=9001",
        FORKING,
        ["/usr/bin/java", "-Xmx1g", "-jar", "/srv/shop.jar", "--server.port=9001"],
    ),
    "supervisor-of-hand": (
        "/usr/bin/supervisord -c /etc/s.conf",
        FORKING,
        ["/usr/bin/supervisord", "-c", "/etc/s.conf", "-n"],
    ),
    "cluster": (
        "/usr/bin/pg_ctlcluster --skip-systemctl-redirect 15-main start",
        FORKING,
        ["/usr/bin/pg_ctlcluster", "15-main", "start", "--foreground"],
    ),
}
PORTS = {
    "rabbitmq-server": (
        {
            "etc/rabbitmq/rabbitmq.conf": (
                "# listeners.tcp.default = 1\nlisteners.tcp.local = 127.0.0.1:1\n"
                "listeners.ssl.default = 5671\n"
            )
        },
        ["5671/tcp"],
    ),
    "elasticsearch": (
        {"etc/elasticsearch/elasticsearch.yml": "network.host: 0.0.0.0\nhttp.port: 9201\n"},
        ["9201/tcp"],
    ),
    "jenkins": ({}, ["8080/tcp"]),
    "gunicorn": ({}, ["9000/tcp"]),
    "java": ({}, ["9001/tcp"]),
}
_ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
}


def programs_of(*commands: list[str]) -> str:
    return "".join(f"f 755 0:0 {argv[0].lstrip('/')} x\n" for argv in commands)


@pytest.mark.parametrize("name", CASES)
def test_it_stays_in_the_foreground(name: str) -> None:
    command, kind, expected = CASES[name]
    given = command.split()
    more = SYSTEM + programs_of(*{tuple(given[:1]): given, tuple(expected[:1]): expected}.values())
    found = decide({f"{name}.service": service(command, kind)}, _ACCOUNTS, more)
    assert [*found.entrypoint, *found.cmd] == expected
    assert found.service == name


@pytest.mark.parametrize("name", PORTS)
def test_its_ports_are_those_of_its_own_configuration(name: str) -> None:
    command, kind, expected = CASES[name]
    files, ports = PORTS[name]
    more = SYSTEM + programs_of(expected)
    found = decide({f"{name}.service": service(command, kind)}, _ACCOUNTS | files, more)
    assert list(map(str, found.ports)) == ports


def test_a_variable_of_its_unit_says_which_port_it_has() -> None:
    unit = service("/usr/bin/jenkins", "Type=notify", "Environment=JENKINS_PORT=8090")
    found = decide({"jenkins.service": unit}, _ACCOUNTS, SYSTEM + "f 755 0:0 usr/bin/jenkins x\n")
    assert list(map(str, found.ports)) == ["8090/tcp"]


@pytest.mark.parametrize("setting", ["RootDirectory=/srv/jail", "RootImage=/srv/jail.img"])
def test_what_has_a_root_folder_of_its_own_needs_an_init_system(setting: str) -> None:
    found = decide({"app.service": service("/usr/bin/app", setting)})
    assert found.init == "systemd"
    assert "for its root folder" in found.evidence[0]


def test_what_its_unit_runs_before_and_after_it_is_told() -> None:
    unit = service(
        "/usr/bin/app", "ExecStartPre=-/usr/bin/other a", "ExecStartPost=/usr/bin/other b"
    )
    evidence = decide({"app.service": unit}).evidence
    assert any(item.startswith("not run before it: /usr/bin/other a, ") for item in evidence)
    assert any(item.startswith("not run after it: /usr/bin/other b, ") for item in evidence)


def test_a_umask_is_told_since_a_config_cannot_say_it() -> None:
    found = decide({"app.service": service("/usr/bin/app", "UMask=0027")})
    assert any("UMask=0027" in sentence for sentence in found.evidence)


def test_remote_login_makes_its_keys_and_cron_passes_signals_on() -> None:
    tools = "f 755 0:0 usr/bin/ssh-keygen x\nf 755 0:0 usr/sbin/sshd x\nf 755 0:0 usr/sbin/cron x\n"
    found = decide({"ssh.service": service("/usr/sbin/sshd -D $SSHD_OPTS")}, more=SYSTEM + tools)
    script = 'ssh-keygen -A && exec "$0" "$@"'
    assert found.entrypoint == ("/bin/sh", "-c", script, "/usr/sbin/sshd")
    assert found.cmd == ("-D", "-e")
    jobs = {"etc/crontab": "@daily root /usr/bin/app\n"}
    found = decide({"cron.service": service("/usr/sbin/cron -f")}, jobs, SYSTEM + tools)
    assert found.entrypoint[-1] == "/usr/sbin/cron"
    assert "trap" in found.entrypoint[2]


def test_without_the_tool_for_keys_remote_login_is_started_as_it_is() -> None:
    more = SYSTEM + "f 755 0:0 usr/sbin/sshd x\n"
    found = decide({"ssh.service": service("/usr/sbin/sshd -D")}, more=more)
    assert found.entrypoint == ("/usr/sbin/sshd",)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/sbin/httpd -p 81", ["/usr/sbin/httpd", "-p", "81", "-f"]),
        ("/usr/sbin/httpd -vf -p 81", ["/usr/sbin/httpd", "-vf", "-p", "81"]),
        ("/usr/sbin/telnetd -p 81", ["/usr/sbin/telnetd", "-p", "81", "-F"]),
        ("/usr/sbin/inetd /etc/i.conf", ["/usr/sbin/inetd", "/etc/i.conf", "-f"]),
    ],
)
def test_names_of_busybox_have_its_own_options(command: str, expected: list[str]) -> None:
    applet = f"f 755 0:0 bin/busybox x\nl 777 0:0 {expected[0].lstrip('/')} /bin/busybox\n"
    found = decide({"app.service": service(command, FORKING)}, more=SYSTEM + applet)
    assert [*found.entrypoint, *found.cmd] == expected


def test_of_busybox_cron_is_started_by_a_shell_as_it_has_no_handler() -> None:
    applet = "f 755 0:0 bin/busybox x\nl 777 0:0 usr/sbin/crond /bin/busybox\n"
    jobs = {"etc/crontabs/root": "0 0 * * * /usr/bin/app\n"}
    unit = service("/usr/sbin/crond -b -c /etc/crontabs", FORKING)
    found = decide({"crond.service": unit}, jobs, SYSTEM + applet)
    assert found.entrypoint[-1] == "/usr/sbin/crond"
    assert found.cmd == ("-c", "/etc/crontabs", "-f")
