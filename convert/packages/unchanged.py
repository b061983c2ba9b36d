"""What the base has just so: it stays where it is, and is not in the new layer as well.

That is so for files of a later version of a package that are the same in both. Times do not count:
a later build gives every file another one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from convert.packages.system import System
from convert.packages.world import Item, Stored, World
from formats.core.entry import Kind
from formats.core.finding import Action
from formats.core.tree import Tree
from formats.packages.tree import PackageTree

_LEAVES = frozenset({Kind.FILE, Kind.SYMLINK})


def leave_out_unchanged(system: System, base: Tree) -> None:
    """Put back what the base has in place of what is equal to it; owners are numbers by now."""
    world = system.world
    likely = [pair for pair in world.replaced() if _may_be_unchanged(world, *pair)]
    base.will_read(
        [below.content.entry for _, below in likely if isinstance(below.content, Stored)]
    )
    same = [below for item, below in likely if _has_content_of(item, below)]
    for below in same:
        world.put(below)
    if same:
        evidence = f"{len(same):,} paths are in the base just so, and are not added again"
        system.told("package-unchanged", b"", Action.REPORTED, evidence)


def _may_be_unchanged(world: World, item: Item, below: Item) -> bool:
    new, old = item.entry, below.entry
    is_alike = replace(new, mtime_ns=old.mtime_ns, node=old.node) == old
    # all names of one file have to be in one layer
    return new.kind in _LEAVES and is_alike and world.names(item) == 1


def _has_content_of(item: Item, below: Item) -> bool:
    algorithm, expected = _digest(item)
    return expected == _hashed(below, algorithm)


def _digest(item: Item) -> tuple[str, str]:
    """Return what a package says of a file's content; otherwise it is read."""
    content = item.content
    if isinstance(content, Stored) and isinstance(content.tree, PackageTree):
        known = content.tree.package.digests.get(content.entry.path)
        if known is not None:
            return known
    return "sha256", _hashed(item, "sha256")


def _hashed(item: Item, algorithm: str) -> str:
    state = hashlib.new(algorithm, usedforsecurity=False)
    for block in item.blocks():
        state.update(block)
    return state.hexdigest()
