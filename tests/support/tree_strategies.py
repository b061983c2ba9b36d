"""Hypothesis strategies for trees: any kinds, links and names that sort in surprising ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from formats.core.entry import Entry, Kind, join
from formats.core.tree import walk_order
from tests.support.memory_tree import MemoryTree

NAMES = (b"a", b"b", b"a-", b"a.b", b"ab", b"\xff", b"\xc3\xa4", b".wh.a", b" ")
"""``a-`` and ``a.b`` sort before ``a/…`` as strings, and after it in a tree."""

_LEAVES = (Kind.FILE, Kind.FILE, Kind.SYMLINK, Kind.CHARACTER_DEVICE, Kind.FIFO, Kind.SOCKET)
_KINDS = (*(Kind.FOLDER,) * 4, *(Kind.HARDLINK,) * 2, *_LEAVES)


@st.composite
def trees(draw: st.DrawFn, most: int = 12) -> MemoryTree:
    """Trees of up to ``most`` paths; each keeps the promises of ``formats.core.tree.Tree``."""
    folders = [b""]
    kinds: dict[bytes, Kind] = {b"": Kind.FOLDER}
    for _ in range(draw(st.integers(0, most))):
        path = join(draw(st.sampled_from(folders)), draw(st.sampled_from(NAMES)))
        if path in kinds:
            continue
        kinds[path] = draw(st.sampled_from(_KINDS))
        if kinds[path] is Kind.FOLDER:
            folders.append(path)
    return _tree(draw, kinds)


def _tree(draw: st.DrawFn, kinds: Mapping[bytes, Kind]) -> MemoryTree:
    entries: list[Entry] = []
    contents: dict[bytes, bytes] = {}
    targets: list[Entry] = []
    for node, path in enumerate(walk_order(kinds), start=1):
        kind = kinds[path]
        if kind is Kind.HARDLINK and targets:
            target = draw(st.sampled_from(targets))
            entries.append(replace(target, path=path, kind=Kind.HARDLINK, target=target.path))
            continue
        kind = Kind.FILE if kind is Kind.HARDLINK else kind
        entry = Entry(path, kind, draw(st.sampled_from((0o644, 0o4755))), uid=node, node=node)
        if kind is Kind.FILE:
            contents[path] = draw(st.binary(max_size=3))
            entry = replace(entry, size=len(contents[path]))
        elif kind is Kind.SYMLINK:
            pointed_at = draw(st.sampled_from((b"/", b"..", b"a")))
            entry = replace(entry, mode=0o777, target=pointed_at)
        elif kind is Kind.CHARACTER_DEVICE:
            entry = replace(entry, device=(1, node))
        if kind is not Kind.FOLDER:
            targets.append(entry)
        entries.append(entry)
    return MemoryTree(entries, contents)
