"""Users and groups whose numbers a distribution has fixed, for roots that have none of them yet.

Debian: base-passwd's "Users and Groups in the Debian System", Debian Policy 9.2.2. Red Hat:
``/usr/share/doc/setup/uidgid``. They are added once something asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FixedUser:
    """A user; its comment is its name."""

    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class FixedIds:
    """The users and groups of one family of distributions, by name."""

    users: Mapping[str, FixedUser]
    groups: Mapping[str, int]


_DEBIAN_USERS = """
daemon 1 1 /usr/sbin
bin 2 2 /bin
sys 3 3 /dev
sync 4 65534 /bin
games 5 60 /usr/games
man 6 12 /var/cache/man
lp 7 7 /var/spool/lpd
mail 8 8 /var/mail
news 9 9 /var/spool/news
uucp 10 10 /var/spool/uucp
proxy 13 13 /bin
www-data 33 33 /var/www
backup 34 34 /var/backups
list 38 38 /var/list
irc 39 39 /run/ircd
_apt 42 65534 /nonexistent
"""

_DEBIAN_GROUPS = """
daemon 1, bin 2, sys 3, adm 4, tty 5, disk 6, lp 7, mail 8, news 9, uucp 10, man 12, proxy 13,
kmem 15, dialout 20, fax 21, voice 22, cdrom 24, floppy 25, tape 26, sudo 27, audio 29, dip 30,
www-data 33, backup 34, operator 37, list 38, irc 39, src 40, shadow 42, utmp 43, video 44,
sasl 45, plugdev 46, staff 50, games 60, users 100
"""

_RED_HAT_USERS = """
bin 1 1 /bin
daemon 2 2 /sbin
adm 3 4 /var/adm
lp 4 7 /var/spool/lpd
sync 5 0 /sbin
shutdown 6 0 /sbin
halt 7 0 /sbin
mail 8 12 /var/spool/mail
operator 11 0 /root
games 12 100 /usr/games
ftp 14 50 /var/ftp
"""

_RED_HAT_GROUPS = """
bin 1, daemon 2, sys 3, adm 4, tty 5, disk 6, lp 7, mem 8, kmem 9, wheel 10, cdrom 11, mail 12,
man 15, dialout 18, floppy 19, games 20, utmp 22, tape 33, utempter 35, video 39, ftp 50, lock 54,
audio 63, users 100
"""


def _users(text: str) -> dict[str, FixedUser]:
    rows = (line.split() for line in text.strip().split("\n"))
    return {name: FixedUser(int(uid), int(gid), home) for name, uid, gid, home in rows}


def _groups(text: str) -> dict[str, int]:
    pairs = (item.split() for item in text.split(","))
    return {name: int(gid) for name, gid in pairs}


DEBIAN = FixedIds(_users(_DEBIAN_USERS), _groups(_DEBIAN_GROUPS))
RED_HAT = FixedIds(_users(_RED_HAT_USERS), _groups(_RED_HAT_GROUPS))
