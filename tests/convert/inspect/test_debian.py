"""A real Debian server: its own systemd and its own nginx are the judges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from convert.inspect.closure import started_units
from convert.inspect.entrypoint import decide_entrypoint
from convert.inspect.guest import Guest
from convert.inspect.tree import inspect_tree
from convert.inspect.units import UnitSet
from formats.core.opener import open_artifact
from formats.core.tree import TreeIndex
from tests.images.recipes.debian_server import ROOT_OFFSET
from tests.support.programs import need, run
from tests.support.systemd import run_on_disk, transaction_of_disk

_MADE_AT_RUN_TIME = ("/run/", "/tmp/")  # noqa: S108 - where generators write
_OF_FSTAB = {
    *("local-fs-pre.target", "systemd-fsckd.socket"),
    *("systemd-fsck-root.service", "systemd-remount-fs.service"),
}
"""Pulled in by what the fstab generator makes."""
_AFTER_A_GAP = {"modprobe@drm.service"}
"""Wanted by logind, of which systemd reads no further when it finds no dbus.socket."""
_KINDS = (".service", ".socket", ".timer", ".target")


@pytest.fixture(scope="module")
def index(debian_disks: tuple[Path, ...]) -> Iterator[TreeIndex]:
    with open_artifact([debian_disks[0]]) as artifact:
        yield next(TreeIndex(node.tree) for node in artifact.walk() if node.tree is not None)


def test_starts_what_its_own_systemd_would_start(
    index: TreeIndex, debian_disks: tuple[Path, ...], tmp_path: Path
) -> None:
    judged = transaction_of_disk(debian_disks[0], ROOT_OFFSET, tmp_path)
    units = UnitSet(Guest(index))
    ours = {name for name in started_units(units, "default.target") if name.endswith(_KINDS)}

    theirs = {
        name
        for name in judged.started
        if name.endswith(_KINDS)
        and not judged.units[name]
        .fields.get("Fragment Path", ["/run/"])[0]
        .startswith(_MADE_AT_RUN_TIME)
    }
    assert "nginx.service" in theirs
    ours |= {units.canonical("default.target")}
    assert ours - _AFTER_A_GAP == theirs - _OF_FSTAB
    assert len(theirs) > 40


def test_nginx_is_the_entrypoint_with_the_port_that_nginx_itself_reads(
    index: TreeIndex, debian_disks: tuple[Path, ...], tmp_path: Path
) -> None:
    dump = run_on_disk(
        debian_disks[0], ROOT_OFFSET, tmp_path, "chroot {root} /usr/sbin/nginx -T 2>/dev/null"
    ).decode()
    theirs = {int(port) for port in re.findall(r"(?m)^\s*listen\s+(?:\[::\]:)?(\d+)", dump)}

    found = decide_entrypoint(inspect_tree(index), index)

    assert found.service == "nginx"
    assert found.entrypoint == ("/usr/sbin/nginx",)
    assert found.cmd == ("-g", "daemon off; master_process on;")
    assert {port.number for port in found.ports} == theirs == {80}
    evidence = found.ports[0].evidence
    assert evidence.path == b"etc/nginx/sites-enabled/default"
    lines = (index.content(evidence.path) or b"").decode().split("\n")
    assert lines[(evidence.line or 0) - 1].strip().startswith("listen 80")
    assert found.stop_signal == "SIGQUIT"
    assert found.user is None
    reasons = {loser.name: loser.reason for loser in found.losers}
    assert reasons["ssh"] == "remote login; a container is entered through its runtime"


def test_facts_name_the_system(index: TreeIndex) -> None:
    need("dpkg")
    facts = inspect_tree(index)

    assert facts.operating_system is not None
    assert facts.operating_system.id == "debian"
    assert facts.architecture.name == run("dpkg", "--print-architecture").stdout.decode().strip()
    assert facts.init is not None
    assert (facts.init.name, facts.init.path) == ("systemd", "/sbin/init")
    assert facts.default_target == "graphical.target"
    assert facts.findings == ()
