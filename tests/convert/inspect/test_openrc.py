"""OpenRC: what the default runlevel starts."""

from __future__ import annotations

import pytest

from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.facts import Service
from convert.inspect.guest import Guest
from convert.inspect.openrc import started_by_openrc
from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

SYSTEM = """
f 755 0:0 bin/busybox \\x7fELF
l 777 0:0 sbin/init ../bin/busybox
l 777 0:0 bin/sh busybox
f 755 0:0 usr/sbin/nginx x
f 755 0:0 usr/bin/redis-server x
f 755 0:0 usr/bin/app x
"""
ACCOUNTS = "root:x:0:0::/root:/bin/sh\nredis:x:100:101::/:/bin/sh\n"


def tree(
    scripts: dict[str, str], files: dict[str, str] | None = None, level: str = "default"
) -> TreeIndex:
    texts = {"etc/passwd": ACCOUNTS, "etc/group": "root:x:0:\nredis:x:101:\n", **(files or {})}
    for name, text in scripts.items():
        texts[f"etc/init.d/{name}"] = "#!/sbin/openrc-run\n" + text
        texts[f"etc/runlevels/{level}/{name}"] = f"-> /etc/init.d/{name}"
    return TreeIndex(memory_tree(SYSTEM + units_text(texts)))


def only(index: TreeIndex) -> Service:
    (service,) = started_by_openrc(Guest(index))
    return service


def decided(index: TreeIndex) -> EntrypointDecision:
    return decide_entrypoint(inspect_tree(index), index)


REDIS = """
: ${cfgfile:="/etc/redis.conf"}
: ${command_user:="redis:redis"}
command="/usr/bin/redis-server"
command_args="$cfgfile
	--daemonize no $command_args"
command_background="yes"
pidfile="/run/$RC_SVCNAME/$RC_SVCNAME.pid"
depend() {
	use net localmount logger
}
"""


def test_a_command_that_openrc_moves_to_the_background_is_one_for_the_foreground() -> None:
    found = decided(tree({"redis": REDIS}, {"etc/conf.d/redis": 'command_args="--port 7000"\n'}))
    assert found.entrypoint == ("/usr/bin/redis-server",)
    assert found.cmd[0] == "/etc/redis.conf"
    assert found.cmd == ("/etc/redis.conf", "--port", "7000", "--daemonize", "no")
    assert found.user == "100:101"
    assert found.service == "redis"
    assert found.evidence[0] == (
        "redis is the only workload that starts: /etc/runlevels/default/redis (openrc-runlevel)"
    )


def test_the_configuration_goes_before_defaults_of_the_script() -> None:
    index = tree({"redis": REDIS}, {"etc/conf.d/redis": 'cfgfile="/etc/other.conf"\n'})
    assert only(index).start[0].argv[1] == "/etc/other.conf"


def test_the_table_of_programs_knows_a_foreground_form() -> None:
    index = tree(
        {"nginx": "command=${command:-/usr/sbin/nginx}\ncommand_args='-c /etc/nginx/nginx.conf'\n"}
    )
    found = decided(index)
    assert (found.entrypoint, found.cmd) == (
        ("/usr/sbin/nginx",),
        ("-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"),
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("supervisor=supervise-daemon", "simple"),
        ("command_background=true", "simple"),
        ('command_args_foreground="--nofork"', "simple"),
        ('start_stop_daemon_args="--background --user redis"', "simple"),
        ("pidfile=/run/x", "forking"),
    ],
)
def test_the_variables_tell_whether_it_stays(line: str, kind: str) -> None:
    assert only(tree({"app": f"command=/usr/bin/app\n{line}\n"})).kind == kind


def test_an_instance_has_the_configuration_of_its_script_and_its_own() -> None:
    texts = {
        "etc/conf.d/app": "A=1\ncommand_args=$A\n",
        "etc/conf.d/app.two": "command_args=$A$A\n",
        "etc/init.d/app": "#!/sbin/openrc-run\ncommand=/usr/bin/app\ncommand_background=1\n",
        "etc/init.d/app.two": "-> app",
        "etc/runlevels/default/app.two": "-> /etc/init.d/app.two",
    }
    index = TreeIndex(memory_tree(SYSTEM + units_text(texts)))
    assert only(index).start[0].argv == ("/usr/bin/app", "11")


@pytest.mark.parametrize(
    ("script", "level", "reason"),
    [
        ("command=/usr/bin/app\ndepend() {\n\tkeyword -lxc -jail\n}\n", "default", "keyword -lxc"),
        ("command=/usr/bin/app\n", "boot", "runlevel boot"),
    ],
)
def test_what_is_not_for_containers_is_no_workload(script: str, level: str, reason: str) -> None:
    index = tree({"app": script}, level=level)
    assert reason in (only(index).not_workload or "")
    assert decided(index).service is None


def test_a_start_of_its_own_is_not_guessed() -> None:
    assert only(tree({"app": "command=/usr/bin/app\nstart() {\n\tebegin\n}\n"})).start == ()


def test_scripts_of_other_kinds_and_bad_quotes_are_passed_over() -> None:
    texts = {
        "etc/init.d/old": "#!/bin/sh\ncommand=/usr/bin/app\n",
        "etc/runlevels/default/old": "-> /etc/init.d/old",
        "etc/runlevels/default/gone": "-> /etc/init.d/gone",
    }
    assert started_by_openrc(Guest(TreeIndex(memory_tree(SYSTEM + units_text(texts))))) == ()
    bad = tree({"app": "command=/usr/bin/app\ncommand_args='a \"b'\n"})
    assert only(bad).start == ()
