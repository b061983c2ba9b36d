from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from formats.core.entry import Entry, Kind
from formats.core.errors import AmbiguousError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.opener import open_artifact
from formats.core.origin import Origin
from formats.core.reader import (
    Category,
    Member,
    OpenContext,
    Opened,
    ReaderDoc,
    Signature,
    Volume,
    Volumes,
)
from formats.core.registry import Registry
from formats.core.source import BytesLike, ByteSource, slice_source
from formats.core.tree import TreeInfo


@dataclass(frozen=True)
class OneFileTree:
    origin: Origin
    info: TreeInfo = field(default_factory=lambda: TreeInfo("toy"))

    def entries(self) -> Iterator[Entry]:
        yield Entry(b"", Kind.FOLDER, 0o755)

    def read(self, entry: Entry) -> Iterator[BytesLike]:
        del entry
        yield from ()

    def will_read(self, entries: Sequence[Entry]) -> None:
        del entries


@dataclass(frozen=True)
class Toy:
    """A format whose magic is its name; what it opens to is given."""

    name: str
    category: Category = Category.DISK
    supersedes: frozenset[str] = frozenset()
    signatures: tuple[Signature, ...] = ()
    doc: ReaderDoc = field(default_factory=lambda: ReaderDoc("toy"))

    def probe(self, source: ByteSource) -> bool:
        return bytes(source.read_at(0, 4)) == self.name.encode()

    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        del context
        inner = slice_source(source, 4, source.size - 4, source.origin.child(self.name))
        return Volumes((Volume(inner, f"{self.name}:1"),))


class Leaf(Toy):
    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        del context
        return OneFileTree(source.origin.child(self.name))


class Broken(Toy):
    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        del source, context
        raise CorruptError("is broken", offset=4)


class Group(Toy):
    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        del context
        return Member("set-1", source, int(bytes(source.read_at(4, 1))))

    def assemble(self, members: Sequence[Member], context: OpenContext) -> Volumes:
        del context
        ordered = sorted(members, key=lambda member: str(member.detail))
        source = ordered[0].source
        inner = slice_source(source, 5, source.size - 5, source.origin.child("set-1"))
        return Volumes((Volume(inner, "set-1/a"),), {"members": str(len(members))})


def made(tmp_path: Path, *contents: bytes) -> list[Path]:
    paths = [tmp_path / f"disk{number}.img" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def test_containers_nest_without_code_of_their_own(tmp_path: Path) -> None:
    registry = Registry([Toy("boxx"), Toy("disk"), Leaf("tree")])
    with open_artifact(made(tmp_path, b"boxxdisktree"), registry=registry) as artifact:
        nodes = list(artifact.walk())
        assert [node.reader.name for node in nodes if node.reader] == ["boxx", "disk", "tree"]
        assert str(nodes[-1].tree.origin if nodes[-1].tree else "") == (
            "disk0.img › boxx › disk › tree"
        )


def test_nesting_has_a_limit_and_the_error_stays_with_its_node(tmp_path: Path) -> None:
    registry = Registry([Toy("boxx")])
    with open_artifact(
        made(tmp_path, b"boxx" * 12), registry=registry, limits=Limits(nesting=3)
    ) as artifact:
        last = list(artifact.walk())[-1]
        assert isinstance(last.problem, LimitError)
        assert "nested more than 3" in str(last.problem)


def test_stacked_compression_has_its_own_limit(tmp_path: Path) -> None:
    registry = Registry([Toy("gzip", Category.COMPRESSION)])
    with open_artifact(made(tmp_path, b"gzip" * 6), registry=registry) as artifact:
        assert "compressed more than 3 times" in str(list(artifact.walk())[-1].problem)


def test_a_broken_volume_does_not_stop_the_others(tmp_path: Path) -> None:
    class Two(Toy):
        def open(self, source: ByteSource, context: OpenContext) -> Opened:
            del context
            parts = (
                slice_source(source, 4, 4, source.origin.child("1")),
                slice_source(source, 8, 4, source.origin.child("2")),
            )
            return Volumes(tuple(Volume(part, str(part.origin)) for part in parts))

    registry = Registry([Two("twoo"), Leaf("tree"), Broken("brok")])
    with open_artifact(made(tmp_path, b"twoobroktree"), registry=registry) as artifact:
        _, broken, good = artifact.walk()
        assert str(broken.problem) == "disk0.img › 1: is broken (at byte 4)"
        assert good.tree is not None


def test_a_tie_between_readers_is_an_error_that_lists_them(tmp_path: Path) -> None:
    class Same(Leaf):
        def probe(self, source: ByteSource) -> bool:
            del source
            return True

    registry = Registry([Same("aaaa"), Same("bbbb")])
    with open_artifact(made(tmp_path, b"aaaa"), registry=registry) as artifact:
        problem = artifact.nodes[0].problem
        assert isinstance(problem, AmbiguousError)
        assert "aaaa, bbbb" in str(problem)
    winner = Same("bbbb", supersedes=frozenset({"aaaa"}))
    with open_artifact(
        made(tmp_path, b"aaaa"), registry=Registry([Same("aaaa"), winner])
    ) as artifact:
        assert artifact.nodes[0].reader is winner


def test_two_readers_of_one_name_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="two readers are named 'tree'"):
        Registry([Leaf("tree"), Leaf("tree")])


def test_members_on_several_disks_are_put_together_once_all_are_known(tmp_path: Path) -> None:
    registry = Registry([Group("lvmm"), Leaf("tree")])
    paths = made(tmp_path, b"lvmm2xxxx", b"lvmm1tree")
    with open_artifact(paths, registry=registry) as artifact:
        group = artifact.nodes[-1]
        assert group.facts == {"members": "2"}
        assert [member.disk for member in group.members] == [0, 1]
        assert group.children[0].tree is not None


def test_closing_removes_the_spool_folder(tmp_path: Path) -> None:
    class Spooled(Toy):
        def open(self, source: ByteSource, context: OpenContext) -> Opened:
            (context.spool_folder / "copy").write_bytes(b"x")
            return super().open(source, context)

    spool = tmp_path / "spool"
    spool.mkdir()
    with open_artifact(
        made(tmp_path, b"spoo1234"), registry=Registry([Spooled("spoo")]), spool_parent=spool
    ):
        assert len(list(spool.iterdir())) == 1
    assert list(spool.iterdir()) == []
