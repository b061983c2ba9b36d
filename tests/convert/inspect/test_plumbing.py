"""Which services belong to the operating system."""

from __future__ import annotations

import pytest

from convert.inspect.plumbing import plumbing_reason


@pytest.mark.parametrize(
    ("service", "word"),
    [
        ("systemd-logind", "systemd"),
        ("getty@tty1", "login prompt"),
        ("serial-getty@ttyS0", "login prompt"),
        ("ssh", "remote login"),
        ("sshd@0", "remote login"),
        ("chronyd", "clock"),
        ("NetworkManager-wait-online", "network"),
        ("snapd.seeded", "updates"),
        ("cloud-init-local", "cloud"),
        ("open-vm-tools", "guest agent"),
        ("qemu-guest-agent", "guest agent"),
        ("multipathd", "disks"),
        ("rsyslog", "logs"),
        ("cron", "periodic"),
        ("zabbix-agent2", "watches"),
        ("polkit", "policies"),
    ],
)
def test_names_why_a_service_is_no_workload(service: str, word: str) -> None:
    reason = plumbing_reason(service)

    assert reason is not None
    assert word in reason


@pytest.mark.parametrize(
    "service",
    [
        *("nginx", "apache2", "httpd", "mariadb", "postgresql@15-main", "redis-server", "named"),
        *("php8.2-fpm", "tomcat10", "docker", "app", "zabbix-server", "postfix", "squid", "sshd2"),
    ],
)
def test_workloads_are_not_plumbing(service: str) -> None:
    assert plumbing_reason(service) is None
