"""One machine of several: trees in memory stand for what is on their disks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from convert.select.request import Request
from convert.select.root import select_root
from formats.core.errors import AmbiguousError, UnsupportedError
from formats.core.machine import Machine
from formats.core.opener import Artifact, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Volume, Volumes
from formats.core.source import MemorySource
from tests.support.memory_tree import memory_tree

ROOT = """
f 644 0:0 etc/os-release PRETTY_NAME={title}\\n
f 755 0:0 sbin/init x
f 755 0:0 bin/sh x
d 755 0:0 usr
"""


def holding(content: Volumes, label: str) -> Volume:
    return Volume(MemorySource(b"", Origin(("fleet", label))), label, content=content)


def machine(name: str) -> Volume:
    """Return a machine with one disk that is a root."""
    tree = memory_tree(ROOT.format(title=name.title()))
    disk = Volume(MemorySource(b"", Origin(("fleet", name, "disk"))), "disk", content=tree)
    return holding(Volumes((disk,), machine=Machine(name)), f"vm:{name}")


@contextmanager
def fleet(*names: str) -> Iterator[Artifact]:
    with open_artifact([holding(Volumes(tuple(map(machine, names))), "fleet")]) as artifact:
        yield artifact


def title(artifact: Artifact, name: str | None = None) -> bytes:
    tree = select_root(artifact, Request(machine=name)).tree
    entry = next(entry for entry in tree.entries() if entry.path == b"etc/os-release")
    return b"".join(map(bytes, tree.read(entry))).strip()


def test_a_machine_is_chosen_by_its_name() -> None:
    with fleet("web", "db") as artifact:
        assert title(artifact, "web") == b"PRETTY_NAME=Web"
        assert title(artifact, "db") == b"PRETTY_NAME=Db"


def test_several_machines_need_a_choice() -> None:
    with fleet("web", "db") as artifact, pytest.raises(AmbiguousError) as caught:
        select_root(artifact)
    assert caught.value.message == "holds 2 machines: web, db"
    assert caught.value.hint == "choose one: --vm web or --vm db"


def test_the_only_machine_needs_no_choice_and_may_be_named() -> None:
    with fleet("web") as artifact:
        assert title(artifact) == title(artifact, "web")


def test_a_machine_that_is_not_there_is_an_error_with_those_that_are() -> None:
    with fleet("web", "db") as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, Request(machine="mail"))
    assert caught.value.message == "holds no machine 'mail'"
    assert caught.value.hint == "there is web, db"


def test_a_plain_disk_names_no_machines() -> None:
    disk = Volume(MemorySource(b"", Origin(("disk",))), "disk", content=memory_tree(ROOT))
    with open_artifact([disk]) as artifact, pytest.raises(UnsupportedError) as caught:
        select_root(artifact, Request(machine="web"))
    assert caught.value.hint == "leave --vm out: it names no machines"
