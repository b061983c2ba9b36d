"""Trees of the appliance, for what real filesystems do not show on demand."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.entry import Kind
from formats.core.errors import CorruptError, InputReadError, LimitError
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.tree import TreeInfo
from formats.guestfs.guest import READ_BYTES
from formats.guestfs.tree import GuestTree
from tests.images.ext_everything import noise
from tests.support.guest_double import POINT, Double, File, guest_with

FOLDER, REGULAR, LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777
ORIGIN = Origin(("disk.img", "sda1"))


def tree_of(
    files: Mapping[bytes, File],
    *,
    unreadable: frozenset[bytes] = frozenset(),
    limits: Limits = DEFAULT_LIMITS,
    fault: CorruptError | None = None,
) -> tuple[GuestTree, Double, list[Finding]]:
    guest, double = guest_with(files, unreadable=unreadable, fault=fault)
    noted: list[Finding] = []
    tree = GuestTree(guest, POINT.decode(), TreeInfo("ntfs"), ORIGIN, limits, noted.append)
    return tree, double, noted


def test_paths_come_parents_first_and_siblings_by_their_bytes() -> None:
    names = [b"a", b"a/b", b"a-", b"a.b", b"\xff", b"a/b/c"]
    files = {
        name: File(FOLDER if name in {b"a", b"a/b"} else REGULAR, 10 + number)
        for number, name in enumerate(names)
    }
    tree, _, _ = tree_of(files)
    found = [entry.path for entry in tree.entries()]
    assert found == [b"", b"a", b"a/b", b"a/b/c", b"a-", b"a.b", b"\xff"]


def test_a_second_name_is_a_hard_link_to_the_first() -> None:
    file = File(REGULAR, 5, b"x", links=2)
    tree, _, _ = tree_of({b"z": file, b"b": file})
    entries = {entry.path: entry for entry in tree.entries()}
    assert entries[b"b"].kind is Kind.FILE
    assert (entries[b"z"].kind, entries[b"z"].target) == (Kind.HARDLINK, b"b")
    assert b"".join(tree.read(entries[b"z"])) == b"x"


def test_what_is_mounted_or_nested_inside_is_an_empty_folder() -> None:
    tree, _, _ = tree_of(
        {b"sub": File(FOLDER, 256, device=8), b"sub/file": File(REGULAR, 257, device=8)}
    )
    assert [entry.path for entry in tree.entries()] == [b"", b"sub"]


def test_attributes_that_drivers_make_up_are_left_out() -> None:
    made_up = tuple(
        (name, b"1")
        for name in (b"trusted.SGI_ACL_FILE", b"system.ntfs_acl", b"osx.com.apple.FinderInfo")
    )
    file = File(REGULAR, 5, xattrs=(*made_up, (b"user.a", b"3"), (b"security.b", b"\0")))
    tree, _, _ = tree_of({b"file": file})
    *_, entry = tree.entries()
    assert entry.xattrs == ((b"security.b", b"\0"), (b"user.a", b"3"))


def test_a_filesystem_without_attributes_has_none_and_one_that_fails_is_an_error() -> None:
    files = {b"file": File(REGULAR, 5, xattrs=None)}
    tree, _, _ = tree_of(files)
    assert [entry.xattrs for entry in tree.entries()] == [(), ()]
    tree, _, _ = tree_of(files, unreadable=frozenset({b"file"}))
    with pytest.raises(InputReadError, match="lgetxattrs: Input/output error"):
        list(tree.entries())


def test_attributes_that_are_too_much_for_one_message_come_in_several() -> None:
    attributes = ((b"user.a", bytes(60_000)),)
    files = {
        b"%03d" % number: File(REGULAR, 10 + number, xattrs=attributes) for number in range(99)
    }
    tree, double, noted = tree_of(files)
    assert [entry.xattrs for entry in tree.entries() if entry.path] == [attributes] * 99
    assert double.requests.count("xattrs") == 1 + 3
    assert noted == []


def test_streams_that_linux_cannot_read_are_noted_and_their_files_are_there() -> None:
    small = ((b"user.Zone.Identifier", b"3"),)
    large = (*small, (b"user.WofCompressedData", bytes(65_537)))
    files = {
        name: File(REGULAR, 10 + number, b"x", xattrs=large if name == b"c" else small)
        for number, name in enumerate([b"a", b"b", b"c", b"d"])
    }
    tree, _, noted = tree_of(files)
    found = {entry.path: entry.xattrs for entry in tree.entries() if entry.path}
    assert found == {b"a": small, b"b": small, b"c": (), b"d": small}
    assert [(finding.rule, finding.evidence[:7]) for finding in noted] == [
        ("streams-unread", "1 files")
    ]


@pytest.mark.parametrize(
    "file", [File(1 << 16, 3), File(REGULAR, 3, device=-1)], ids=["mode", "device"]
)
def test_a_status_that_no_kernel_gives_is_an_error(file: File) -> None:
    tree, _, _ = tree_of({b"file": file})
    with pytest.raises(CorruptError, match="something odd for 'lstatnslist'"):
        list(tree.entries())


def test_a_folder_that_cannot_be_listed_is_an_error_with_its_path() -> None:
    files = {b"folder": File(FOLDER, 2), b"folder/file": File(REGULAR, 3)}
    tree, _, _ = tree_of(files, unreadable=frozenset({b"folder"}))
    with pytest.raises(InputReadError, match="'folder': libguestfs cannot read it: readdir"):
        list(tree.entries())


def test_an_appliance_that_is_gone_is_an_error_from_the_first_path_on() -> None:
    tree, _, _ = tree_of({}, unreadable=frozenset({b""}))
    with pytest.raises(InputReadError, match=r"cannot read it: lstatnslist: qemu was killed$"):
        list(tree.entries())


def test_a_file_that_cannot_be_looked_at_is_an_error_with_its_folder() -> None:
    files = {b"folder": File(FOLDER, 2), b"folder/file": File(REGULAR, inode=-1)}
    tree, _, _ = tree_of(files)
    with pytest.raises(InputReadError, match="'folder': 'file' cannot be looked at"):
        list(tree.entries())


def test_a_file_that_cannot_be_read_is_an_error_with_its_path() -> None:
    tree, _, _ = tree_of({b"file": File(REGULAR, 3, b"x")}, unreadable=frozenset({b"file"}))
    *_, file = tree.entries()
    with pytest.raises(InputReadError, match="'file': libguestfs cannot read it: pread"):
        list(tree.read(file))


def test_the_fault_of_a_disk_is_named_and_not_what_the_kernel_made_of_it() -> None:
    fault = CorruptError("a grain is damaged", origin=Origin(("disk.vmdk",)), offset=512)
    tree, _, _ = tree_of(
        {b"file": File(REGULAR, 3, b"x")}, unreadable=frozenset({b"file"}), fault=fault
    )
    *_, file = tree.entries()
    with pytest.raises(CorruptError, match=r"disk\.vmdk: 'file': a grain is damaged"):
        list(tree.read(file))


def test_limits_hold() -> None:
    files = {b"a": File(FOLDER, 2), b"a/b": File(FOLDER, 3), b"a/b/c": File(REGULAR, 4, b"12345")}
    for limits, said in (
        (Limits(entries=2), "one more than 2 paths"),
        (Limits(depth=2), "nested too deep"),
        (Limits(path_bytes=4), "longer than 4 bytes"),
        (Limits(folder_entries=0), "more than 0 entries"),
    ):
        with pytest.raises(LimitError, match=said):
            list(tree_of(files, limits=limits)[0].entries())
    tree, _, _ = tree_of(files, limits=Limits(file_bytes=4))
    *_, file = tree.entries()
    with pytest.raises(LimitError, match="has 5 bytes"):
        list(tree.read(file))


def test_files_that_ntfs_3g_cannot_read_are_noted_once_all_are_known() -> None:
    target = b"unsupported reparse tag 0x80000017"
    tree, _, noted = tree_of({b"a.dll": File(LINK, 2, target), b"b.dll": File(LINK, 3, target)})
    list(tree.entries())
    (finding,) = noted
    assert finding.rule == "reparse-points-unread"
    assert finding.evidence.startswith("2 files")


SIZES = (0, 1, 3000, READ_BYTES, READ_BYTES + 1, 5 * READ_BYTES)
FILES = {b"%d" % size: File(REGULAR, 10 + size, noise(size, size)) for size in SIZES}


@given(
    st.lists(st.sampled_from(sorted(FILES)), max_size=5),
    st.lists(st.tuples(st.sampled_from(sorted(FILES)), st.integers(0, 6)), max_size=5),
)
def test_content_is_right_whatever_was_announced_and_left_half_read(
    announced: list[bytes], reads: list[tuple[bytes, int]]
) -> None:
    tree, double, _ = tree_of(FILES)
    entries = {entry.path: entry for entry in tree.entries()}
    tree.will_read([entries[path] for path in announced])
    begun = []
    for path, pieces in reads:
        chunks = tree.read(entries[path])
        begun.append((path, list(islice(chunks, pieces)), chunks))
    for path, first, rest in begun[::-1]:
        assert b"".join([*first, *rest]) == FILES[path].content
    assert double.most_waiting <= 64


def test_announced_files_are_asked_for_before_the_first_is_consumed() -> None:
    files = {b"%02d" % number: File(REGULAR, 10 + number, b"x" * 10) for number in range(10)}
    tree, double, _ = tree_of(files)
    entries = [entry for entry in tree.entries() if entry.size]
    double.requests.clear()
    tree.will_read(entries)
    first = tree.read(entries[0])
    next(first)
    assert double.requests == ["read"] * 10
    for entry in entries[1:]:
        assert b"".join(tree.read(entry)) == b"x" * 10
    assert double.requests == ["read"] * 10
