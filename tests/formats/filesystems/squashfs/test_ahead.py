"""Blocks are decoded ahead in threads, which changes nothing but the time it takes."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from convert.layers.tar import encode_tar
from formats.core.entry import Kind
from formats.core.limits import MIB, Limits
from formats.core.opener import Artifact, open_artifact
from formats.core.tree import Tree
from tests.images.ext_everything import KIB
from tests.images.squashfs import mksquashfs
from tests.support.memory_tree import varied


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ahead")
    tree = folder / "tree"
    tree.mkdir()
    for number in range(40):
        (tree / f"large {number}").write_bytes(varied(400 * KIB, number))
        (tree / f"small {number}").write_bytes(varied(4 * KIB, number))
    return mksquashfs(tree, folder / "image", "-comp", "zstd", "-Xcompression-level", "1")


def tree_of(artifact: Artifact) -> Tree:
    tree = artifact.nodes[0].tree
    assert tree is not None
    return tree


def ahead_threads() -> int:
    return sum(thread.name == "decode-ahead" for thread in threading.enumerate())


def test_an_announced_tree_is_the_same_as_one_that_is_not(image: Path) -> None:
    with open_artifact([image]) as artifact:
        tree = tree_of(artifact)
        files = [entry for entry in tree.entries() if entry.kind is Kind.FILE]
        plain = {entry.path: b"".join(tree.read(entry)) for entry in files}
        assert not ahead_threads()
        tree.will_read(files)
        assert ahead_threads()
        assert {entry.path: b"".join(tree.read(entry)) for entry in files} == plain
        tree.will_read(files[::-1])
        assert all(b"".join(tree.read(entry)) == plain[entry.path] for entry in files)
    assert not ahead_threads(), "they end with the artifact"


def test_what_is_kept_decoded_is_bounded(image: Path) -> None:
    with open_artifact([image], limits=Limits(cache_bytes=MIB)) as artifact:
        tree = tree_of(artifact)
        cache = tree._filesystem._content._cache  # type: ignore[attr-defined]
        for _ in encode_tar(tree):
            assert cache._bytes <= MIB


def test_threads_and_readers_do_not_disturb_each_other(image: Path) -> None:
    with open_artifact([image]) as artifact:
        tree = tree_of(artifact)
        digests: list[str] = []

        def digest() -> None:
            hasher = hashlib.sha256()
            for piece in encode_tar(tree):
                hasher.update(piece)
            digests.append(hasher.hexdigest())

        readers = [threading.Thread(target=digest) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
    assert len(digests) == 3
    assert len(set(digests)) == 1
