"""Which units start, and with what settings: systemd itself is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convert.inspect.accounts import Accounts
from convert.inspect.closure import started_units
from convert.inspect.command_line import UnitName
from convert.inspect.guest import Guest
from convert.inspect.service_unit import service_of
from convert.inspect.systemd import listening_port, started_by_systemd
from convert.inspect.units import UnitSet
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.systemd import folder_for_all, transaction, units_text, unpack

ETC = "etc/systemd/system"
LIB = "usr/lib/systemd/system"

TARGETS = {
    f"{LIB}/multi-user.target": "[Unit]\nDescription=m\nRequires=basic.target\nAllowIsolate=yes\n",
    f"{LIB}/basic.target": "[Unit]\nRequires=sysinit.target\nWants=sockets.target timers.target\n",
    f"{LIB}/sysinit.target": "[Unit]\nDescription=s\n",
    f"{LIB}/sockets.target": "[Unit]\nDescription=s\n",
    f"{LIB}/timers.target": "[Unit]\nDescription=t\n",
    f"{LIB}/default.target": "-> multi-user.target",
}
SERVICE = "[Service]\nExecStart=/bin/sleep 1\n"
WANTS = f"{ETC}/multi-user.target.wants"

CASES: dict[str, dict[str, str]] = {
    "enabled": {f"{LIB}/a.service": SERVICE, f"{WANTS}/a.service": "-> ../a.service"},
    "installed only": {f"{LIB}/a.service": SERVICE},
    "required": {
        f"{LIB}/a.service": SERVICE,
        f"{ETC}/multi-user.target.requires/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "masked": {
        f"{LIB}/a.service": SERVICE,
        f"{ETC}/a.service": "-> /dev/null",
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "masked by an empty file": {
        f"{LIB}/a.service": SERVICE,
        f"{ETC}/a.service": "",
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "masked through a link": {
        f"{LIB}/a.service": SERVICE,
        f"{LIB}/nothing.service": "-> /dev/null",
        f"{ETC}/a.service": f"-> ../../../{LIB}/nothing.service",
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "wants link to nothing": {f"{WANTS}/gone.service": "-> ../gone.service"},
    "alias": {
        f"{LIB}/a.service": SERVICE,
        f"{LIB}/b.service": "-> a.service",
        f"{WANTS}/b.service": f"-> ../../../../{LIB}/b.service",
    },
    "alias's own wants": {
        f"{LIB}/a.service": SERVICE,
        f"{LIB}/b.service": "-> a.service",
        f"{LIB}/c.service": SERVICE,
        f"{ETC}/b.service.wants/c.service": f"-> ../../../../{LIB}/c.service",
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "template instance": {
        f"{LIB}/t@.service": SERVICE,
        f"{WANTS}/t@one.service": f"-> ../../../../{LIB}/t@.service",
    },
    "template's wants": {
        f"{LIB}/t@.service": SERVICE,
        f"{LIB}/x.service": SERVICE,
        f"{ETC}/t@.service.wants/x.service": f"-> ../../../../{LIB}/x.service",
        f"{WANTS}/t@one.service": f"-> ../../../../{LIB}/t@.service",
    },
    "template alone": {
        f"{LIB}/t@.service": SERVICE,
        f"{WANTS}/t@.service": f"-> ../../../../{LIB}/t@.service",
    },
    "instance with a file of its own": {
        f"{LIB}/t@.service": SERVICE,
        f"{ETC}/t@one.service": "[Unit]\nWants=y.service\n" + SERVICE,
        f"{LIB}/y.service": SERVICE,
        f"{WANTS}/t@one.service": "-> ../t@one.service",
    },
    "alias of a template": {
        f"{LIB}/t@.service": SERVICE,
        f"{LIB}/u@.service": "-> t@.service",
        f"{WANTS}/u@one.service": f"-> ../../../../{LIB}/u@.service",
    },
    "wants are not reset": {
        f"{LIB}/a.service": "[Unit]\nWants=b.service\nWants=\n" + SERVICE,
        f"{LIB}/b.service": SERVICE,
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "wants from a drop-in": {
        f"{LIB}/a.service": SERVICE,
        f"{ETC}/a.service.d/x.conf": "[Unit]\nWants=b.service\nUpholds=c.service\n",
        f"{LIB}/b.service": SERVICE,
        f"{LIB}/c.service": SERVICE,
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "drop-in of all services": {
        f"{LIB}/a.service": SERVICE,
        f"{ETC}/service.d/x.conf": "[Unit]\nWants=b.target\n",
        f"{LIB}/b.target": "[Unit]\nDescription=b\n",
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "drop-in turned off": {
        f"{LIB}/a.service": SERVICE,
        f"{LIB}/a.service.d/x.conf": "[Unit]\nWants=b.service\n",
        f"{ETC}/a.service.d/x.conf": "-> /dev/null",
        f"{LIB}/b.service": SERVICE,
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "binds to, part of, after": {
        f"{LIB}/a.service": "[Unit]\nBindsTo=b.service\nPartOf=c.service\nAfter=d.service\n"
        "OnFailure=e.service\nRequisite=f.service\nPropagatesReloadTo=g.service\n" + SERVICE,
        **{f"{LIB}/{letter}.service": SERVICE for letter in "bcdeg"},
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "no default dependencies": {
        f"{LIB}/multi-user.target": "[Unit]\nDescription=m\nAllowIsolate=yes\n",
        f"{LIB}/a.service": "[Unit]\nDefaultDependencies=no\n" + SERVICE,
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "default dependencies": {
        f"{LIB}/multi-user.target": "[Unit]\nDescription=m\nAllowIsolate=yes\n",
        f"{LIB}/a.service": SERVICE,
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "socket": {
        f"{LIB}/s.socket": "[Socket]\nListenStream=8080\n",
        f"{LIB}/s.service": SERVICE,
        f"{ETC}/sockets.target.wants/s.socket": f"-> ../../../../{LIB}/s.socket",
    },
    "timer": {
        f"{LIB}/w.timer": "[Timer]\nOnCalendar=daily\n",
        f"{LIB}/w.service": SERVICE,
        f"{ETC}/timers.target.wants/w.timer": f"-> ../../../../{LIB}/w.timer",
    },
    "default.target of the administrator": {
        f"{ETC}/default.target": "-> own.target",
        f"{ETC}/own.target": "[Unit]\nWants=a.service\nAllowIsolate=yes\n",
        f"{LIB}/a.service": SERVICE,
    },
    "names that are none": {
        f"{LIB}/a.service": "[Unit]\nWants=b c.servic /etc/passwd d.service\n" + SERVICE,
        f"{LIB}/d.service": SERVICE,
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
    },
    "loops": {
        f"{LIB}/a.service": "[Unit]\nWants=b.service\n" + SERVICE,
        f"{LIB}/b.service": "[Unit]\nWants=a.service\n" + SERVICE,
        f"{LIB}/c.service": "-> d.service",
        f"{LIB}/d.service": "-> c.service",
        f"{WANTS}/a.service": f"-> ../../../../{LIB}/a.service",
        f"{WANTS}/c.service": f"-> ../../../../{LIB}/c.service",
    },
}


@pytest.fixture
def root() -> Iterator[Path]:
    with folder_for_all() as folder:
        yield folder


def guest_of(files: dict[str, str], root: Path | None = None) -> Guest:
    tree = memory_tree(units_text(files))
    if root is not None:
        unpack(tree, root)
    return Guest(TreeIndex(tree))


@pytest.mark.parametrize("case", CASES)
def test_starts_what_systemd_would_start(case: str, root: Path) -> None:
    guest = guest_of({**TARGETS, **CASES[case]}, root)
    judged = transaction(root, "default.target")

    units = UnitSet(guest)
    ours = set(started_units(units, "default.target"))

    made_up = {"system.slice", "-.slice", "-.mount"}
    theirs = {
        name for name in judged.started if UnitName(name).kind != "slice" and name not in made_up
    }
    assert ours | {units.canonical("default.target")} == theirs


SETTINGS = """[Unit]
Description=s
[Service]
Type=forking
 ExecStartPre = /bin/mkdir  /run/x
ExecStart=/bin/gone
ExecStart=
ExecStart=-/bin/sleep %i '%I' "a\\x20b" ${X} $Y \\
  # a comment in between
   more \\
   and more
User=bin
User=daemon
Group=1
Environment="A=1 2" 'B=%n' C
Environment=D=%p/%j/%N E="quoted" F=%f%%
RuntimeDirectory=one/%i two
RuntimeDirectoryMode=0710
KillSignal=SIGQUIT
WorkingDirectory=/var/%p
nonsense
[Other]
ExecStart=/bin/other
"""
DROP_INS = {
    f"{LIB}/p-q@.service": SETTINGS,
    f"{WANTS}/p-q@x\\x2dy-z.service": f"-> ../../../../{LIB}/p-q@.service",
    f"{LIB}/p-q@.service.d/10-a.conf": "[Service]\nEnvironment=G=template\n",
    f"{ETC}/p-q@.service.d/20-b.conf": "[Service]\nEnvironment=H=etc\nKillSignal=SIGINT\n",
    f"{LIB}/p-q@x\\x2dy-z.service.d/20-b.conf": "[Service]\nEnvironment=H=instance\n",
    f"{LIB}/p-.service.d/30-c.conf": "[Service]\nEnvironment=I=prefix\n",
    f"{LIB}/service.d/20-b.conf": "[Service]\nEnvironment=H=all\n",
    f"{LIB}/p-q@x\\x2dy-z.service.d/50-e.conf": "[Service]\nEnvironment=L=instance\n",
    f"{LIB}/p-q@.service.d/50-e.conf": "[Service]\nEnvironment=L=template\n",
    f"{LIB}/p-q@.service.d/60-f.conf": "[Service]\nEnvironment=M=template\n",
    f"{LIB}/p-.service.d/60-f.conf": "[Service]\nEnvironment=M=prefix\n",
    f"{LIB}/p-.service.d/70-g.conf": "[Service]\nEnvironment=O=prefix\n",
    f"{ETC}/service.d/70-g.conf": "[Service]\nEnvironment=O=all\n",
    f"{LIB}/service.d/40-d.conf": "[Service]\nEnvironment=J=all\n",
    f"{LIB}/p-q@.service.d/not-conf": "[Service]\nEnvironment=K=no\n",
}


def test_reads_settings_and_drop_ins_as_systemd_does(root: Path) -> None:
    files = {**TARGETS, **{path.replace("\\x", "\\\\x"): text for path, text in DROP_INS.items()}}
    guest = guest_of(files, root)
    judged = transaction(root, "default.target")
    theirs = judged.units["p-q@x\\x2dy-z.service"]
    assert "Service State" in theirs.fields, judged.log

    unit = UnitSet(guest).load("p-q@x\\x2dy-z.service")
    assert unit is not None
    evidence = next(iter(started_units(UnitSet(guest), "default.target").values()))
    ours = service_of(guest, Accounts(guest), unit, evidence)

    assert ours.kind == theirs.fields["Type"][-1]
    assert ours.user == theirs.fields["User"][-1]
    assert ours.group == theirs.fields["Group"][-1]
    assert ours.kill_signal == theirs.fields["KillSignal"][-1]
    assert ours.working_dir == theirs.fields["WorkingDirectory"][-1]
    stated = {f"{name}={value}" for name, value in ours.environment if "_DIRECTORY" not in name}
    assert stated == set(theirs.fields["Environment"])
    folders = {folder.path.decode().removeprefix("run/") for folder in ours.runtime_folders}
    assert folders == set(theirs.fields["RuntimeDirectory"])
    assert {folder.mode for folder in ours.runtime_folders} == {0o710}
    assert [list(step.argv) for step in ours.start_pre] == theirs.commands["ExecStartPre"]
    assert dict(ours.environment)["RUNTIME_DIRECTORY"] == "/run/one/x\\x2dy-z:/run/two"


def test_the_service_of_a_socket_counts_although_nothing_wants_it() -> None:
    found = started_by_systemd(*_with_accounts({**TARGETS, **CASES["socket"]}))

    assert [service.name for service in found.services] == ["s"]
    assert str(found.services[0].enabled_by) == f"/{LIB}/s.socket (systemd-unit)"
    assert [str(port) for socket in found.sockets for port in socket.ports] == ["8080/tcp"]


def test_timers_are_told_and_do_not_start_their_service() -> None:
    found = started_by_systemd(*_with_accounts({**TARGETS, **CASES["timer"]}))

    assert found.timers == ("w",)
    assert found.services == ()


def test_the_target_is_multi_user_where_no_default_is_set() -> None:
    files = {path: text for path, text in TARGETS.items() if "default" not in path}

    assert started_by_systemd(*_with_accounts(files)).default_target == "multi-user.target"


@pytest.mark.parametrize(
    ("value", "port"),
    [
        ("80", 80),
        ("0.0.0.0:80", 80),
        ("[::]:443", 443),
        ("127.0.0.1:80", None),
        ("[::1]:80", None),
        ("/run/x.sock", None),
        ("@abstract", None),
        ("vsock::1234", None),
        ("0", None),
        ("65536", None),
    ],
)
def test_reads_ports_of_sockets(value: str, port: int | None) -> None:
    assert listening_port(value) == port


def _with_accounts(files: dict[str, str]) -> tuple[Guest, Accounts]:
    guest = guest_of(files)
    return guest, Accounts(guest)
