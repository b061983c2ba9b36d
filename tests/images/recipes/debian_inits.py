"""Debian systems whose services something other than one systemd unit starts.

SysV scripts, OpenRC, runit and supervisord, each from the distribution's packages; machines with
several services; and machines with nothing but cron or remote login.
"""

from __future__ import annotations

from tests.images.recipes.debian_systems import System

PAGE = "forty-two beans"

_SYSV = ("sysvinit-core", "systemd-sysv-", "libpam-systemd-")
_OPENRC = ("openrc", "sysvinit-core", "systemd-sysv-", "sysv-rc-")
_RUNIT = ("runit-init", "runit", "systemd-sysv-", "sysvinit-core-")


def _lighttpd(port: int) -> dict[str, str]:
    return {
        "etc/lighttpd/conf-enabled/20-port.conf": f"server.port := {port}\n",
        "var/www/html/index.html": f"{PAGE}\n",
    }


def _redis(port: int) -> str:
    """Return what makes Redis listen to everybody, on another port."""
    return rf"""
        sed -i -e 's/^bind .*/bind 0.0.0.0/' -e 's/^port .*/port {port}/' \
            -e 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf
    """


SYSV = System("sysv", (*_SYSV, "lighttpd"), _lighttpd(8101))

SYSV_WITH_TWO = System(
    "sysv-two", (*_SYSV, "lighttpd", "redis-server"), _lighttpd(8102), finish=_redis(6382)
)

SYSTEMD_WITH_TWO = System(
    "systemd-two", ("lighttpd", "redis-server"), _lighttpd(8103), finish=_redis(6383)
)

OPENRC_WITH_TWO = System(
    "openrc-two",
    (*_OPENRC, "lighttpd", "busybox"),
    {
        **_lighttpd(8104),
        "srv/notes/index.html": f"{PAGE}, noted\n",
        "etc/conf.d/notes": 'NOTES_PORT="8105"\n',
        "etc/init.d/notes": """\
#!/sbin/openrc-run
description="The notes"
command=/usr/bin/busybox
command_args="httpd -f -p ${NOTES_PORT} -h /srv/notes"
command_background=yes
command_user="www-data:www-data"
pidfile=/run/notes.pid
""",
    },
    finish="""
        chmod 755 /etc/init.d/notes
        rc-update add notes default
        rc-update add lighttpd default
    """,
)

SUPERVISED = System(
    "supervised",
    ("supervisor", "busybox"),
    {
        "srv/shop/index.html": f"{PAGE}\n",
        "srv/notes/index.html": f"{PAGE}, noted\n",
        "etc/supervisor/conf.d/shop.conf": """\
[program:shop]
command=/usr/bin/busybox httpd -f -p 8106 -h /srv/%(program_name)s
user=www-data
stopsignal=INT
""",
        "etc/supervisor/conf.d/notes.conf": """\
[program:notes]
command=/usr/bin/busybox httpd -f -p 8107 -h %(here)s/../../../srv/notes ; where they are
user=www-data
""",
    },
    finish="systemctl enable supervisor",
)

RUNIT_WITH_TWO = System(
    "runit-two",
    (*_RUNIT, "busybox"),
    {
        "srv/shop/index.html": f"{PAGE}\n",
        "etc/sv/shop/run": """\
#!/bin/sh
exec 2>&1
exec chpst -u www-data /usr/bin/busybox httpd -f -p 8108 -h /srv/shop
""",
        "srv/notes/index.html": f"{PAGE}, noted\n",
        "etc/sv/notes/run": """\
#!/bin/sh
port=8109
exec 2>&1
exec chpst -u www-data /usr/bin/busybox httpd -f -p $port -h /srv/notes
""",
    },
    finish="""
        chmod 755 /etc/sv/shop/run /etc/sv/notes/run
        ln -s /etc/sv/shop /etc/sv/notes /etc/service/
    """,
)

CRON_ALONE = System(
    "cron",
    ("cron", "busybox"),
    {
        "srv/site/index.html": f"{PAGE}\n",
        "etc/cron.d/site": "@reboot www-data /usr/bin/busybox httpd -f -p 8110 -h /srv/site\n",
    },
)

SSH_ALONE = System("ssh", ("openssh-server",), {"etc/ssh/sshd_config.d/port.conf": "Port 8122\n"})
