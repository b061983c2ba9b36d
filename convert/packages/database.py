"""The entries by which scanners see packages: those of distroless images, or an rpm database.

``/var/lib/dpkg/status.d/NAME`` has a package's control stanza, ``NAME.md5sums`` the digests of its
files: what distroless images have, and scanners read beside dpkg's own ``status``, which is left
alone. An rpm database is written where there is no base, and never changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from convert.inspect.text import encoded
from convert.packages.system import System
from formats.core.entry import Kind
from formats.core.finding import Action
from formats.core.package import Package, PackageSystem
from formats.packages.rpm.database import rpmdb_sqlite

_STATUS = b"var/lib/dpkg/status"
_STATUS_FOLDER = b"var/lib/dpkg/status.d"
_RPM_FOLDER = b"usr/lib/sysimage/rpm"
_RPM_LINK = b"var/lib/rpm"
_RULE = "package-database"


def record_packages(system: System, packages: Sequence[Package], *, has_base: bool) -> None:
    """Write down which packages were added."""
    debs = [package for package in packages if package.system is PackageSystem.DEB]
    rpms = [package for package in packages if package.system is PackageSystem.RPM]
    if debs:
        _record_debs(system, debs)
    if not rpms:
        return
    if has_base:
        evidence = f"{_counted(rpms)} not in the base's rpm database, which stays as it is"
        system.told(_RULE, _RPM_LINK, Action.REPORTED, evidence)
        return
    _record_rpms(system, rpms)


def _record_debs(system: System, packages: Sequence[Package]) -> None:
    used: set[str] = set()
    for package in packages:
        name = package.name
        if name in used:  # libraries of two architectures
            name = f"{name}_{package.architecture}"
        used.add(name)
        path = _STATUS_FOLDER + b"/" + encoded(name)
        system.world.write(path, package.record.rstrip(b"\n") + b"\n")
        sums = [
            b"%s  %s\n" % (digest.encode(), known)
            for known, (algorithm, digest) in sorted(package.digests.items())
            if algorithm == "md5"
        ]
        if sums:
            system.world.write(path + b".md5sums", b"".join(sums))
    where = f"/{_STATUS_FOLDER.decode()}"
    evidence = f"{_counted(packages)} recorded in {where}"
    if system.world.get(_STATUS) is not None:
        evidence += "; the base's own list stays as it is"
    system.told(_RULE, _STATUS_FOLDER, Action.ADDED, evidence)


def _record_rpms(system: System, packages: Sequence[Package]) -> None:
    installed_at = system.world.mtime_ns // 10**9
    data = rpmdb_sqlite([package.record for package in packages], installed_at=installed_at)
    system.world.write(_RPM_FOLDER + b"/rpmdb.sqlite", data)
    if system.world.get(_RPM_LINK) is None:
        target = b"../../" + _RPM_FOLDER
        system.world.make(_RPM_LINK, Kind.SYMLINK, 0o777, target=target)
    system.told(_RULE, _RPM_FOLDER, Action.ADDED, f"{_counted(packages)} recorded, as rpm does")


def _counted(packages: Sequence[Package]) -> str:
    return f"{len(packages):,} package{'' if len(packages) == 1 else 's'}"
