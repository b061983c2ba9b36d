"""Filesystems that are on no disk: the kernel makes their files up as they are read.

proc(5), sysfs(5), cgroups(7), and Documentation/filesystems of the kernel.
"""

from __future__ import annotations

KERNELS_OWN = frozenset(
    {
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    }
)
"""Types whose files belong to no tree."""
