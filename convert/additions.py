"""What the image has and the disk had not: folders that the guest would make at boot.

A service that finds its ``/run/NAME`` missing does not start, and in a container nobody runs
systemd-tmpfiles(8) before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from convert.inspect.facts import RuntimeFolder
from convert.trees import FilteredTree, Replacement
from formats.core.entry import Entry, Kind
from formats.core.finding import Action, Finding
from formats.core.tree import Tree

_PARENT_MODE = 0o755


def with_runtime_folders(
    tree: Tree, folders: Sequence[RuntimeFolder]
) -> tuple[Tree, list[Finding]]:
    """Return the tree with these folders, and a finding for each.

    What is there already stays as it is. A path below something that is no folder is left out.
    Times are those of the root folder: they must not come from the clock.
    """
    if not folders:
        return tree, []
    known = {entry.path: entry.kind for entry in tree.entries()}
    mtime_ns = next(tree.entries()).mtime_ns
    added: list[Replacement] = []
    findings: list[Finding] = []
    for folder in sorted(folders, key=lambda item: item.path):
        for path, mode, uid, gid in _with_parents(folder):
            kind = known.get(path)
            if kind is Kind.FOLDER:
                continue
            if kind is not None:
                break
            known[path] = Kind.FOLDER
            added.append(Replacement(Entry(path, Kind.FOLDER, mode, uid, gid, mtime_ns)))
            if path == folder.path:
                evidence = f"asked for by {folder.evidence}"
                findings.append(Finding("runtime-folder", path, Action.ADDED, evidence))
    return FilteredTree(tree, lambda entry: entry, added), findings


def _with_parents(folder: RuntimeFolder) -> list[tuple[bytes, int, int, int]]:
    """Return path, mode, uid and gid of the folders that lead to it, and of itself."""
    parts = folder.path.split(b"/")
    parents = [b"/".join(parts[:count]) for count in range(1, len(parts))]
    own = (folder.path, folder.mode, folder.uid, folder.gid)
    return [*((parent, _PARENT_MODE, 0, 0) for parent in parents), own]
