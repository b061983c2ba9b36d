"""What an init system that stays does not start, as systemctl(1) sees it, and what is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.options import Profile
from convert.rules.normalise import Normalised, normalise
from formats.core.entry import Kind
from formats.core.finding import Action
from formats.core.tree import TreeIndex
from tests.convert.secrets.planted import VAGRANT_KEYS, tree_of
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run

SYSTEM = "usr/lib/systemd/system"


def applied(text: str, init: str | None) -> Normalised:
    return normalise(TreeIndex(memory_tree(text)), profile=Profile.CONTAINER, init=init)


def masks(done: Normalised) -> dict[str, str]:
    return {
        entry.path.decode(): (entry.target or b"").decode()
        for entry in done.tree.entries()
        if entry.kind is Kind.SYMLINK and entry.target == b"/dev/null"
    }


def told(done: Normalised) -> list[tuple[str, str, Action]]:
    return [(item.rule, item.path.decode(), item.action) for item in done.findings]


def test_systemctl_takes_the_units_as_masked(tmp_path: Path) -> None:
    need("systemctl")
    units = ("getty@.service", "qemu-guest-agent.service", "systemd-udevd.service", "nginx.service")
    text = "[Service]\\nExecStart=/bin/x\\n[Install]\\nWantedBy=multi-user.target\\n".replace(
        " ", "\\x20"
    )
    lines = "".join(f"f 644 0:0 {SYSTEM}/{unit} {text}\n" for unit in units)
    done = applied(lines, "systemd")
    for entry in done.tree.entries():
        path = tmp_path / entry.path.decode()
        if entry.kind is Kind.FOLDER:
            path.mkdir(exist_ok=True)
        elif entry.kind is Kind.SYMLINK:
            path.symlink_to((entry.target or b"").decode())
        else:
            path.write_bytes(b"".join(done.tree.read(entry)))
    asked = ("getty@.service", "getty@tty1.service", *units[1:])
    states = run(
        "systemctl", f"--root={tmp_path}", "is-enabled", *asked, check=False
    ).stdout.split()
    assert [state.decode() for state in states] == [
        "masked",
        "masked",
        "masked",
        "masked",
        "disabled",
    ]


def test_a_unit_that_is_masked_already_is_not_told() -> None:
    done = applied(
        f"f 644 0:0 {SYSTEM}/getty@.service x\n"
        "l 777 0:0 etc/systemd/system/getty@.service /dev/null",
        "systemd",
    )
    assert done.findings == ()


def test_folders_that_masks_need_are_made() -> None:
    done = applied(f"f 644 0:0 {SYSTEM}/getty@.service x\nd 700 0:0 etc\n", "systemd")
    assert masks(done) == {"etc/systemd/system/getty@.service": "/dev/null"}
    modes = {entry.path.decode(): entry.mode for entry in done.tree.entries()}
    assert (modes["etc"], modes["etc/systemd"], modes["etc/systemd/system"]) == (
        0o700,
        0o755,
        0o755,
    )


@pytest.mark.parametrize("blocker", ["f 644 0:0 etc/systemd x", "f 644 0:0 etc/systemd/system x"])
def test_what_is_in_the_way_of_a_mask_stays(blocker: str) -> None:
    done = applied(f"f 644 0:0 {SYSTEM}/getty@.service x\n{blocker}\n", "systemd")
    assert masks(done) == {}
    assert done.findings == ()


def test_masks_go_where_the_folder_is_a_link_to() -> None:
    done = applied(
        f"f 644 0:0 {SYSTEM}/getty@.service x\nl 777 0:0 etc/systemd ../data/units\n"
        "d 755 0:0 data/units/system\n",
        "systemd",
    )
    assert masks(done) == {"data/units/system/getty@.service": "/dev/null"}


def test_another_init_system_gets_no_masks_and_no_gettys() -> None:
    text = (
        "f 644 0:0 etc/inittab ::sysinit:/sbin/openrc\\x20sysinit\\ntty1::respawn:/sbin/getty\\n"
        "#ttyS0::respawn:/sbin/getty\\n::ctrlaltdel:/sbin/reboot\\n\n"
        f"f 644 0:0 {SYSTEM}/getty@.service x\n"
    )
    done = applied(text, "busybox")
    assert told(done) == [("console", "etc/inittab", Action.CHANGED)]
    assert TreeIndex(done.tree).content(b"etc/inittab") == (
        b"::sysinit:/sbin/openrc sysinit\n#ttyS0::respawn:/sbin/getty\n::ctrlaltdel:/sbin/reboot\n"
    )


def test_without_an_init_system_gettys_stay_and_agents_are_reported() -> None:
    text = (
        f"f 644 0:0 {SYSTEM}/getty@.service x\nf 644 0:0 {SYSTEM}/qemu-guest-agent.service x\n"
        "f 644 0:0 etc/inittab 1:2345:respawn:/sbin/getty\\n\nd 755 0:0 etc/cloud\n"
        "l 777 0:0 etc/runlevels/boot/hwclock /etc/init.d/hwclock\n"
    )
    done = applied(text, None)
    assert done.findings == ()
    (note,) = done.notes
    assert (note.rule, note.path, note.action) == (
        "guest-agents",
        f"{SYSTEM}/qemu-guest-agent.service".encode(),
        Action.REPORTED,
    )
    assert note.evidence.endswith("nothing starts it here, and its files stay")


def test_agents_with_scripts_only_are_reported_as_well() -> None:
    done = applied("f 755 0:0 etc/init.d/xe-linux-distribution x\n", None)
    assert [note.path for note in done.notes] == [b"etc/init.d/xe-linux-distribution"]


def test_cloud_init_is_disabled_only_where_it_is() -> None:
    assert told(applied("d 755 0:0 etc/cloud\n", "systemd")) == [
        ("cloud-init", "etc/cloud/cloud-init.disabled", Action.ADDED)
    ]
    assert applied("d 755 0:0 etc\n", "systemd").findings == ()
    assert applied("f 644 0:0 etc/cloud/cloud-init.disabled\n", "systemd").findings == ()


@pytest.mark.parametrize("key", VAGRANT_KEYS)
@pytest.mark.parametrize("path", ["home/v/.ssh/authorized_keys", "srv/deep/er/authorized_keys"])
def test_keys_that_everybody_has_are_taken_out_of_files_of_keys(key: str, path: str) -> None:
    before = f"# two keys\nssh-ed25519 AAAAother me\n  {key}\n#{key}\nssh-rsa AAAAthird you\n"
    index = TreeIndex(tree_of({path: before.encode(), "srv/notes.txt": key.encode()}))
    done = normalise(index, profile=Profile.CONTAINER)
    left = TreeIndex(done.tree)
    assert left.content(path.encode()) == (
        f"# two keys\nssh-ed25519 AAAAother me\n#{key}\nssh-rsa AAAAthird you\n".encode()
    )
    assert left.content(b"srv/notes.txt") == key.encode()
    assert told(done) == [("vagrant-key", path, Action.CHANGED)]


def test_passwords_of_proxies_are_taken_out_of_the_registration() -> None:
    before = b"[server]\nhostname = x\nproxy_user = me\nproxy_password = Canary7Qx\nport = 1\n"
    done = normalise(TreeIndex(tree_of({"etc/rhsm/rhsm.conf": before})), profile=Profile.CONTAINER)
    assert (
        TreeIndex(done.tree).content(b"etc/rhsm/rhsm.conf") == b"[server]\nhostname = x\nport = 1\n"
    )
