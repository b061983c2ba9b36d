"""What an init system that stays must not start: units masked, links of runlevels taken out.

systemd masks a unit by a link to ``/dev/null`` in ``/etc/systemd/system`` (systemctl(1), "mask");
a masked template masks its instances. Scripts of SysV and OpenRC start by links in folders of
runlevels. The units, scripts and programs themselves stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from convert.rules.ledger import Deed, Treated
from convert.rules.table import Replaced, Rule
from convert.trees import FilteredTree, Replacement
from formats.core.entry import Entry, Kind, join
from formats.core.finding import Action, Finding
from formats.core.tree import Tree, TreeIndex

SYSTEMD = "systemd"

_MASKS = b"etc/systemd/system"
_MASK = b"/dev/null"
_UNITS = (
    _MASKS,
    b"usr/local/lib/systemd/system",
    b"usr/lib/systemd/system",
    b"lib/systemd/system",
)
_SCRIPTS = (b"etc/init.d", b"etc/rc.d/init.d")
_STARTED_BY_LINKS = (
    "/etc/rc[0-9S].d/S[0-9][0-9]{}",
    "/etc/rc.d/rc[0-9S].d/S[0-9][0-9]{}",
    "/etc/runlevels/*/{}",
)
_LINK_MODE = 0o777
_FILE_MODE = 0o644
_FOLDER_MODE = 0o755


def start_links(rule: Rule) -> Iterator[str]:
    """Yield the patterns of the links that start what the rule stops, with SysV and OpenRC."""
    for name in rule.stop:
        if not name.endswith((".socket", ".mount", ".automount", "@")):
            for pattern in _STARTED_BY_LINKS:
                yield pattern.format(name)


def reported(index: TreeIndex, rules: Iterable[Rule]) -> Iterator[Finding]:
    """Yield what is there of the services that rules would stop, where no init system stays."""
    units = _units(index)
    for rule in rules:
        if rule.report is not None:
            for path in _meant(rule, units) or _scripts(index, rule):
                yield Finding(rule.id, path, Action.REPORTED, f"{rule.why}; {rule.report}")


class Additions:
    """Links and files that make an init system leave things alone.

    :param tree: what the rules leave; folders that are missing are made.
    """

    def __init__(self, index: TreeIndex, tree: Tree) -> None:
        self._index = index
        self._tree = tree
        self._known = {entry.path: entry for entry in tree.entries()}
        self._mtime_ns = self._known[b""].mtime_ns  # the clock must not get into the image
        self._units = _units(index)
        self._added: dict[bytes, Replacement] = {}
        self.treated: list[Treated] = []

    def mask(self, rule: Rule) -> None:
        """Mask the units that a rule stops."""
        place = self._index.resolve(_MASKS)
        folder = place.path if place is not None else _MASKS
        for unit in _meant(rule, self._units):
            path = join(folder, unit.rpartition(b"/")[2])
            there = self._known.get(path)
            if there is not None and (there.kind is Kind.FOLDER or there.target == _MASK):
                continue
            link = Entry(path, Kind.SYMLINK, _LINK_MODE, mtime_ns=self._mtime_ns, target=_MASK)
            if path not in self._added and self._make_folders(folder):
                self._add(rule, Replacement(link))

    def create(self, rule: Rule, file: Replaced) -> None:
        """Make a file of a rule, if its folder is there and it is not."""
        folder, _, name = file.path.strip("/").encode().rpartition(b"/")
        place = self._index.resolve(folder)
        path = join(place.path, name) if place is not None else b""
        is_place = place is not None and self._is_folder(place.path)
        if is_place and path not in self._known and path not in self._added:
            entry = Entry(path, Kind.FILE, _FILE_MODE, mtime_ns=self._mtime_ns)
            self._add(rule, Replacement(entry, file.content.encode()))

    def tree(self) -> Tree:
        """Return the tree with all that was added."""
        if not self._added:
            return self._tree
        return FilteredTree(self._tree, lambda entry: entry, tuple(self._added.values()))

    def findings(self) -> Iterator[Finding]:
        """Yield what was added, and why."""
        for entry, deed in self.treated:
            yield Finding(deed.rule, entry.path, deed.action, deed.why)

    def _add(self, rule: Rule, replacement: Replacement) -> None:
        path = replacement.entry.path
        there = self._known.get(path)
        action = Action.ADDED if there is None else Action.CHANGED
        self._added[path] = replacement
        self.treated.append(Treated(there or replacement.entry, Deed(rule.id, action, rule.why)))

    def _is_folder(self, path: bytes) -> bool:
        known = self._known.get(path)
        return known is not None and known.kind is Kind.FOLDER

    def _make_folders(self, path: bytes) -> bool:
        """Add the folders that lead to a path, and itself; tell whether nothing is in the way."""
        if not path or self._is_folder(path) or path in self._added:
            return True
        if path in self._known or not self._make_folders(path.rpartition(b"/")[0]):
            return False
        folder = Entry(path, Kind.FOLDER, _FOLDER_MODE, mtime_ns=self._mtime_ns)
        self._added[path] = Replacement(folder)
        return True


def _units(index: TreeIndex) -> dict[bytes, bytes]:
    """Return the path of each unit by its name; what comes first in systemd's order counts."""
    units: dict[bytes, bytes] = {}
    for folder in _UNITS:
        for entry in index.children(folder):
            if entry.kind is not Kind.FOLDER:
                units.setdefault(entry.name, entry.path)
    return units


def _meant(rule: Rule, units: dict[bytes, bytes]) -> Sequence[bytes]:
    """Return the paths of the units that a rule stops, sorted by their names."""
    patterns = [_unit_name(name) for name in rule.stop]
    return [
        units[name]
        for name in sorted(units)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def _scripts(index: TreeIndex, rule: Rule) -> Sequence[bytes]:
    """Return the paths of init scripts that a rule stops."""
    return [
        entry.path
        for folder in _SCRIPTS
        for entry in index.children(folder)
        if any(fnmatchcase(entry.name, name.encode()) for name in rule.stop)
    ]


def _unit_name(name: str) -> bytes:
    return (name if "." in name and not name.endswith(".sh") else f"{name}.service").encode()
