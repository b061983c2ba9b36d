"""When the second engine is asked, and for what: an engine that only notes what it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from convert.select.request import Request
from convert.select.root import select_root, select_volume
from formats.core.errors import ConvertError, EncryptedError, UnsupportedError
from formats.core.opener import Artifact, Node, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Role, Volume, Volumes
from formats.core.source import MemorySource
from tests.support.memory_tree import memory_tree

ROOT = """
f 644 0:0 etc/os-release PRETTY_NAME=Small\\n
f 755 0:0 sbin/init x
f 755 0:0 bin/sh x
d 755 0:0 usr
"""
VAR = "f 644 0:0 etc/fstab /dev/mapper/vg0-var\\x20/var\\x20xfs\\n"


class Engine:
    """An engine that reads everything as one small root.

    :ivar asked: labels of what it was asked for, a list for each time.
    """

    def __init__(self, *, replaces_native: bool = False) -> None:
        self.replaces_native = replaces_native
        self.asked: list[list[str]] = []

    def may_read(self, node: Node, *, is_wanted: bool) -> bool:
        del is_wanted
        return not isinstance(node.problem, EncryptedError)

    def take(self, artifact: Artifact, nodes: Sequence[Node]) -> None:
        del artifact
        self.asked.append([node.volume.label for node in nodes])
        for node in nodes:
            node.tree, node.problem = memory_tree(ROOT), None


def part(label: str, content: str | ConvertError, role: Role = Role.DATA) -> Volume:
    source = MemorySource(b"", Origin(("disk", label)))
    names = (f"mapper/vg0-{label}",)
    if isinstance(content, ConvertError):
        return Volume(source, label, role, device_names=names, problem=content)
    return Volume(source, label, role, device_names=names, content=memory_tree(content))


def unread() -> ConvertError:
    return UnsupportedError("is a thin volume")


@contextmanager
def disk(*parts: Volume) -> Iterator[Artifact]:
    whole = Volume(MemorySource(b"", Origin(("disk",))), "disk", content=Volumes(parts))
    with open_artifact([whole]) as artifact:
        yield artifact


def test_it_is_not_asked_where_own_readers_find_a_root() -> None:
    engine = Engine()
    with disk(part("root", ROOT), part("other", unread())) as artifact:
        select_root(artifact, Request(engine=engine))
    assert engine.asked == []


def test_without_a_root_it_is_asked_once_for_everything_that_could_be_one() -> None:
    engine = Engine()
    with disk(
        part("root", unread()),
        part("efi", unread(), Role.EFI),
        part("locked", EncryptedError("is encrypted")),
        part("home", "d 755 0:0 me"),
    ) as artifact:
        selected = select_root(artifact, Request(engine=engine))
    assert engine.asked == [["root"]]
    assert selected.root.parts[-1] == "root"


def test_it_is_asked_for_what_fstab_mounts() -> None:
    engine = Engine()
    with disk(part("root", ROOT + VAR), part("var", unread())) as artifact:
        selected = select_root(artifact, Request(engine=engine))
    assert engine.asked == [["var"]]
    assert [path for path, _ in selected.mounts] == ["/var"]


def test_it_is_asked_for_the_volume_that_the_user_names() -> None:
    engine = Engine()
    with disk(part("root", ROOT), part("data", unread())) as artifact:
        select_volume(artifact, Request(root="data", engine=engine))
    assert engine.asked == [["data"]]


def test_it_reads_everything_where_it_replaces_own_readers() -> None:
    engine = Engine(replaces_native=True)
    with disk(part("root", ROOT), part("home", "d 755 0:0 me")) as artifact:
        with pytest.raises(ConvertError, match="holds 2 systems"):
            select_root(artifact, Request(engine=engine))
        assert engine.asked == [["root", "home"]]


def test_without_an_engine_what_cannot_be_read_stays_so() -> None:
    with disk(part("root", unread())) as artifact, pytest.raises(UnsupportedError, match="thin"):
        select_root(artifact)
