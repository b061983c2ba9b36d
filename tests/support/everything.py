"""A tree with one of everything that a tar or a Linux filesystem can hold; sockets apart."""

from __future__ import annotations

from tests.support.memory_tree import memory_tree


def _escaped(value: str) -> str:
    """Return hexadecimal digits as escapes for :func:`memory_tree`."""
    return "".join(f"\\x{byte:02x}" for byte in bytes.fromhex(value))


_LONG = "n" * 250
_FOLDERS = "/".join(("folder-of-forty-letters-in-its-own-name-",) * 8)
_CAPABILITY = _escaped("01000002 00200000 00000000 00000000 00000000")
"""Version 2, effective: cap_net_raw."""
_ACL = _escaped(
    "02000000"  # version 2; then tag, permissions and id of each
    "01000700ffffffff 02000500e8030000 04000500ffffffff 10000500ffffffff 20000500ffffffff"
)
"""``u::rwx,u:1000:r-x,g::r-x,m::r-x,o::r-x``."""

EVERYTHING = memory_tree(rf"""
d 1777 0:0 tmp
d 2755 0:50 var/mail
d 0 1000:1000 closed/inside
f 644 0:0 closed/inside/file x
d 555 1000:1000 closed
f 4755 0:0 usr/bin/su *70001
f 600 1000:1000 home/me/\xff\x20\x0a\\name text\n
f 644 0:0 empty
f 644 4294967294:3000000 large-ids x
f 644 0:0 {_LONG} x
f 644 0:0 {"m" * 100} x
f 644 0:0 {"p" * 155}/{"q" * 100} x
f 644 0:0 {"p" * 156}/{"q" * 100} x
f 644 0:0 {_FOLDERS}/{_LONG} x
d 711 0:0 {_FOLDERS}/{"z" * 99}
h {_FOLDERS}/{"y" * 101} {_FOLDERS}/{_LONG}
h link-to-long {_FOLDERS}/{_LONG}
h usr/su usr/bin/su
l 777 0:0 short ../etc/passwd
l 777 0:0 long {"t" * 101}
l 777 0:0 longest {"a/" * 2000}b
h short-too short
c 666 0:5 dev/null 1:3
b 660 0:6 dev/disk 259:1048575
h dev/one-more dev/disk
p 600 0:0 run/pipe
f 644 0:0 old x
m -5 old
f 644 0:0 very-old x
m -2147483648 very-old
f 644 0:0 future x
m 8589934592 future
f 755 0:0 ping x
x ping security.capability {_CAPABILITY}
x ping user.note two\nlines\x00and\x20a\x20NUL
x ping user.empty
f 640 0:0 shared x
d 750 0:0 var/acl
x var/acl system.posix_acl_default {_ACL}
d 755 0:0 home/me
x home/me user.folder yes
m 1700000000 usr/bin/su
m 1700000001 short
m 1700000002 home/me
m 1700000003 dev/null
""")
