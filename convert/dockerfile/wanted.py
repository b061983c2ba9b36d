"""Which packages somebody asked for, by the records of the package managers.

==========  ===================================================================================
apt         ``/var/lib/apt/extended_states``: ``Auto-Installed: 1`` are the others (apt-mark(8))
dnf         ``/var/lib/dnf/history.sqlite``: the reason of each package's latest transaction
dnf5        ``packages.toml`` of its system state: ``reason = "User"`` (dnf5-mark(8))
yum         ``/var/lib/yum/yumdb``: a file ``reason`` for each package
zypper      ``/var/lib/zypp/AutoInstalled``: the names of the others
apk         ``/etc/apk/world`` (apk-world(5))
pacman      ``%REASON%`` of a package's ``desc`` is 1 for the others (alpm-db-desc)
==========  ===================================================================================

Where there is no record, those are taken that no other package needs.
"""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from convert.packages.installed import DATABASE_BYTES, PACMAN_FOLDER
from formats.core.errors import ConvertError
from formats.core.limits import MIB
from formats.core.package import Package, PackageSystem
from formats.core.tree import TreeIndex

EXTENDED_STATES = b"var/lib/apt/extended_states"
DNF_HISTORY = b"var/lib/dnf/history.sqlite"
DNF5_STATE = b"usr/lib/sysimage/libdnf5/packages.toml"
YUM_FOLDER = b"var/lib/yum/yumdb"
ZYPP_AUTO = b"var/lib/zypp/AutoInstalled"
APK_WORLD = b"etc/apk/world"

_HISTORY_BYTES = 256 * MIB
_DNF_AUTOMATIC = frozenset({1, 3, 4})
"""Reasons of libdnf: a dependency, one that nothing needs any more, a weak dependency."""
_DNF_DONE = 1
_STEPS, _MOST_STEPS = 1 << 20, 64
_STRONG = frozenset({"Depends", "Pre-Depends", "Requires"})
_APK_WORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9+._-]*)((?:[@<>=~]+[A-Za-z0-9+._~-]+){0,2})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The packages that were asked for.

    :ivar names: as installed packages are named, sorted.
    :ivar constraints: what apk's world has behind a name: ``=1.2.3-r0``, ``@edge``.
    :ivar basis: what says so; for people.
    :ivar is_known: there is a record; otherwise it was worked out.
    """

    names: tuple[str, ...]
    basis: str
    is_known: bool = True
    constraints: Mapping[str, str] | None = None


def wanted_packages(
    index: TreeIndex, packages: Sequence[Package], system: PackageSystem
) -> tuple[Wanted, str | None]:
    """Return what was asked for, of the packages of one system, and what is wrong with a record.

    A damaged record is as good as none.
    """
    own = [package for package in packages if package.system is system]
    problem: str | None = None
    for read in _RECORDS[system]:
        try:
            found = read(index, own)
        except ConvertError as error:
            problem = str(error)
            continue
        if found is not None:
            return found, problem
    names = needed_by_none(own)
    return Wanted(names, "nothing: no other package needs these", is_known=False), problem


def needed_by_none(packages: Sequence[Package]) -> tuple[str, ...]:
    """Return the packages that no other one needs; of those that need each other, the first."""
    needs = _needs(packages)
    needed = {other for name, others in needs.items() for other in others if other != name}
    chosen = sorted(name for name in needs if name not in needed)
    reached = _reached(chosen, needs)
    for name in sorted(needs):  # what is left are circles
        if name not in reached:
            chosen.append(name)
            reached |= _reached([name], needs)
    return tuple(sorted(chosen))


def not_needed_by(packages: Sequence[Package], names: Iterable[str]) -> tuple[str, ...]:
    """Return the packages that these do not depend on, not even by way of others."""
    needs = _needs(packages)
    reached = _reached(names, needs)
    return tuple(sorted(name for name in needs if name not in reached))


def _needs(packages: Sequence[Package]) -> dict[str, set[str]]:
    """Return the packages that each one depends on, by name; recommendations do not count."""
    providers: dict[str, set[str]] = {}
    for package in packages:
        for name in (package.name, *(relation.name for relation in package.provides)):
            providers.setdefault(name, set()).add(package.name)
    needs: dict[str, set[str]] = {}
    for package in packages:
        named = needs.setdefault(package.name, set())
        for requirement in package.requirements:
            if requirement.when in _STRONG:
                for relation in requirement.alternatives:
                    named |= providers.get(relation.name, set())
    return needs


def _reached(names: Iterable[str], needs: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += needs.get(name, ())
    return reached


def _text(index: TreeIndex, path: bytes, limit: int = DATABASE_BYTES) -> str | None:
    content = index.content(path, limit)
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _others_than(packages: Sequence[Package], automatic: set[str]) -> tuple[str, ...]:
    return tuple(sorted({package.name for package in packages} - automatic))


def _apt(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    text = _text(index, EXTENDED_STATES)
    if text is None:
        return None
    automatic: set[str] = set()
    for paragraph in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in paragraph.strip().split("\n"))
        if fields.get("Auto-Installed") == "1":
            automatic.add(fields.get("Package", ""))
    return Wanted(_others_than(packages, automatic), f"/{EXTENDED_STATES.decode()}")


def _dnf(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    data = index.content(DNF_HISTORY, _HISTORY_BYTES)
    if not data:
        return None
    reasons = _history(data)
    if not reasons:
        return None
    automatic = {name for name, reason in reasons.items() if reason in _DNF_AUTOMATIC}
    return Wanted(_others_than(packages, automatic), f"/{DNF_HISTORY.decode()}")


def _history(data: bytes) -> dict[str, int]:
    """Return the reason of each package; nothing of what is no database of that form."""
    steps = 0

    def is_too_long() -> bool:
        nonlocal steps
        steps += 1
        return steps > _MOST_STEPS

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        try:
            # a database with a write-ahead log cannot be read from memory: bytes 18 and 19 say so
            connection.deserialize(data[:18] + b"\x01\x01" + data[20:])
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.set_progress_handler(is_too_long, _STEPS)
            rows = connection.execute(
                "SELECT rpm.name, trans_item.reason FROM trans_item"
                " JOIN rpm ON rpm.item_id = trans_item.item_id"
                " JOIN trans ON trans.id = trans_item.trans_id"
                " WHERE trans.state = ? ORDER BY trans_item.trans_id, trans_item.id",
                (_DNF_DONE,),
            )
            return {
                name: reason
                for name, reason in rows
                if isinstance(name, str) and isinstance(reason, int)
            }
        except (sqlite3.Error, OverflowError):
            return {}


def _dnf5(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    text = _text(index, DNF5_STATE)
    if text is None:
        return None
    try:
        table = tomllib.loads(text).get("packages")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    if not isinstance(table, dict):
        return None
    automatic = {
        str(key).rpartition(".")[0]
        for key, value in table.items()
        if isinstance(value, dict) and value.get("reason") not in {"User", "External User"}
    }
    return Wanted(_others_than(packages, automatic), f"/{DNF5_STATE.decode()}")


def _yum(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    reasons: dict[str, str] = {}
    for letter in index.children(YUM_FOLDER):
        for folder in index.children(letter.path):
            # DIGEST-NAME-VERSION-RELEASE-ARCHITECTURE
            name = folder.name.decode("utf-8", "surrogateescape").partition("-")[2]
            reason = _text(index, folder.path + b"/reason", 1024)
            if reason is not None:
                reasons[name.rsplit("-", 3)[0]] = reason.strip()
    if not reasons:
        return None
    automatic = {name for name, reason in reasons.items() if reason == "dep"}
    return Wanted(_others_than(packages, automatic), f"/{YUM_FOLDER.decode()}")


def _zypper(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    text = _text(index, ZYPP_AUTO)
    if text is None:
        return None
    lines = (line.strip() for line in text.split("\n"))
    automatic = {line for line in lines if line and not line.startswith("#")}
    return Wanted(_others_than(packages, automatic), f"/{ZYPP_AUTO.decode()}")


def _apk(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    text = _text(index, APK_WORLD)
    if text is None:
        return None
    installed = {package.name for package in packages}
    constraints: dict[str, str] = {}
    for word in text.split():
        match = _APK_WORD.fullmatch(word)
        if match is not None and match[1] in installed:
            constraints[match[1]] = match[2]
    return Wanted(
        tuple(sorted(constraints)),
        f"/{APK_WORLD.decode()}",
        constraints={name: asked for name, asked in constraints.items() if asked},
    )


def _pacman(index: TreeIndex, packages: Sequence[Package]) -> Wanted | None:
    automatic: set[str] = set()
    for folder in index.children(PACMAN_FOLDER):
        text = _text(index, folder.path + b"/desc", MIB) or ""
        fields = dict(
            paragraph.strip("\n").partition("\n")[::2] for paragraph in text.split("\n\n")
        )
        if fields.get("%REASON%") == "1":
            automatic.add(fields.get("%NAME%", ""))
    return Wanted(_others_than(packages, automatic), f"/{PACMAN_FOLDER.decode()}")


_RECORDS = {
    PackageSystem.DEB: (_apt,),
    PackageSystem.RPM: (_dnf5, _dnf, _yum, _zypper),
    PackageSystem.APK: (_apk,),
    PackageSystem.PACMAN: (_pacman,),
}
