"""Which packages a guest has; a damaged database is no reason not to convert it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from convert.inspect.guest import Guest
from convert.packages.installed import installed_packages
from convert.packages.owners import listed_paths
from formats.core.errors import ConvertError
from formats.core.finding import Action, Finding
from formats.core.package import Package

_RULE = "package-database"


class Installed:
    """The databases of a guest's package managers, each read when it is first asked for."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """All packages, without their records and scripts, which are large; none of a bad one."""
        try:
            found = installed_packages(self._guest.index)
        except ConvertError as error:
            self._told(error, "packages are not listed")
            return ()
        return tuple(replace(package, record=b"", scripts=()) for package in found)

    @cached_property
    def _listed(self) -> frozenset[bytes]:
        try:
            return frozenset(path.strip(b"/") for path, _ in listed_paths(self._guest.index))
        except ConvertError as error:
            self._told(error, "nothing is known of whose files are")
            return frozenset()

    def owns(self, path: bytes) -> bool:
        """Tell whether a package lists a path.

        Of the links that a package may have taken for folders, only those of a merged ``/usr``
        count: what it calls ``/lib/x`` is ``usr/lib/x``.
        """
        return path in self._listed or path.removeprefix(b"usr/") in self._listed

    def _told(self, error: ConvertError, so: str) -> None:
        where = str(error.origin or self._guest.index.tree.origin).encode()
        evidence = f"{error.message}; {so}"
        finding = Finding(_RULE, where, Action.REPORTED, evidence)
        if all(known.path != finding.path for known in self._guest.findings):
            self._guest.findings.append(finding)
