"""Which subvolume is the root, and what is laid over it: trees in memory, case by case.

What real Btrfs filesystems give is in test_btrfs.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from convert.select.request import Request
from convert.select.root import Selected, select_root
from formats.core.errors import AmbiguousError, ConvertError
from formats.core.opener import Artifact, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Subvolume, Volume, Volumes
from formats.core.source import MemorySource
from formats.core.tree import TreeInfo
from tests.support.memory_tree import memory_tree

UUID = "b8a1f0c4-3f0b-4b8e-8f0a-7d2f9e6c5b22"
TOP = 5
ROOT = """
f 644 0:0 etc/os-release PRETTY_NAME=Small\\n
f 755 0:0 sbin/init x
f 755 0:0 bin/sh x
d 755 0:0 usr
d 755 0:0 home
d 755 0:0 var/lib/machines
"""


def root(fstab: str = "") -> str:
    text = fstab.replace(" ", "\\x20")
    return f"{ROOT}f 644 0:0 etc/fstab {text}\\n\n"


def subvolume(number: int, path: str, files: str, flags: str = "") -> Volume:
    """Return a subvolume; ``flags`` are of ``default snapshot read-only``."""
    tree = memory_tree(files)
    label = f"subvol:{path or '/'}"
    tree.origin = Origin(("disk", label))
    tree.info = TreeInfo("memory", uuid=UUID)
    which = Subvolume(
        number,
        path.encode(),
        is_default="default" in flags,
        is_snapshot="snapshot" in flags,
        is_read_only="read-only" in flags,
    )
    return Volume(MemorySource(b"", tree.origin), label, content=tree, subvolume=which)


@contextmanager
def filesystem(*subvolumes: Volume) -> Iterator[Artifact]:
    whole = Volume(MemorySource(b"", Origin(("disk",))), "disk", content=Volumes(subvolumes))
    with open_artifact([whole]) as artifact:
        yield artifact


def mounts(selected: Selected) -> Mapping[str, str]:
    return {path: origin.parts[-1] for path, origin in selected.mounts}


def chosen(selected: Selected) -> str:
    return selected.root.parts[-1]


def rules(selected: Selected) -> dict[str, str]:
    return {finding.rule: finding.evidence for finding in selected.findings}


UBUNTU = f"UUID={UUID} / btrfs defaults,subvol=@ 0 1\\nUUID={UUID} /home btrfs subvol=/@home"


def test_the_subvolumes_that_fstab_names_are_laid_over_the_root() -> None:
    with filesystem(
        subvolume(TOP, "", "d 755 0:0 @\nd 755 0:0 @home", "default"),
        subvolume(256, "@", root(UBUNTU)),
        subvolume(257, "@home", "f 600 0:0 me/.profile x"),
    ) as artifact:
        selected = select_root(artifact)
        paths = {entry.path for entry in selected.tree.entries()}
    assert chosen(selected) == "subvol:@"
    assert mounts(selected) == {"/home": "subvol:@home"}
    assert b"home/me/.profile" in paths


def test_the_default_subvolume_is_the_root_even_if_it_is_a_snapshot() -> None:
    with filesystem(
        subvolume(TOP, "", "d 755 0:0 @"),
        subvolume(256, "@", "d 755 0:0 .snapshots"),
        subvolume(258, "@/.snapshots", "d 755 0:0 1/snapshot"),
        subvolume(259, "@/.snapshots/1/snapshot", root(), "default snapshot"),
        subvolume(260, "@/.snapshots/2/snapshot", root(), "snapshot read-only"),
    ) as artifact:
        selected = select_root(artifact)
    assert chosen(selected) == "subvol:@/.snapshots/1/snapshot"
    assert "1 snapshots in it" in rules(selected)["volume-left-out"]


def test_of_copies_the_one_that_their_fstab_names_is_the_root() -> None:
    with filesystem(
        subvolume(TOP, "", "d 755 0:0 @", "default"),
        subvolume(256, "timeshift/1/@", root(UBUNTU), "snapshot"),
        subvolume(257, "@", root(UBUNTU), "snapshot"),
        subvolume(258, "@home", ""),
    ) as artifact:
        assert chosen(select_root(artifact)) == "subvol:@"


def test_copies_that_nothing_tells_apart_need_a_choice() -> None:
    with filesystem(
        subvolume(TOP, "", "d 755 0:0 a", "default"),
        subvolume(256, "a", root()),
        subvolume(257, "b", root()),
    ) as artifact:
        with pytest.raises(AmbiguousError, match="holds 2 systems: subvol:a "):
            select_root(artifact)
        assert chosen(select_root(artifact, Request(root="subvol:b"))) == "subvol:b"


def test_a_read_only_snapshot_can_be_chosen() -> None:
    with filesystem(
        subvolume(TOP, "", root(), "default"),
        subvolume(256, "yesterday", root(), "snapshot read-only"),
    ) as artifact:
        assert chosen(select_root(artifact)) == "subvol:/"
        assert chosen(select_root(artifact, Request(root="subvol:yesterday"))) == "subvol:yesterday"


def test_the_uuid_of_a_filesystem_means_its_root() -> None:
    with filesystem(
        subvolume(TOP, "", "d 755 0:0 @", "default"),
        subvolume(256, "@", root()),
        subvolume(257, "@home", ""),
    ) as artifact:
        assert chosen(select_root(artifact, Request(root=UUID))) == "subvol:@"


def test_a_subvolume_inside_another_is_seen_there_and_snapshots_are_not() -> None:
    with filesystem(
        subvolume(TOP, "", root(), "default"),
        subvolume(256, "var/lib/machines", "f 644 0:0 vm x"),
        subvolume(257, "var/lib/machines/inner", "f 644 0:0 deep x"),
        subvolume(258, ".snapshots", "d 755 0:0 1/snapshot"),
        subvolume(259, ".snapshots/1/snapshot", root(), "snapshot read-only"),
    ) as artifact:
        selected = select_root(artifact)
        paths = {entry.path for entry in selected.tree.entries()}
    assert {b"var/lib/machines/vm", b"var/lib/machines/inner/deep"} <= paths
    assert b".snapshots/1/snapshot/etc" not in paths
    assert list(mounts(selected)) == ["/.snapshots", "/var/lib/machines", "/var/lib/machines/inner"]
    assert rules(selected)["snapshots-left-out"].startswith("1 read-only snapshots")


def test_a_volume_over_a_subvolume_hides_it_and_what_lies_in_it() -> None:
    fstab = f"UUID={UUID} /var btrfs subvol=other"
    with filesystem(
        subvolume(TOP, "", root(fstab), "default"),
        subvolume(256, "var/lib/machines", "f 644 0:0 vm x"),
        subvolume(257, "other", "f 644 0:0 lib/new x"),
    ) as artifact:
        selected = select_root(artifact)
        paths = {entry.path for entry in selected.tree.entries()}
    assert mounts(selected) == {"/var": "subvol:other"}
    assert b"var/lib/new" in paths
    assert b"var/lib/machines/vm" not in paths


def test_subvolumes_are_found_by_number_too() -> None:
    fstab = f"UUID={UUID} /home btrfs subvolid=300\\nUUID={UUID} /srv btrfs subvolid=0"
    with filesystem(
        subvolume(TOP, "", "f 644 0:0 top x"),
        subvolume(256, "@", root(fstab), "default"),
        subvolume(300, "@home", ""),
    ) as artifact:
        selected = select_root(artifact)
    assert mounts(selected) == {"/home": "subvol:@home", "/srv": "subvol:/"}
    assert rules(selected)["volume-not-mounted"].endswith("is shown at its own place only")


def test_a_subvolume_that_is_not_there_is_named_and_needed() -> None:
    fstab = f"UUID={UUID} /var btrfs subvol=@var"
    with (
        filesystem(
            subvolume(TOP, "", "d 755 0:0 @"), subvolume(256, "@", root(fstab), "default")
        ) as artifact,
        pytest.raises(ConvertError) as caught,
    ):
        select_root(artifact)
    assert "there is no subvolume '@var' in it" in caught.value.message
    assert "it has subvol:/, subvol:@" in str(caught.value.hint)
