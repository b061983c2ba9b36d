"""Init systems that stay: what a shell runs in their place, and what is left to them."""

from __future__ import annotations

import pytest

from convert.inspect.evidence import Evidence
from convert.inspect.facts import Init
from convert.inspect.guest import Guest
from convert.inspect.kept_init import KeptInit, kept_init
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

WAIT = "while :; do sleep 86400 & wait $!; done"
SYSV = """\
# as Debian has it
id:3:initdefault:
l0:0:wait:/etc/init.d/rc 0
l3:3:wait:/etc/init.d/rc 3
l5:5:wait:/etc/init.d/rc 5
si::sysinit:/etc/init.d/rcS
~~:S:wait:/sbin/sulogin --force
z6:6:respawn:/sbin/sulogin --force
ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now
1:2345:respawn:/sbin/getty --noclear 38400 tty1
sv:123456:respawn:+/command/svscanboot # a comment
a line that is none
"""
BUSYBOX = """\
::sysinit:/sbin/openrc sysinit
::sysinit:/sbin/openrc boot
::wait:/sbin/openrc default
tty1::respawn:/sbin/getty 38400 tty1
tty2::askfirst:-/bin/sh
::ctrlaltdel:/sbin/reboot
::shutdown:/sbin/openrc shutdown
"""
PROGRAMS = "f 755 0:0 bin/sh x\n"
STAGES = "".join(f"f 755 0:0 etc/runit/{number} x\n" for number in (1, 2, 3))


def kept(name: str, inittab: str = "", more: str = PROGRAMS) -> KeptInit:
    text = more + units_text({"etc/inittab": inittab} if inittab else {})
    guest = Guest(TreeIndex(memory_tree(text)))
    return kept_init(Init(name, "/sbin/init", Evidence(b"", None, "test")), guest)


def test_systemd_stays_as_it_is_and_is_asked_to_end_in_its_own_way() -> None:
    assert kept("systemd") == KeptInit(("/sbin/init",), "SIGRTMIN+3")


def test_of_sysv_the_default_runlevel_is_run_and_what_it_keeps_is_kept() -> None:
    found = kept("sysvinit", SYSV)
    assert found.argv[:2] == ("/bin/sh", "-c")
    assert found.argv[2].split("; ") == [
        "export RUNLEVEL=3 PREVLEVEL=N",
        "stop() { RUNLEVEL=0 PREVLEVEL=3",
        "/etc/init.d/rc 0",
        "exit 0",
        "}",
        "trap stop TERM INT",
        "/etc/init.d/rcS",
        "/etc/init.d/rc 3",
        "(while :",
        "do /command/svscanboot",
        "sleep 1",
        "done) & while :",
        *WAIT.split("; ")[1:],
    ]
    assert found.stop_signal is None
    assert found.why is not None


def test_of_busybox_what_openrc_starts_is_run_in_a_container_that_it_knows() -> None:
    found = kept("busybox", BUSYBOX, PROGRAMS + "f 755 0:0 sbin/openrc x\n")
    assert found.container == "lxc"
    assert found.argv[2] == (
        "stop() { /sbin/openrc shutdown; exit 0; }; trap stop TERM INT; /sbin/openrc sysinit; "
        f"/sbin/openrc boot; /sbin/openrc default; {WAIT}"
    )


def test_of_runit_the_stages_are_run() -> None:
    found = kept("runit", more=PROGRAMS + STAGES)
    assert found.argv[2] == (
        "stop() { /etc/runit/3; exit 0; }; trap stop TERM INT; /etc/runit/1; /etc/runit/2 & "
        f"{WAIT}"
    )


def test_a_default_runlevel_that_is_none_is_not_put_into_a_script() -> None:
    found = kept("sysvinit", "id:$(x):initdefault:\nl2:2:wait:/etc/init.d/rc 2\n")
    assert found.argv[2].startswith("export RUNLEVEL=2 PREVLEVEL=N; ")


@pytest.mark.parametrize(
    ("name", "inittab", "more"),
    [
        ("sysvinit", SYSV, ""),  # no shell
        ("sysvinit", "", PROGRAMS),
        ("sysvinit", "::::\nx\n", PROGRAMS),
        ("sysvinit", "si::sysinit:/etc/\udc80\n", PROGRAMS),
        ("sysvinit", "si::sysinit:/etc/init.d/rcS\n" * 1000, PROGRAMS),
        ("sysvinit", "si::sysinit:echo 'open\n", PROGRAMS),
        ("runit", "", PROGRAMS),
        ("upstart", SYSV, PROGRAMS),
        ("s6", "", PROGRAMS),
    ],
)
def test_where_nothing_better_is_known_the_init_program_is_started(
    name: str, inittab: str, more: str
) -> None:
    assert kept(name, inittab, more) == KeptInit(("/sbin/init",))
