"""What each rule takes and leaves, on trees that have both."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from convert.options import Profile
from convert.rules.normalise import Normalised, normalise
from convert.rules.reference import rule_rows
from convert.rules.table import all_rules
from formats.core.entry import Kind
from formats.core.errors import UsageError
from formats.core.tree import Tree, TreeIndex
from tests.support.memory_tree import memory_tree


@dataclass(frozen=True, slots=True)
class Case:
    """Files and folders (``x/``) that a rule takes, empties and keeps, and links (``x -> y``).

    :ivar adds: what is new, or a mask in the place of what was there.
    :ivar init: the init system that stays.
    """

    takes: tuple[str, ...] = ()
    empties: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    init: str | None = None


ACCOUNTS = (
    "f 644 0:0 etc/passwd root:x:0:0::/root:/bin/sh\\nme:x:9:9::/home/me:/bin/sh\\n"
    "www:x:33:33::/srv/www/:/bin/false\\nnone:x:7:7::/nonexistent:/bin/false\\n"
)
FSTAB = "f 644 0:0 etc/fstab UUID=1\\x20/\\x20ext4\\n/srv/my\\\\040swap\\x20none\\x20swap\\n"

CASES = {
    "boot": Case(
        takes=(
            "boot/vmlinuz-6.1",
            "boot/grub/grub.cfg",
            "boot/efi/EFI/x.efi",
            "usr/lib/modules/6.1/kernel/fs/ext4.ko",
            "usr/lib/firmware/x.bin",
            "vmlinuz -> boot/vmlinuz-6.1",
            "vmlinuz.old -> boot/vmlinuz-6.0",
            "initrd.img -> boot/initrd.img-6.1",
            "etc/grub2.cfg -> ../boot/grub2/grub.cfg",
        ),
        keeps=(
            "boot/",
            "usr/lib/modules/",
            "usr/lib/firmware/",
            "usr/lib/x.so",
            "etc/default/grub",
        ),
    ),
    "swap": Case(takes=("swapfile", "swap.img", "srv/my swap"), keeps=("srv/swapfile",)),
    "block": Case(
        takes=(
            "etc/crypttab",
            "etc/lvm/archive/vg_1.vg",
            "etc/lvm/backup/vg",
            "etc/lvm/devices/system.devices",
            "etc/blkid.tab",
            "etc/blkid/blkid.tab.old",
            "run/blkid/blkid.tab",
        ),
        keeps=("etc/lvm/lvm.conf", "etc/lvm/archive/", "etc/fstab"),
    ),
    "ssh-host-keys": Case(
        takes=(
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/ssh_host_ed25519_key.pub",
            "etc/dropbear/dropbear_rsa_host_key",
        ),
        keeps=("etc/ssh/sshd_config", "etc/ssh/ssh_config", "home/me/.ssh/id_rsa"),
    ),
    "krb5-keytab": Case(takes=("etc/krb5.keytab",), keeps=("etc/krb5.conf",)),
    "machine-id": Case(takes=("var/lib/dbus/machine-id -> x",), empties=("etc/machine-id",)),
    "seeds": Case(
        takes=(
            "etc/machine-info",
            "var/lib/systemd/random-seed",
            "var/lib/systemd/credential.secret",
            "var/lib/urandom/random-seed",
        ),
        keeps=("var/lib/systemd/timers/x",),
    ),
    "net-identity": Case(
        takes=(
            "etc/udev/rules.d/70-persistent-net.rules",
            "etc/udev/rules.d/75-persistent-net-generator.rules",
            "etc/NetworkManager/system-connections/eth0.nmconnection",
            "var/lib/NetworkManager/secret_key",
            "var/lib/dhcp/dhclient.leases",
            "var/lib/dhclient/dhclient-eth0.leases",
            "etc/netplan/50-cloud-init.yaml",
            "etc/network/interfaces.d/50-cloud-init.cfg",
        ),
        keeps=(
            "etc/udev/rules.d/10-mine.rules",
            "etc/netplan/01-mine.yaml",
            "etc/network/interfaces",
            "etc/NetworkManager/system-connections/",
            "var/lib/dhcp/",
        ),
    ),
    "hostname": Case(
        takes=("etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf",),
        empties=("etc/hostname", "etc/hosts"),
        keeps=("etc/hosts.allow",),
    ),
    "cloud-init": Case(
        takes=("var/lib/cloud/instance -> x", "var/lib/cloud/instances/i-1/user-data.txt"),
        keeps=("var/lib/cloud/", "etc/cloud/cloud.cfg"),
        adds=("etc/cloud/cloud-init.disabled",),
        init="sysvinit",
    ),
    "volatile": Case(
        takes=(
            "dev/pts/",
            "dev/shm/x",
            "lost+found/#12",
            "media/cdrom0/",
            "mnt/x",
            "proc/1/",
            "run/nginx.pid",
            "run/lock/x",
            "sys/kernel/",
            "tmp/.X11-unix/X0",
            "var/tmp/x",
        ),
        keeps=(
            *("dev/", "lost+found/", "media/", "mnt/", "proc/", "run/", "sys/", "tmp/", "var/tmp/"),
            *("run/sshd/", "run/lock/", "var/run -> /run", "opt/tmp/x"),
        ),
    ),
    "package-caches": Case(
        takes=(
            "var/cache/apt/archives/x_1_amd64.deb",
            "var/cache/apt/pkgcache.bin",
            "var/lib/apt/lists/deb.debian.org_InRelease",
            "var/cache/dnf/x/repomd.xml",
            "var/cache/yum/x86_64/9/base/x",
            "var/cache/zypp/packages/x.rpm",
            "var/cache/pacman/pkg/x.zst",
            "var/cache/apk/APKINDEX.tar.gz",
            "var/lib/rpm/__db.001",
        ),
        keeps=(
            "var/cache/apt/archives/partial/",
            "var/lib/apt/lists/partial/",
            "var/lib/apt/extended_states",
            "var/lib/dpkg/status",
            "var/lib/rpm/Packages",
            "var/lib/rpm/rpmdb.sqlite",
            "var/lib/dnf/history.sqlite",
            "lib/apk/db/installed",
            "var/lib/pacman/local/x/desc",
            "var/cache/nginx/",
        ),
    ),
    "installer": Case(
        takes=(
            "root/anaconda-ks.cfg",
            "root/original-ks.cfg",
            "root/install.log",
            "root/install.log.syslog",
            "var/log/anaconda/anaconda.log",
            "var/log/installer/initial-status.gz",
            "etc/cloud/cloud.cfg.d/99-installer.cfg",
        ),
        keeps=("root/.bashrc", "etc/cloud/cloud.cfg.d/05_logging.cfg"),
    ),
    "crash": Case(
        takes=(
            "var/crash/x.crash",
            "var/lib/systemd/coredump/core.x.zst",
            "var/spool/abrt/ccpp-1/coredump",
        ),
        keeps=("var/crash/", "var/lib/systemd/coredump/", "var/spool/abrt/"),
    ),
    "login-records": Case(
        takes=("var/lib/lastlog/lastlog2.db", "var/lib/wtmpdb/wtmp.db"),
        empties=(
            "run/utmp",
            "var/log/btmp",
            "var/log/faillog",
            "var/log/lastlog",
            "var/log/tallylog",
            "var/log/wtmp",
            "var/run/utmp",
        ),
        keeps=("var/log/syslog", "var/log/wtmp.1"),
    ),
    "logs": Case(
        takes=(
            "var/log/journal/0123/system.journal",
            "var/log/syslog.1",
            "var/log/syslog.2.gz",
            "var/log/nginx/access.log.14",
            "var/log/secure-20240101",
            "var/log/dmesg.old",
        ),
        empties=(
            "var/log/btmp",
            "var/log/faillog",
            "var/log/lastlog",
            "var/log/nginx/error.log",
            "var/log/syslog",
            "var/log/wtmp",
        ),
        keeps=(
            "var/log/",
            "var/log/apache2/",
            "var/log/journal/",
            "var/log/nginx/",
            "var/log/nginx/access.log -> /dev/stdout",
            "var/log/old.1/",
        ),
    ),
    "shell-history": Case(
        takes=(
            "root/.bash_history",
            "home/me/.zsh_history",
            "home/me/.mysql_history",
            "srv/www/.psql_history",
            "root/.lesshst",
            "root/.viminfo",
            "home/me/.python_history",
        ),
        keeps=("home/other/.bash_history", "home/me/.bashrc", "home/me/sub/.bash_history"),
    ),
    "subscription": Case(
        takes=(
            "etc/pki/consumer/key.pem",
            "etc/pki/entitlement/1-key.pem",
            "etc/sysconfig/rhn/systemid",
            "var/lib/yum/uuid",
            "etc/rhsm/facts/mine.facts",
            "etc/rhsm/syspurpose/syspurpose.json",
            "var/lib/rhsm/facts/facts.json",
            "etc/zypp/credentials.d/SCCcredentials",
            "var/lib/ubuntu-advantage/private/machine-token.json",
            "etc/apt/auth.conf.d/90ubuntu-advantage",
            "etc/insights-client/machine-id",
        ),
        keeps=(
            "etc/rhsm/rhsm.conf",
            "etc/rhsm/ca/redhat-uep.pem",
            "etc/pki/tls/cert.pem",
            "etc/pki/consumer/",
            "var/lib/yum/history/x",
        ),
    ),
    "backups": Case(
        takes=("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-"),
        keeps=("etc/passwd", "etc/shadow"),
    ),
    "user-ssh": Case(
        takes=("root/.ssh/authorized_keys", "home/me/.ssh/id_rsa"), keeps=("root/.ssh/",)
    ),
    "mail": Case(
        takes=("var/mail/root", "var/spool/mail/me"), keeps=("var/mail/", "var/spool/postfix/x")
    ),
    "directory-cache": Case(
        takes=("var/lib/sss/db/cache_x.ldb", "var/lib/sss/mc/passwd", "var/cache/nscd/passwd"),
        keeps=("var/lib/sss/pipes/", "var/cache/nscd/"),
    ),
    "package-backups": Case(
        takes=("var/backups/dpkg.status.0", "var/backups/apt.extended_states.0"),
        keeps=("var/backups/", "var/lib/dpkg/status"),
    ),
    "vagrant-key": Case(keeps=("home/me/.ssh/authorized_keys", "root/.ssh/known_hosts")),
    "guest-agents": Case(
        takes=(
            "etc/rc3.d/S20open-vm-tools -> ../init.d/open-vm-tools",
            "etc/rc.d/rc5.d/S99vboxadd-service -> ../init.d/vboxadd-service",
            "etc/runlevels/default/qemu-guest-agent -> /etc/init.d/qemu-guest-agent",
        ),
        keeps=(
            "etc/init.d/open-vm-tools",
            "etc/rc3.d/S20nginx -> ../init.d/nginx",
            "usr/bin/vmtoolsd",
            "usr/lib/systemd/system/nginx.service",
            "usr/lib/systemd/system/open-vm-tools.service",
        ),
        adds=(
            "etc/systemd/system/open-vm-tools.service -> /dev/null",
            "etc/systemd/system/vgauth.service -> /dev/null",
        ),
        init="systemd",
    ),
    "console": Case(
        takes=(
            "etc/init/tty1.conf",
            "etc/init/ttyS0.conf",
            "etc/runlevels/default/agetty.tty1 -> /etc/init.d/agetty.tty1",
            "var/service/agetty-tty1 -> /etc/sv/agetty-tty1",
        ),
        keeps=("etc/init/rc.conf", "etc/init.d/agetty.tty1", "lib/systemd/system/getty@.service"),
        adds=(
            "etc/systemd/system/getty@.service -> /dev/null",
            "etc/systemd/system/serial-getty@.service -> /dev/null",
        ),
        init="systemd",
    ),
    "device-units": Case(
        takes=("etc/runlevels/boot/hwclock -> /etc/init.d/hwclock",),
        keeps=(
            "etc/runlevels/boot/hostname -> /etc/init.d/hostname",
            "usr/lib/systemd/system/systemd-journald.service",
            "usr/lib/systemd/system/systemd-udevd.service",
        ),
        adds=(
            "etc/systemd/system/sys-kernel-debug.mount -> /dev/null",
            "etc/systemd/system/systemd-udevd.service -> /dev/null",
        ),
        init="systemd",
    ),
}
UNITS = (
    "d 755 0:0 etc/systemd/system\nf 644 0:0 etc/systemd/system/vgauth.service own\n"
    "f 644 0:0 usr/lib/systemd/system/serial-getty@.service x\n"
    "f 644 0:0 usr/lib/systemd/system/sys-kernel-debug.mount x\n"
)
CONTAINER = [rule.id for rule in all_rules() if Profile.CONTAINER in rule.profiles]
EVERY = [rule.id for rule in all_rules()]


def line(path: str) -> str:
    """Return the line of a memory tree for a path of a case."""
    name, arrow, target = path.partition(" -> ")
    name = name.replace(" ", "\\x20")
    if arrow:
        return f"l 777 0:0 {name} {target}"
    if name.endswith("/"):
        return f"d 750 3:4 {name.rstrip('/')}"
    return f"f 640 5:6 {name} content"


def name_of(path: str) -> str:
    return path.partition(" -> ")[0].rstrip("/")


def tree_of(rule: str) -> TreeIndex:
    case = CASES[rule]
    lines = [line(path) for path in (*case.takes, *case.empties, *case.keeps)]
    return TreeIndex(memory_tree("\n".join([*lines, ACCOUNTS, FSTAB, UNITS])))


def apply(index: TreeIndex, *rules: str, profile: Profile = Profile.STRICT) -> Normalised:
    """Apply these rules and no others."""
    return normalise(
        index,
        profile=profile,
        keep=[rule for rule in EVERY if rule not in rules],
        init=next((CASES[rule].init for rule in rules), None),
    )


def paths(tree: Tree) -> set[str]:
    return {entry.path.decode() for entry in tree.entries()}


def test_every_rule_has_a_case() -> None:
    assert list(CASES) == EVERY


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_takes_what_it_should_and_nothing_else(rule: str) -> None:
    case, index = CASES[rule], tree_of(rule)
    done = apply(index, rule)
    left = paths(done.tree)
    assert {name_of(path) for path in case.takes} & left == set()
    assert {name_of(path) for path in (*case.empties, *case.keeps)} <= left
    added = {name_of(path): path.partition(" -> ")[2] for path in case.adds}
    assert left - paths(index.tree) <= set(added) <= left
    for entry in done.tree.entries():
        if entry.path.decode() in added:
            assert (entry.target or b"").decode() == added[entry.path.decode()]
            assert (entry.uid, entry.gid, entry.size) == (0, 0, 0)
            continue
        before = index.get(entry.path)
        assert before is not None
        assert (entry.mode, entry.uid, entry.gid) == (before.mode, before.uid, before.gid)
        is_emptied = entry.path.decode() in map(name_of, case.empties)
        content = b"".join(done.tree.read(entry)) if entry.kind is Kind.FILE else b""
        if is_emptied:
            assert (entry.kind, entry.size, content) == (Kind.FILE, 0, b"")
        elif entry.path != b"etc/fstab":
            assert (entry.kind, entry.target, content) == (
                before.kind,
                before.target,
                index.content(entry.path) or b"" if entry.kind is Kind.FILE else b"",
            )


@pytest.mark.parametrize("rule", [rule for rule in CASES if rule != "vagrant-key"])
def test_everything_that_a_rule_does_is_in_a_finding_of_it(rule: str) -> None:
    index = tree_of(rule)
    done = apply(index, rule)
    assert {finding.rule for finding in done.findings} == {rule}
    told = {finding.path.decode() for finding in done.findings}
    changed = paths(index.tree) - paths(done.tree) | {
        entry.path.decode() for entry in done.tree.entries() if entry != index.get(entry.path)
    }
    treated = {item.entry.path.decode() for item in done.treated}
    assert changed <= treated
    untold = {
        path
        for path in changed
        if not any(path == top or path.startswith(f"{top}/") for top in told)
    }
    assert untold == set()
    for top in told:
        assert any(path == top or path.startswith(f"{top}/") for path in changed)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_that_is_kept_leaves_everything(rule: str) -> None:
    index = tree_of(rule)
    done = normalise(index, profile=Profile.STRICT, keep=EVERY, init="systemd")
    assert done.tree is index.tree
    assert done.findings == ()


@pytest.mark.parametrize("rule", CASES)
def test_profile_none_changes_nothing(rule: str) -> None:
    index = tree_of(rule)
    done = normalise(index, profile=Profile.NONE, init="systemd")
    assert (done.tree, done.findings, done.notes) == (index.tree, (), ())


def test_strict_is_container_and_more() -> None:
    more = set(EVERY) - set(CONTAINER)
    assert more == {"user-ssh", "mail", "directory-cache", "package-backups"}
    assert all(Profile.STRICT in rule.profiles for rule in all_rules())


def test_a_rule_that_is_not_known_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match="there is no rule 'bot'") as caught:
        normalise(tree_of("boot"), profile=Profile.NONE, keep=["bot"])
    assert all(rule in str(caught.value) for rule in EVERY)


def test_fstab_becomes_a_comment() -> None:
    done = apply(tree_of("block"), "block")
    (entry,) = [item for item in done.tree.entries() if item.path == b"etc/fstab"]
    content = b"".join(done.tree.read(entry))
    assert content.startswith(b"# Emptied")
    assert content.count(b"\n") == 1
    assert len(content) == entry.size
    again = apply(TreeIndex(done.tree), "block")
    assert again.findings == ()


def test_lines_of_one_card_are_taken_out_and_the_rest_stays() -> None:
    index = TreeIndex(
        memory_tree(
            "f 600 0:0 etc/sysconfig/network-scripts/ifcfg-eth0"
            " DEVICE=eth0\\nHWADDR=00:11:22:33:44:55\\n\\x20UUID=1\\nBOOTPROTO=dhcp\\n"
            "DHCP_HOSTNAME=vm1\\n#UUID=2\\n\n"
            "f 600 0:0 etc/sysconfig/network-scripts/ifcfg-lo DEVICE=lo\\n\n"
            "f 600 0:0 etc/sysconfig/network-scripts/ifup HWADDR=x\n"
        )
    )
    done = apply(index, "net-identity")
    assert TreeIndex(done.tree).content(b"etc/sysconfig/network-scripts/ifcfg-eth0") == (
        b"DEVICE=eth0\nBOOTPROTO=dhcp\n#UUID=2\n"
    )
    assert [finding.path for finding in done.findings] == [
        b"etc/sysconfig/network-scripts/ifcfg-eth0"
    ]


def test_the_reference_has_a_row_for_each_rule() -> None:
    rows = list(rule_rows())
    assert [row[0] for row in rows] == [f"`{rule}`" for rule in EVERY]
    assert all(all(row) for row in rows)
