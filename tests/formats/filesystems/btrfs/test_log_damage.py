"""What a hostile log comes to: a tree, or a typed error."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.limits import DEFAULT_LIMITS
from tests.formats.filesystems.btrfs.support import TREE_LOG, look, nodes, write_node
from tests.images.btrfs_everything import text
from tests.images.btrfs_layouts import subvolume
from tests.images.btrfs_log import dirty_copy
from tests.images.volumes import MIB, patch
from tests.images.workloads import fsync, write_synced
from tests.support.filesystems import TYPED, outcome
from tests.support.programs import need, need_root

_HEADER_BYTES = 80


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filesystem with logs of two subvolumes that have items of all kinds."""
    need_root()
    need("mkfs.btrfs", "btrfs", "mount")

    def before(root: Path) -> None:
        for number in range(20):
            (subvolume(root / f"{number}") / "file").write_bytes(text(9000, number))
            (root / f"{number}" / "other").write_bytes(b"inline")

    def workload(root: Path) -> None:
        for number in (1, 2):
            folder = root / f"{number}"
            (folder / "file").chmod(0o600)
            (folder / "inner").mkdir()
            write_synced(folder / "inner/new", text(50_000, number))
            (folder / "other").unlink()
            (folder / "link").symlink_to("target")
            fsync(folder)

    dirty = dirty_copy(tmp_path_factory.mktemp("sound"), before, workload, mkfs_options="-n 4096")
    assert dirty.has_log
    return dirty.image


def test_any_changed_byte_of_a_log_gives_a_tree_or_a_typed_error(sound: Path) -> None:
    """With the checksum of the node made right again, so that a change gets further."""
    chance = random.Random(9)
    limits = replace(DEFAULT_LIMITS, file_bytes=64 * MIB, entries=2000)
    logs = [node for node in nodes(sound) if node.owner == TREE_LOG]
    assert len(logs) >= 3
    outcomes: Counter[str] = Counter()
    for _ in range(150):
        node = chance.choice(logs)
        changed = replace(node, data=bytearray(node.data))
        for _ in range(chance.choice([1, 1, 3])):
            place = chance.choice(
                [at for at in range(_HEADER_BYTES, len(node.data)) if node.data[at]]
            )
            changed.data[place] = chance.choice([0, 0xFF, 0x80, 1, chance.randrange(256)])
        write_node(sound, changed)
        outcomes[outcome(sound, limits, look)] += 1
        patch(sound, node.at, bytes(node.data))
    assert {"tree", "corrupt"} <= set(outcomes) <= {"tree", *TYPED}
