"""What of a machine does not work in a container, where it is written, and what to do instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convert.inspect.facts import Facts, Obstacle
from convert.inspect.obstacles.catalogue import ages, namespaced, table
from convert.inspect.obstacles.find import _OBSTACLES_MAX
from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.containers import podman
from tests.support.guests import ACCOUNTS, SYSTEM, UNITS, WANTS, service
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

PROGRAM = "\\x7fELF\\x02\\x01" + "\\x00" * 12 + "\\x3e" + "\\x00" * 60
"""The head of an ELF file for amd64."""
PROGRAM_386 = "\\x7fELF\\x01\\x01" + "\\x00" * 12 + "\\x03" + "\\x00" * 60


def facts_of(
    files: dict[str, str], units: dict[str, str] | None = None, more: str = SYSTEM
) -> Facts:
    texts = {**ACCOUNTS, **files, f"{UNITS}/multi-user.target": "[Unit]\nDescription=x\n"}
    for name, text in (units or {}).items():
        texts[f"{UNITS}/{name}"] = text
        texts[f"{WANTS}/{name}"] = f"-> /{UNITS}/{name}"
    return inspect_tree(TreeIndex(memory_tree(more + units_text(texts))))


def told(obstacles: tuple[Obstacle, ...]) -> list[str]:
    return [f"{item.kind}: {item.what} {item.evidence}" for item in obstacles]


SERVED = {
    "nginx.service": service("/usr/sbin/nginx", "Type=forking"),
}
NGINX = "f 755 0:0 usr/sbin/nginx x\n"
INTERFACES = "auto eth0\niface eth0 inet static\n  address 192.0.2.10/24\n  gateway 192.0.2.1\n"

CASES: dict[str, tuple[dict[str, str], list[str]]] = {
    "modules": (
        {
            "etc/modules": "# comment\nloop\nip_vs rr\nipv6\n",
            "etc/modules-load.d/kvm.conf": "; note\nkvm_intel\n",
            "usr/lib/modules-load.d/dist.conf": "lp\n",
            "etc/sysconfig/modules/x.modules": "#!/bin/sh\n/sbin/modprobe -q nf_conntrack\n",
            "etc/conf.d/modules": 'modules="fuse tun"\n',
            "usr/src/zfs-2.1.11/dkms.conf": "PACKAGE_NAME=zfs\n",
        },
        [
            "kernel-module: loop /etc/modules:2 (modules)",
            "kernel-module: ip_vs /etc/modules:3 (modules)",
            "kernel-module: kvm_intel /etc/modules-load.d/kvm.conf:2 (modules)",
            "kernel-module: nf_conntrack /etc/sysconfig/modules/x.modules:2 (modules)",
            "kernel-module: fuse /etc/conf.d/modules:1 (modules)",
            "kernel-module: tun /etc/conf.d/modules:1 (modules)",
            "out-of-tree-module: zfs-2.1.11 /usr/src/zfs-2.1.11/dkms.conf (dkms)",
        ],
    ),
    "parameters": (
        {
            "etc/sysctl.conf": "#net.x = 1\nnet.ipv4.ip_forward=1\n-vm.swappiness = 10\n",
            "etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf",
            "etc/sysctl.d/10.conf": "kernel/shmmax = 1\nnet/ipv4/conf/eth0.5/rp_filter = 1\n",
            "usr/lib/sysctl.d/50-default.conf": "kernel.sysrq = 16\n",
        },
        [
            "sysctl: net.ipv4.ip_forward = 1 /etc/sysctl.conf:2 (sysctl)",
            "host-sysctl: vm.swappiness = 10 /etc/sysctl.conf:3 (sysctl)",
            "sysctl: kernel.shmmax = 1 /etc/sysctl.d/10.conf:1 (sysctl)",
            "sysctl: net.ipv4.conf.eth0/5.rp_filter = 1 /etc/sysctl.d/10.conf:2 (sysctl)",
        ],
    ),
    "limits": (
        {
            "etc/security/limits.conf": "#* soft core 0\n@db hard nofile 65536 # many\n",
            "etc/security/limits.d/20-nproc.conf": "* soft nproc 4096\n",
        },
        ["resource-limit: nofile 65536 (hard) for @db /etc/security/limits.conf:2 (limits)"],
    ),
    "mounts": (
        {
            "etc/fstab": (
                "UUID=1 / ext4 defaults 0 1\n"
                "nas:/export /srv/data nfs rw,_netdev 0 0\n"
                "//bob:pw@box/share /mnt/box cifs noauto 0 0\n"
                "/srv/data/www /var/www none bind 0 0\n"
                "tmpfs /var/spool/fast tmpfs size=1g 0 0\n"
                "tmpfs /tmp tmpfs defaults 0 0\n"
            ),
            "etc/systemd/system/backup.mount": (
                "[Mount]\nWhat=nas:/backup\nWhere=/backup\nType=nfs4\n"
            ),
            "etc/auto.master": "+auto.master\n/misc /etc/auto.misc\n/homes /etc/auto.homes\n",
        },
        [
            "remote-mount: nas:/export on /srv/data (nfs) /etc/fstab:2 (fstab)",
            "remote-mount: //box/share on /mnt/box (cifs) /etc/fstab:3 (fstab)",
            "bind-mount: /srv/data/www on /var/www (none) /etc/fstab:4 (fstab)",
            "memory-mount: tmpfs on /var/spool/fast (tmpfs) /etc/fstab:5 (fstab)",
            (
                "remote-mount: nas:/backup on /backup (nfs4)"
                " /etc/systemd/system/backup.mount:2 (systemd-mount)"
            ),
            "remote-mount: autofs: /etc/auto.homes below /homes /etc/auto.master:3 (autofs)",
        ],
    ),
    "iptables": (
        {
            "etc/iptables/rules.v4": (
                "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n*filter\n"
                "-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n"
            )
        },
        [
            "translation: -A POSTROUTING -o eth0 -j MASQUERADE /etc/iptables/rules.v4:2 (firewall)",
            "firewall: 2 firewall rules /etc/iptables/rules.v4:2 (firewall)",
        ],
    ),
    "nftables without a rule": (
        {
            "etc/nftables.conf": (
                "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n chain input {\n"
                "  type filter hook input priority 0; policy accept;\n }\n}\n"
            )
        },
        [],
    ),
    "nftables": (
        {"etc/nftables.conf": "table inet f {\n chain c {\n  tcp dport 22 accept\n }\n}\n"},
        ["firewall: 1 firewall rule /etc/nftables.conf:3 (firewall)"],
    ),
    "ufw that is on": (
        {
            "etc/ufw/ufw.conf": "# x\nENABLED=yes\n",
            "etc/ufw/user.rules": "*filter\n-A ufw-user-input -p tcp --dport 80 -j ACCEPT\n",
        },
        ["firewall: 1 firewall rule /etc/ufw/user.rules:2 (firewall)"],
    ),
    "ufw that is off": (
        {
            "etc/ufw/ufw.conf": "ENABLED=no\n",
            "etc/ufw/user.rules": "*filter\n-A ufw-user-input -p tcp --dport 80 -j ACCEPT\n",
        },
        [],
    ),
    "firewalld": (
        {
            "etc/firewalld/zones/public.xml": (
                '<zone>\n  <service name="ssh"/>\n  <masquerade/>\n</zone>\n'
            )
        },
        [
            "translation: <masquerade/> /etc/firewalld/zones/public.xml:3 (firewall)",
            "firewall: 2 firewall rules /etc/firewalld/zones/public.xml:2 (firewall)",
        ],
    ),
    "addresses": (
        {
            "etc/network/interfaces": INTERFACES,
            "etc/hosts": "127.0.0.1 localhost\n192.0.2.10 web1\n192.0.2.20 db1 db1.example\n",
            "etc/hostname": "web1\n",
            "etc/nginx/nginx.conf": (
                "server {\n listen 192.0.2.10:80;\n server_name web1;\n"
                " proxy_pass http://web1:8080;\n access_log /srv/web1/log;\n"
                " error_log /dev/stderr;\n set $tape /dev/st0;\n}\n"
            ),
        },
        [
            "address: the machine is 192.0.2.10 /etc/network/interfaces:3 (network-set-up)",
            "own-address: nginx: listen 192.0.2.10 /etc/nginx/nginx.conf:2 (nginx-config)",
            "device: nginx: set /dev/st0 /etc/nginx/nginx.conf:7 (nginx-config)",
            "hosts-entry: 192.0.2.20 db1 db1.example /etc/hosts:3 (hosts)",
        ],
    ),
    "the machine's name": (
        {
            "etc/hostname": "web1.example\n",
            "etc/nginx/nginx.conf": "server {\n server_name web1.example;\n root web1.example;\n",
        },
        ["hostname: nginx: root web1.example /etc/nginx/nginx.conf:3 (nginx-config)"],
    ),
    "keepalived": (
        {
            "etc/keepalived/keepalived.conf": (
                "! note\nvrrp_instance A {\n  interface eth1\n  virtual_ipaddress {\n"
                "    192.0.2.100/24 dev eth1\n  }\n}\n"
            )
        },
        [
            (
                "virtual-address: 192.0.2.100/24 dev eth1 /etc/keepalived/keepalived.conf:5"
                " (network-config)"
            ),
            "interface: interface eth1 /etc/keepalived/keepalived.conf:3 (network-config)",
        ],
    ),
    "dhcp on a device": (
        {"etc/default/isc-dhcp-server": 'INTERFACESv4="ens3"\nINTERFACESv6=""\n'},
        ['interface: INTERFACESv4="ens3" /etc/default/isc-dhcp-server:1 (network-config)'],
    ),
    "policies": (
        {
            "etc/selinux/config": "# SELINUX=enforcing\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
            "etc/nsswitch.conf": "passwd: files sss\nhosts: files dns\n",
        },
        [
            "selinux: SELinux enforces /etc/selinux/config:2 (selinux)",
            "directory-users: users come from sss /etc/nsswitch.conf:1 (nsswitch)",
        ],
    ),
    "a machine's policies that are off": (
        {"etc/selinux/config": "SELINUX=permissive\n", "etc/nsswitch.conf": "passwd: files\n"},
        [],
    ),
    "an old Java": (
        {
            "usr/lib/jvm/java-8/release": 'JAVA_VERSION="1.8.0_292"\n',
            "usr/lib/jvm/java-8u372/release": 'JAVA_VERSION="1.8.0_372"\n',
            "opt/jdk-11/release": 'IMPLEMENTOR="x"\nJAVA_VERSION="11.0.14.1"\n',
            "opt/jdk-13/release": 'JAVA_VERSION="13.0.2"\n',
            "opt/jdk-17/release": 'JAVA_VERSION="17"\n',
        },
        [
            "cgroup-v1: Java 1.8.0_292 /usr/lib/jvm/java-8/release:1 (java-release)",
            "cgroup-v1: Java 11.0.14.1 /opt/jdk-11/release:2 (java-release)",
            "cgroup-v1: Java 13.0.2 /opt/jdk-13/release:1 (java-release)",
        ],
    ),
    "an old systemd": (
        {"lib/systemd/libsystemd-shared-219.so": "x"},
        ["old-init: systemd 219 /usr/lib/systemd/systemd (systemd-version)"],
    ),
    "a present systemd": ({"usr/lib/systemd/libsystemd-shared-252.so": "x"}, []),
    "jobs": (
        {
            "etc/cron.d/own": "5 4 * * * web /srv/clean --all\n",
            "etc/cron.d/dist": "1 1 * * * root /usr/bin/sessions\n",
            "var/lib/dpkg/info/dist.list": "/.\n/etc\n/etc/cron.d\n/etc/cron.d/dist\n",
        },
        ["job: 5 4 * * * web: /srv/clean --all /etc/cron.d/own:1 (crontab)"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_work_in_a_container_is_told_with_its_line(case: str) -> None:
    files, expected = CASES[case]
    assert told(facts_of(files, SERVED, SYSTEM + NGINX).obstacles) == expected


@pytest.mark.parametrize(
    ("path", "text", "address", "interface"),
    [
        (
            "etc/sysconfig/network-scripts/ifcfg-ens3",
            'DEVICE="ens3"\nIPADDR=192.0.2.7\n',
            *("192.0.2.7", "ens3"),
        ),
        ("etc/sysconfig/network/ifcfg-eth0", "IPADDR='192.0.2.7/24'\n", "192.0.2.7", None),
        (
            "etc/netplan/01.yaml",
            (
                "network:\n  ethernets:\n    ens3:\n      addresses:\n        - 192.0.2.7/24\n"
                "      nameservers:\n        addresses: [192.0.2.1]\n"
            ),
            *("192.0.2.7", "ens3"),
        ),
        (
            "etc/netplan/02.yaml",
            "network:\n  ethernets:\n    ens3:\n      addresses: ['192.0.2.7/24']\n",
            *("192.0.2.7", "ens3"),
        ),
        (
            "etc/systemd/network/10.network",
            "[Match]\nName=ens3\n[Network]\nAddress=2001:db8::7/64\n",
            *("2001:db8::7", "ens3"),
        ),
        (
            "etc/NetworkManager/system-connections/a.nmconnection",
            "[connection]\ninterface-name=ens3\n[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\n",
            *("192.0.2.7", "ens3"),
        ),
    ],
)
def test_services_that_need_the_machines_address_or_device_are_found(
    path: str, text: str, address: str, interface: str | None
) -> None:
    command = f"/usr/bin/app --on [{address}] --via {interface}"
    found = facts_of({path: text}, {"app.service": service(command)}).obstacles
    kinds = {"address", "own-address", *(["interface"] if interface else [])}
    assert {item.kind for item in found} == kinds
    own = next(item for item in found if item.kind == "own-address")
    assert (own.what, own.evidence.line) == (f"app: /usr/bin/app {address}", 2)


def test_values_beside_what_was_found_are_not_told() -> None:
    unit = service("/usr/bin/app", "Environment=DB=postgres://me:secret@192.0.2.10/x")
    found = facts_of({"etc/network/interfaces": INTERFACES}, {"app.service": unit}).obstacles
    assert [item.what for item in found if item.kind == "own-address"] == ["app: DB 192.0.2.10"]
    assert "secret" not in repr(found)


def test_timers_are_told_but_for_those_that_keep_a_machine_in_order() -> None:
    timers = {
        "own.timer": "[Timer]\nOnBootSec=5\nOnCalendar=daily\nUnit=clean.service\n",
        "each@a.timer": "[Timer]\nOnUnitActiveSec=1h\n",
        "packaged.timer": "[Timer]\nOnCalendar=daily\n",
        "logrotate.timer": "[Timer]\nOnCalendar=daily\n",
    }
    files = {
        f"{UNITS}/logrotate.service": service("/usr/bin/app", "Type=oneshot"),
        f"{UNITS}/timers.target": "[Unit]\nDescription=x\n",
        f"{UNITS}/multi-user.target": "[Unit]\nWants=timers.target\n",
        "var/lib/dpkg/info/p.list": "/.\n/lib/systemd/system/packaged.timer\n",
        **{f"{UNITS}/{name}": text for name, text in timers.items()},
        **{
            f"etc/systemd/system/timers.target.wants/{name}": f"-> /{UNITS}/{name}"
            for name in timers
        },
    }
    found = inspect_tree(TreeIndex(memory_tree(SYSTEM + units_text(files))))
    assert told(found.obstacles) == [
        f"job: OnUnitActiveSec=1h: each@a.service /{UNITS}/each@a.timer:2 (systemd-timer)",
        f"job: OnCalendar=daily: clean.service /{UNITS}/own.timer:3 (systemd-timer)",
    ]


def test_a_folder_that_is_mounted_from_elsewhere_holds_data() -> None:
    found = facts_of({"etc/fstab": CASES["mounts"][0]["etc/fstab"]})
    assert [(item.path, str(item.evidence)) for item in found.volumes] == [
        ("/srv/data", "/etc/fstab:2 (fstab)")
    ]


@pytest.mark.parametrize("name", ["docker", "kubelet", "libvirtd", "lxd"])
def test_services_that_need_a_machine_of_their_own_are_told(name: str) -> None:
    found = facts_of({}, {f"{name}.service": service("/usr/bin/app")}).obstacles
    assert [item.kind for item in found] == ["nested"]
    assert str(found[0].evidence) == f"/{WANTS}/{name}.service (systemd-wants)"


PACKAGED = [
    ("openjdk-8-jre-headless", "8u292-b10-0+deb9u1", True),
    ("openjdk-8-jre-headless", "8u372-ga-1~deb11u1", False),
    ("java-1.8.0-openjdk-headless", "1:1.8.0.292.b10-1.el7_9", True),
    ("java-1.8.0-openjdk-headless", "1:1.8.0.412.b08-1.el7_9", False),
    ("openjdk-11-jre", "11.0.14+9-1", True),
    ("openjdk-11-jre", "11.0.20+8-1~deb11u1", False),
    ("openjdk-17-jre", "17.0.1+12-1", False),
    ("docker-ce", "5:19.03.15~3-0~debian-buster", True),
    ("docker-ce", "5:24.0.7-1~debian.12~bookworm", False),
    ("cgroup-bin", "0.41-8", True),
    ("openjdk-8-doc", "8u292-b10-0", False),
]


@pytest.mark.parametrize(("name", "version", "is_old"), PACKAGED)
def test_packages_from_before_cgroup_v2_are_told(name: str, version: str, is_old: bool) -> None:
    text = f"%NAME%\n{name}\n\n%VERSION%\n{version}\n"
    found = facts_of({"var/lib/pacman/local/x/desc": text}).obstacles
    assert [item.kind for item in found] == ["cgroup-v1"] * is_old
    assert all(item.what.endswith(name) and version in str(item.evidence) for item in found)


def test_a_program_of_32_bits_among_those_of_64_is_told() -> None:
    more = SYSTEM.replace("\\x7fELF\\x02\\x01", PROGRAM).replace("usr/bin/app x", "usr/bin/a x")
    more += f"f 755 0:0 usr/bin/app {PROGRAM_386}\n"
    found = facts_of({}, {"app.service": service("/usr/bin/app")}, more).obstacles
    assert told(found) == ["32-bit: app is for 386, the system for amd64 /usr/bin/app (elf-header)"]


def test_a_whole_system_of_32_bits_is_told() -> None:
    more = SYSTEM.replace("\\x7fELF\\x02\\x01", PROGRAM_386)
    assert [item.what for item in facts_of({}, more=more).obstacles] == ["the programs are for 386"]


def test_every_kind_that_the_table_explains_is_found_by_a_test() -> None:
    found = {line.partition(":")[0] for _, expected in CASES.values() for line in expected}
    elsewhere = {"nested", "32-bit", "other-architecture"}
    assert found | elsewhere == set(table()["advice"])


def test_a_program_for_another_processor_is_told() -> None:
    more = SYSTEM.replace("\\x7fELF\\x02\\x01", PROGRAM).replace("usr/bin/app x", "usr/bin/a x")
    more += f"f 755 0:0 usr/bin/app {PROGRAM.replace('x3e', 'xb7')}\n"
    found = facts_of({}, {"app.service": service("/usr/bin/app")}, more).obstacles
    assert [item.kind for item in found] == ["other-architecture"]


def test_more_obstacles_than_a_person_reads_end_the_search() -> None:
    modules = "".join(f"module{number}\n" for number in range(_OBSTACLES_MAX + 1))
    found = facts_of({"etc/modules": modules})
    assert len(found.obstacles) == _OBSTACLES_MAX
    assert [item.rule for item in found.findings] == ["obstacles-not-read"]


def test_every_pattern_of_the_table_is_one() -> None:
    rows = [*table()["firewall"], *table()["network"], *table()["watched"]]
    for row in rows:
        for key in ("pattern", "rule", "translation"):
            re.compile(str(row.get(key, "")))
    assert all(age.packages.pattern for age in ages())


def test_the_parameters_said_to_be_a_containers_own_are_those_that_podman_sets(
    tmp_path: Path,
) -> None:
    names = ["net.ipv4.ip_forward", "kernel.shmmax", "kernel.msgmnb", "fs.mqueue.msg_max"]
    names += ["vm.swappiness", "fs.file-max", "kernel.sysrq"]
    (tmp_path / "root").mkdir()
    with podman() as engine:
        for name in names:
            options = ("--network", "none", "--sysctl", f"{name}=1", "--rootfs", tmp_path / "root")
            is_created = engine("create", *options, "true", check=False).strip() != b""
            assert is_created is (namespaced().fullmatch(name) is not None), name
