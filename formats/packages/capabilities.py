"""File capabilities: from the text that rpm and setcap(8) take to the xattr that Linux keeps.

Specification: cap_from_text(3); capabilities(7), "File capability extended attribute versioning";
linux/capability.h (``struct vfs_cap_data``).
"""

from __future__ import annotations

import re
import struct

from formats.core.errors import CorruptError, quoted

XATTR = b"security.capability"

_REVISION_2 = 0x0200_0000
_EFFECTIVE = 1
_DATA = struct.Struct("<5I")

_NAMES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)
_NUMBERS = {f"cap_{name}": number for number, name in enumerate(_NAMES)}
_ALL = (1 << len(_NAMES)) - 1
_BITS = 64

_CLAUSE = re.compile(r"(?P<names>[a-z0-9_,]*)(?P<actions>(?:[-+=][eip]*)+)")
_ACTION = re.compile(r"([-+=])([eip]*)")
_NUMBER = re.compile(r"[0-9]{1,2}")


def capability_xattr(text: str) -> bytes | None:
    """Return the value of ``security.capability``; None where the text means no capabilities.

    :param text: ``cap_net_raw=ep``, ``= cap_chown,cap_kill+p``; "" in rpms for files without.
    :raises CorruptError: without origin, for what is no such text, or cannot be a file's.
    """
    sets = {"e": 0, "i": 0, "p": 0}
    for clause in text.split():
        match = _CLAUSE.fullmatch(clause.lower())
        if match is None:
            raise _nonsense(text)
        mask = _mask(match["names"], match["actions"], text)
        for operator, flags in _ACTION.findall(match["actions"]):
            if operator == "=":
                for flag in sets:
                    sets[flag] &= ~mask
            for flag in flags:
                sets[flag] = sets[flag] & ~mask if operator == "-" else sets[flag] | mask
    permitted, inheritable = sets["p"], sets["i"]
    if not any(sets.values()):
        return None
    if sets["e"] not in {0, permitted | inheritable}:
        raise CorruptError(
            f"has the file capabilities {quoted(text)}; the effective ones of a file are all or"
            " none of the others"
        )
    low, high = (1 << 32) - 1, 32
    return _DATA.pack(
        _REVISION_2 | (_EFFECTIVE if sets["e"] else 0),
        permitted & low,
        inheritable & low,
        permitted >> high,
        inheritable >> high,
    )


def _mask(names: str, actions: str, text: str) -> int:
    if names in {"", "all"}:
        if not names and not actions.startswith("="):
            raise _nonsense(text)
        return _ALL
    mask = 0
    for name in names.split(","):
        number = _NUMBERS.get(name)
        if number is None and _NUMBER.fullmatch(name):
            number = int(name)
        if number is None or number >= _BITS:
            raise _nonsense(text)
        mask |= 1 << number
    return mask


def _nonsense(text: str) -> CorruptError:
    return CorruptError(f"has the file capabilities {quoted(text)}, which make no sense")
