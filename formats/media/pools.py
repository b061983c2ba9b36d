"""Package pools on media: where they are, and of which kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from formats.core.entry import Entry
from formats.core.origin import printable
from formats.core.tree import TreeIndex
from formats.media.medium import Pool, is_file

_ENDINGS = {b".deb": "deb", b".udeb": "deb", b".rpm": "rpm", b".apk": "apk"}
_MOST_NAMED = 40


def _system_of(entry: Entry) -> str | None:
    for ending, system in _ENDINGS.items():
        if entry.name.lower().endswith(ending) and is_file(entry):
            return system
    return None


def find_pools(index: TreeIndex) -> tuple[Pool, ...]:
    """Return the folders that packages lie in.

    An index says where a pool starts: the folder of ``dists`` (apt) or of ``repodata`` (dnf).
    Without one it is the first folder of the path to a package.
    """
    entries = list(index.entries())
    starts = _starts(entries)
    counts: dict[tuple[str, bytes], int] = {}
    for entry in entries:
        system = _system_of(entry)
        if system is not None:
            folder = _pool_of(entry.path, starts.get(system, frozenset()), system)
            counts[system, folder] = counts.get((system, folder), 0) + 1
    return tuple(
        Pool(system, folder, number) for (system, folder), number in sorted(counts.items())
    )


def _starts(entries: Iterable[Entry]) -> dict[str, set[bytes]]:
    starts: dict[str, set[bytes]] = {}
    for entry in entries:
        name = entry.name.lower()
        if name == b"repomd.xml":
            starts.setdefault("rpm", set()).add(entry.parent.rpartition(b"/")[0])
        elif name == b"apkindex.tar.gz":
            starts.setdefault("apk", set()).add(entry.parent)
        elif name in {b"release", b"inrelease"}:
            dists = entry.parent.rpartition(b"/")[0]
            if dists.rpartition(b"/")[2].lower() == b"dists":
                starts.setdefault("deb", set()).add(dists.rpartition(b"/")[0])
    return starts


def _pool_of(path: bytes, starts: AbstractSet[bytes], system: str) -> bytes:
    """Return the deepest folder with an index that a package lies below, or its first folder."""
    folder = above = path.rpartition(b"/")[0]
    while above not in starts:
        if not above:
            return folder if system == "apk" else folder.partition(b"/")[0]
        above = above.rpartition(b"/")[0]
    return above


def package_names(index: TreeIndex, system: str) -> str:
    """Return the names of a system's packages for people, the first of them if there are many."""
    names = [
        printable(entry.name.rpartition(b".")[0])
        for entry in index.entries()
        if _system_of(entry) == system
    ]
    more = f", and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def described(pools: Sequence[Pool]) -> str:
    """Return pools in words: ``/ (1,204 deb packages), /AppStream (3 rpm packages)``."""
    texts = [
        f"/{printable(pool.folder)} ({pool.packages:,} {pool.system}"
        f" {'package' if pool.packages == 1 else 'packages'})"
        for pool in pools[:_MOST_NAMED]
    ]
    more = f", and {len(pools) - len(texts):,} more folders" if len(pools) > len(texts) else ""
    return ", ".join(texts) + more
