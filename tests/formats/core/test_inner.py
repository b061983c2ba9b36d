"""Files inside of trees as sources, in place and copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from formats.core.entry import Entry, Kind
from formats.core.errors import LimitError, UnsupportedError
from formats.core.finding import Finding
from formats.core.inner import file_source
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.reader import Opened, Siblings
from formats.core.siblings import NoSiblings
from formats.core.source import ByteSource, FileSource, MemorySource
from formats.core.stacked import StackedTree
from formats.core.tree import TreeIndex
from tests.support.memory_tree import MemoryTree, memory_tree, varied


@dataclass
class Context:
    """What the opener lends to a reader, and what it was told."""

    spool_folder: Path
    limits: Limits = field(default_factory=Limits)
    keys: tuple[bytes, ...] = ()
    siblings: Siblings = field(default_factory=NoSiblings)
    findings: list[Finding] = field(default_factory=list)
    closing: list[Callable[[], None]] = field(default_factory=list)

    def note(self, finding: Finding) -> None:
        self.findings.append(finding)

    def progress(self, stage: str, done: int, total: int) -> None:
        assert stage
        assert done <= total

    def on_close(self, callback: Callable[[], None]) -> None:
        self.closing.append(callback)

    def open_as(self, reader: str, source: ByteSource, siblings: Siblings | None = None) -> Opened:
        raise NotImplementedError(reader, source, siblings)


class InPlace(MemoryTree):
    def open(self, entry: Entry) -> ByteSource:
        content = b"".join(self.read(entry))
        return MemorySource(content, self.origin.child(entry.path.decode()))


def file_in(tree: MemoryTree | StackedTree, path: bytes) -> Entry:
    entry = TreeIndex(tree).get(path)
    assert entry is not None
    return entry


def test_a_file_is_read_where_it_lies_if_its_tree_can_do_that(tmp_path: Path) -> None:
    tree = InPlace([Entry(b"f", Kind.FILE, 0o644, size=4)], {b"f": b"text"})
    context = Context(tmp_path)
    source = file_source(tree, file_in(tree, b"f"), context)
    assert isinstance(source, MemorySource)
    assert bytes(source.read_at(1, 2)) == b"ex"
    assert not context.findings


def test_a_file_of_a_stack_is_read_where_it_lies_in_its_layer(tmp_path: Path) -> None:
    layer = InPlace([Entry(b"f", Kind.FILE, 0o644, size=4)], {b"f": b"text"})
    tree = StackedTree([memory_tree("f 644 0:0 other"), StackedTree([layer])])
    source = file_source(tree, file_in(tree, b"f"), Context(tmp_path))
    assert isinstance(source, MemorySource)
    assert source.origin == Origin(("memory", "f"))


def test_a_file_of_another_tree_is_copied_and_the_user_is_told(tmp_path: Path) -> None:
    tree = memory_tree("f 644 0:0 a/disk.raw *200000\nh link a/disk.raw")
    context = Context(tmp_path)
    for path in (b"a/disk.raw", b"link"):
        source = file_source(tree, file_in(tree, path), context)
        assert isinstance(source, FileSource)
        assert source.size == 200_000
        assert bytes(source.read_at(150_000, 50_000)) == varied(200_000)[150_000:]
    assert [finding.rule for finding in context.findings] == ["spooled", "spooled"]
    assert not list(tmp_path.iterdir()), "the copy has no name"
    assert len(context.closing) == 2
    for close in context.closing:
        close()


def test_zeros_in_a_copy_take_no_room(tmp_path: Path) -> None:
    size = 4 << 20
    tree = MemoryTree([Entry(b"f", Kind.FILE, 0o644, size=size)], {b"f": bytes(size)})
    source = file_source(tree, file_in(tree, b"f"), Context(tmp_path))
    assert all(extent.is_hole for extent in source.extents())
    assert source.size == size


@pytest.mark.parametrize("limits", [Limits(file_bytes=99), Limits(spool_bytes=99)])
def test_what_is_too_large_is_not_copied(tmp_path: Path, limits: Limits) -> None:
    tree = memory_tree("f 644 0:0 f *100")
    with pytest.raises(LimitError):
        file_source(tree, file_in(tree, b"f"), Context(tmp_path, limits))


def test_only_files_have_content(tmp_path: Path) -> None:
    tree = memory_tree("d 755 0:0 d")
    with pytest.raises(UnsupportedError, match="'d' is a folder, not a file"):
        file_source(tree, file_in(tree, b"d"), Context(tmp_path))
