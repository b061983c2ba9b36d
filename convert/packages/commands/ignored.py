"""Commands without an effect on the files of a new root, and why each has none."""

from __future__ import annotations

_SERVICES = "starts, stops or asks services, of which none is running"
_PERSON = "talks with the person who installs"
_UPGRADE = "matters for upgrades and removals"
_SHELL = "is for the shell alone: paths that are not absolute are not followed"
_MACHINE = "is about the machine's kernel, boot or security labels"
_CACHE = "makes a cache that programs do without"
_IN_THE_END = "is done as data once all packages are in"

IGNORED: dict[str, str] = {
    **dict.fromkeys(
        (
            *("invoke-rc.d", "deb-systemd-invoke", "service", "start-stop-daemon", "initctl"),
            *("kill", "killall", "pkill", "sleep", "wait", "telinit", "init", "sync", "udevadm"),
            *("dbus-send", "rc-service"),
        ),
        _SERVICES,
    ),
    **dict.fromkeys(
        (
            *("db_version", "db_capb", "db_input", "db_go", "db_stop", "db_title", "db_subst"),
            *("db_beginblock", "db_endblock", "db_fset", "db_set", "db_reset", "db_purge"),
            *("db_register", "db_unregister", "db_info", "db_progress", "db_settitle"),
            *("db_x_loadtemplatefile", "logger", "wall", "debconf-communicate"),
        ),
        _PERSON,
    ),
    **dict.fromkeys(
        (*("dpkg-maintscript-helper", "dpkg-trigger", "ucfr", "passwd", "chage"),),
        _UPGRADE,
    ),
    **dict.fromkeys(("umask", "trap", "cd", "ulimit", "hash", "times"), _SHELL),
    **dict.fromkeys(
        (
            *("update-initramfs", "update-grub", "update-grub2", "depmod", "modprobe", "sysctl"),
            *("apparmor_parser", "setupcon", "restorecon", "fixfiles", "semodule", "setsebool"),
            *("semanage", "load_policy", "update-ca-trust-check", "kmodsign", "dkms", "rmmod"),
            *("insmod", "mount", "umount", "swapon", "swapoff", "linux-update-symlinks"),
        ),
        _MACHINE,
    ),
    **dict.fromkeys(
        (
            *("py3compile", "pypy3compile", "pycompile", "pypycompile", "py3clean", "pyclean"),
            *("update-mime", "update-desktop-database", "update-menus", "update-icon-caches"),
            *("gtk-update-icon-cache", "gtk4-update-icon-cache", "fc-cache", "mandb"),
            *("install-info", "update-info-dir", "update-mime-database", "update-xmlcatalog-cache"),
            *("update-command-not-found", "update-apt-xapian-index", "appstreamcli"),
        ),
        _CACHE,
    ),
    **dict.fromkeys(
        (
            *("ldconfig", "systemd-sysusers", "systemd-tmpfiles", "update-ca-certificates"),
            *("update-ca-trust", "update-passwd"),
        ),
        _IN_THE_END,
    ),
}
