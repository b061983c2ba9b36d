"""The table of programs: foreground forms and ports, from files as distributions ship them."""

from __future__ import annotations

import re

import pytest

from convert.inspect.programs import Program, programs
from tests.support.guests import SYSTEM, decide, service

NGINX = """
user www-data;
http {
    include mime.types;
    include /etc/nginx/conf.d/*.conf;
    include sites-enabled/*;
    # listen 1111;
}
stream { server { listen 5353 udp; } }
"""
SITES = {
    "etc/nginx/nginx.conf": NGINX,
    "etc/nginx/sites-enabled/site": (
        "server {\n\tlisten 80 default_server;\n\tlisten [::]:80;\n  listen 443 ssl;\n"
        "  listen 443 quic;\n"
        "  listen unix:/run/x.sock;\n listen 127.0.0.1:8081;\n listen example.org:82;\n}\n"
    ),
    "etc/nginx/sites-available/off": "server { listen 9999; }\n",
    "etc/nginx/conf.d/loop.conf": "include /etc/nginx/nginx.conf;\ninclude loop.conf;\n",
}
BINARIES = "".join(
    f"f 755 0:0 {path} x\n"
    for path in (
        *("usr/sbin/nginx", "usr/sbin/apache2", "usr/sbin/apachectl", "usr/sbin/httpd"),
        *("usr/sbin/mariadbd", "usr/bin/redis-server", "usr/bin/pg_ctlcluster", "bin/true"),
        *("usr/sbin/haproxy", "usr/sbin/php-fpm8.2", "usr/sbin/squid", "usr/bin/mongod"),
        *("usr/share/memcached/scripts/systemd-memcached-wrapper", "usr/pgsql-15/bin/postmaster"),
    )
)

CASES = [
    (
        "nginx",
        service("/usr/sbin/nginx -g 'daemon on; master_process on;'", "Type=forking"),
        SITES,
        ["/usr/sbin/nginx", "-g", "daemon off; master_process on;"],
        ["80/tcp", "82/tcp", "443/tcp", "443/udp", "5353/udp"],
    ),
    (
        "nginx",
        service("/usr/sbin/nginx -c /srv/own.conf", "Type=forking"),
        {"srv/own.conf": "daemon off;\nserver { listen 8000; }\n", **SITES},
        ["/usr/sbin/nginx", "-c", "/srv/own.conf"],
        ["8000/tcp"],
    ),
    (
        "apache2",
        service("/usr/sbin/apachectl start", "Type=forking", "Environment=APACHE_STARTED=1"),
        {
            "etc/apache2/envvars": "export APACHE_RUN_DIR=/run/apache2$SUFFIX\n",
            "etc/apache2/apache2.conf": (
                "IncludeOptional mods-enabled/*.load\nInclude ports.conf\n<IfDefine X>\nListen 7\n"
                "</IfDefine>\n"
            ),
            "etc/apache2/mods-enabled/alias.load": "LoadModule alias_module m/mod_alias.so\n",
            "etc/apache2/ports.conf": (
                "Listen 80\n<IfModule ssl_module>\nListen 443\n</IfModule>\n"
                "<IfModule mod_alias.c>\n<IfModule !mod_gnutls.c>\nListen [::]:81\n</IfModule>\n"
                "Listen 127.0.0.1:82\n</IfModule>\nListen 0.0.0.0:83 http\n"
            ),
        },
        ["/usr/sbin/apache2", "-DFOREGROUND"],
        ["80/tcp", "81/tcp", "83/tcp"],
    ),
    (
        "httpd",
        service("/usr/sbin/httpd $OPTIONS -DFOREGROUND", "Type=notify"),
        {
            "etc/httpd/conf/httpd.conf": 'ServerRoot "/x"\nListen 80\nInclude conf.d/*.conf\n',
            "etc/httpd/conf.d/ssl.conf": "Listen 443 https\n",
        },
        ["/usr/sbin/httpd", "-DFOREGROUND"],
        ["80/tcp", "443/tcp"],
    ),
    (
        "mariadb",
        service("/usr/sbin/mariadbd $MYSQLD_OPTS", "User=mysql", "Type=notify"),
        {
            "etc/mysql/my.cnf": "[client]\nport=1\n[server]\n!includedir /etc/mysql/conf.d/\n",
            "etc/mysql/conf.d/50.cnf": "[mysqld]\nport = 3307\nbind-address = *\n[dump]\nport=2\n",
        },
        ["/usr/sbin/mariadbd"],
        ["3307/tcp"],
    ),
    (
        "mariadb",
        service("/bin/sh -c 'set -f; VAR=`x`; exec /usr/sbin/mariadbd $OPTS $VAR'", "Type=notify"),
        {"etc/my.cnf": "[mysqld]\nport = 3308\n"},
        ["/usr/sbin/mariadbd"],
        ["3308/tcp"],
    ),
    (
        "mariadb",
        service("/usr/sbin/mariadbd", "User=mysql", "Type=notify"),
        {"etc/mysql/my.cnf": "[mysqld]\nport = 3306\nbind-address = 127.0.0.1\n"},
        ["/usr/sbin/mariadbd"],
        [],
    ),
    (
        "redis",
        service("/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd --daemonize no"),
        {
            "etc/redis/redis.conf": "port 6379\nbind 0.0.0.0\ninclude /etc/redis/own.conf\n",
            "etc/redis/own.conf": "port 6380\n",
        },
        ["/usr/bin/redis-server", "/etc/redis/redis.conf", "--daemonize", "no"],
        ["6380/tcp"],
    ),
    (
        "postgresql@15-main",
        service("-/usr/bin/pg_ctlcluster --skip-systemctl-redirect %i start", "Type=forking"),
        {
            "etc/postgresql/15/main/postgresql.conf": (
                "#port = 1\nport = 5433\t# (change requires restart)\nlisten_addresses = '*'\n"
                "include_dir = 'conf.d'\n"
            ),
            "etc/postgresql/15/main/conf.d/a.conf": "work_mem = 4MB\n",
            "etc/postgresql/15/other/postgresql.conf": "port = 5434\nlisten_addresses = '*'\n",
        },
        ["/usr/bin/pg_ctlcluster", "15-main", "start", "--foreground"],
        ["5433/tcp"],
    ),
    (
        "haproxy",
        service(
            "/usr/sbin/haproxy -Ws -f $CONFIG -p /run/haproxy.pid",
            "Environment=CONFIG=/etc/haproxy/own.cfg",
            "Type=notify",
        ),
        {"etc/haproxy/own.cfg": "frontend a\n  bind *:80\n  bind :443 ssl crt /x\n  bind /run/s\n"},
        ["/usr/sbin/haproxy", "-f", "/etc/haproxy/own.cfg", "-p", "/run/haproxy.pid", "-W", "-db"],
        ["80/tcp", "443/tcp"],
    ),
    (
        "php8.2-fpm",
        service("/usr/sbin/php-fpm8.2 --nodaemonize --fpm-config /etc/php/8.2/fpm/php-fpm.conf"),
        {
            "etc/php/8.2/fpm/php-fpm.conf": "[global]\ninclude=/etc/php/8.2/fpm/pool.d/*.conf\n",
            "etc/php/8.2/fpm/pool.d/www.conf": "[www]\nlisten = 9000\nlisten.backlog = 511\n",
            "etc/php/7.4/fpm/pool.d/www.conf": "[www]\nlisten = 9999\n",
        },
        ["/usr/sbin/php-fpm8.2", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf", "-F"],
        ["9000/tcp"],
    ),
    (
        "memcached",
        service("/usr/share/memcached/scripts/systemd-memcached-wrapper /etc/memcached.conf"),
        {"etc/memcached.conf": "-d\n-p 11212\n-l 0.0.0.0\n"},
        ["/usr/share/memcached/scripts/systemd-memcached-wrapper", "/etc/memcached.conf"],
        ["11212/tcp"],
    ),
    (
        "mongod",
        service("/usr/bin/mongod --config /etc/mongod.conf", "Type=forking"),
        {"etc/mongod.conf": "net:\n  port: 27018\n  bindIp: 0.0.0.0\n"},
        ["/usr/bin/mongod", "--config", "/etc/mongod.conf"],
        ["27018/tcp"],
    ),
]


@pytest.mark.parametrize(
    ("name", "unit", "files", "argv", "ports"), CASES, ids=[case[0] for case in CASES]
)
def test_runs_in_the_foreground_with_the_ports_of_its_own_configuration(
    name: str, unit: str, files: dict[str, str], argv: list[str], ports: list[str]
) -> None:
    found = decide({f"{name}.service": unit}, files, SYSTEM + BINARIES)

    assert found.service == name, found.evidence
    assert [*found.entrypoint, *found.cmd] == argv
    assert [str(port) for port in found.ports] == ports
    assert all(port.confidence == "high" for port in found.ports)


def test_a_port_names_its_line() -> None:
    found = decide({"nginx.service": CASES[0][1]}, SITES, SYSTEM + BINARIES)

    assert str(found.ports[0].evidence) == "/etc/nginx/sites-enabled/site:2 (nginx-config)"


def test_a_port_of_the_machine_itself_is_told_and_not_exposed() -> None:
    config = {"etc/postgresql/15/main/postgresql.conf": "port = 5432\n"}
    unit = service("/usr/bin/pg_ctlcluster %i start", "Type=forking")
    found = decide({"postgresql@15-main.service": unit}, config, SYSTEM + BINARIES)

    assert found.ports == ()
    assert found.evidence[-1] == (
        "not exposed: 5432/tcp, only for the machine itself, /etc/postgresql/15/main/"
        "postgresql.conf (postgresql-cluster-listens-on-localhost-by-default)"
    )


def test_a_cluster_of_postgresql_runs_as_its_owner_though_its_unit_states_no_user() -> None:
    unit = service("/usr/bin/pg_ctlcluster %i start", "Type=forking")
    found = decide({"postgresql@15-main.service": unit}, {}, SYSTEM + BINARIES)

    assert found.user == "70"
    assert (
        "no user is stated; postgresql-cluster runs as postgres where there is one"
        in found.evidence
    )


def test_the_usual_port_is_of_low_confidence() -> None:
    found = decide({"nginx.service": CASES[0][1]}, {}, SYSTEM + BINARIES)

    assert [(str(port), port.confidence) for port in found.ports] == [("80/tcp", "low")]


def test_a_program_gets_what_its_own_script_would_set_up() -> None:
    _, unit, files, *_ = CASES[2]
    found = decide({"apache2.service": unit}, files, SYSTEM + BINARIES)

    assert dict(found.env)["APACHE_RUN_DIR"] == "/run/apache2"
    assert dict(found.env)["APACHE_STARTED"] == "1"
    assert b"run/apache2" in {folder.path for folder in found.runtime_folders}
    assert found.stop_signal == "SIGWINCH"


def test_a_folder_that_tmpfiles_d_makes_goes_before_the_table_and_the_unit_before_both() -> None:
    _, unit, files, *_ = CASES[2]
    tmpfiles = {"usr/lib/tmpfiles.d/a.conf": "d /run/apache2 0750 web webs\n"}
    found = decide({"apache2.service": unit}, {**files, **tmpfiles}, SYSTEM + BINARIES)
    folders = {folder.path: (folder.mode, folder.uid) for folder in found.runtime_folders}
    assert folders[b"run/apache2"] == (0o750, 33)

    unit += "RuntimeDirectory=apache2\nRuntimeDirectoryMode=0700\n"
    found = decide({"apache2.service": unit}, {**files, **tmpfiles}, SYSTEM + BINARIES)
    folders = {folder.path: (folder.mode, folder.uid) for folder in found.runtime_folders}
    assert folders[b"run/apache2"] == (0o700, 0)


def test_clusters_of_postgresql_start_by_their_generator() -> None:
    files = {
        "etc/postgresql/15/main/postgresql.conf": "port = 5432\n",
        "etc/postgresql/15/main/start.conf": "# x\nauto\n",
        "etc/postgresql/14/old/postgresql.conf": "port = 5433\n",
        "etc/postgresql/14/old/start.conf": "manual\n",
        "usr/lib/systemd/system/postgresql@.service": service(
            "-/usr/bin/pg_ctlcluster --skip-systemctl-redirect %i start", "Type=forking"
        ),
    }
    umbrella = service("/bin/true", "Type=oneshot", "RemainAfterExit=on")
    found = decide({"postgresql.service": umbrella}, files, SYSTEM + BINARIES)

    assert found.service == "postgresql@15-main"
    assert [loser.name for loser in found.losers] == ["postgresql"]


@pytest.mark.parametrize("program", programs(), ids=lambda program: program.name)
def test_every_row_of_the_table_is_sound(program: Program) -> None:
    assert program.executables
    if program.port_pattern is not None:
        assert "port" in program.port_pattern.groupindex
        assert program.configs
    if program.include is not None:
        assert set(program.include.groupindex) <= {"path", "folder"}
    if program.address_pattern is not None:
        assert "addresses" in program.address_pattern.groupindex
    assert program.stop_signal is None or re.fullmatch(r"SIG[A-Z0-9]+", program.stop_signal)
    assert not any(path.startswith(b"/") for path in program.configs)
