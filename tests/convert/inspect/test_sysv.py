"""SysV init: what a runlevel starts, and which program each script is about."""

from __future__ import annotations

import pytest

from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.guest import Guest
from convert.inspect.sysv import started_by_sysv
from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree

SCRIPT = r"""#!/bin/sh\x0a\x23\x23\x23\x20BEGIN\x20INIT\x20INFO\x0aNAME=app\x0a"""
TREE = rf"""
f 755 0:0 sbin/init \x7fELF
f 755 0:0 bin/sh x
f 755 0:0 usr/sbin/app x
f 755 0:0 usr/sbin/nginx x
f 644 0:0 etc/inittab id:3:initdefault:\n
f 755 0:0 etc/init.d/app {SCRIPT}DAEMON=/usr/sbin/$NAME\x0a
f 755 0:0 etc/init.d/nginx {SCRIPT}DAEMON=${{DAEMON:-/usr/sbin/nginx}}\x0a
f 755 0:0 etc/init.d/named {SCRIPT}\x23\x20processname:\x20/usr/sbin/app\x0a
f 644 0:0 etc/init.d/README text
f 644 0:0 etc/default/app export\x20MODE="a\x20b"\nSECRET=x\n
l 777 0:0 etc/rc3.d/S20app ../init.d/app
l 777 0:0 etc/rc3.d/K20nginx ../init.d/nginx
l 777 0:0 etc/rc3.d/S21README ../init.d/README
l 777 0:0 etc/rc3.d/S22gone ../init.d/gone
l 777 0:0 etc/rc2.d/S20nginx ../init.d/nginx
l 777 0:0 etc/rc5.d/S99named ../init.d/named
"""


def _decide(tree: str) -> EntrypointDecision:
    index = TreeIndex(memory_tree(tree))
    return decide_entrypoint(inspect_tree(index), index)


def _started(tree: str, native: frozenset[str] | None = None) -> dict[str, str]:
    guest = Guest(TreeIndex(memory_tree(tree)))
    return {
        service.name: service.start[0].argv[0] if service.start else ""
        for service in started_by_sysv(guest, native)
    }


def test_the_runlevel_of_inittab_counts() -> None:
    assert _started(TREE) == {"app": "/usr/sbin/app"}
    assert _started(TREE.replace("id:3", "id:2")) == {"nginx": "/usr/sbin/nginx"}
    assert _started(TREE.replace("id:3", "id:5")) == {"named": "/usr/sbin/app"}


def test_without_inittab_the_first_runlevel_with_links_counts() -> None:
    assert set(_started(TREE.replace("etc/inittab", "etc/other"))) == {"nginx"}


def test_beside_systemd_all_scripts_without_a_unit_count() -> None:
    assert set(_started(TREE, frozenset({"app"}))) == {"named", "nginx"}


@pytest.mark.parametrize("folder", ["etc/rc.d/rc3.d", "etc/init.d/rc3.d"])
def test_other_folders_of_links_are_known(folder: str) -> None:
    tree = TREE.replace("etc/rc3.d", folder).replace("../init.d", "/etc/init.d")

    assert set(_started(tree)) == {"app"}


def test_only_exported_settings_are_the_environment() -> None:
    guest = Guest(TreeIndex(memory_tree(TREE)))
    (service,) = started_by_sysv(guest)

    assert service.environment == (("MODE", "a b"),)
    assert str(service.enabled_by) == "/etc/rc3.d/S20app (sysv-link)"
    assert str(service.start[0].evidence) == "/etc/init.d/app:4 (sysv-program)"


def test_a_daemon_that_the_table_knows_runs_in_the_foreground() -> None:
    found = _decide(TREE.replace("id:3", "id:2"))

    assert (found.entrypoint, found.cmd) == (("/usr/sbin/nginx",), ("-g", "daemon off;"))


def test_another_daemon_keeps_the_init_system() -> None:
    found = _decide(TREE)

    assert found.entrypoint == ("/sbin/init",)
    assert found.evidence[0].startswith(
        "app cannot run by itself: /usr/sbin/app goes to the background"
    )
