from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.archives.member import Member
from formats.archives.member_tree import MemberTree
from formats.core.entry import Entry, Kind
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, MemorySource
from formats.core.tree import OpenableTree, TreeInfo
from tests.support.listing import Row, tree_listing

ORIGIN = Origin(("a.tar",))


class InMemory:
    def __init__(self) -> None:
        self.hints: list[Sequence[bytes]] = []

    def read(self, content: bytes, entry: Entry) -> Iterator[BytesLike]:
        del entry
        yield content

    def open(self, content: bytes, origin: Origin) -> MemorySource:
        return MemorySource(content, origin)

    def will_read(self, contents: Sequence[bytes]) -> None:
        self.hints.append(contents)


def folder(path: bytes, mode: int = 0o750) -> Member[bytes]:
    return Member(path, Kind.FOLDER, mode, b"")


def file(path: bytes, content: bytes = b"") -> Member[bytes]:
    return Member(path, Kind.FILE, 0o640, content, size=len(content))


def symlink(path: bytes, target: bytes | None) -> Member[bytes]:
    return Member(path, Kind.SYMLINK, 0o777, b"", target=target)


def link(path: bytes, target: bytes | None) -> Member[bytes]:
    return Member(path, Kind.HARDLINK, 0o640, b"", target=target)


def tree(
    *members: Member[bytes],
    limits: Limits = DEFAULT_LIMITS,
    findings: list[Finding] | None = None,
    forward_links: bool = False,
) -> MemberTree[bytes]:
    note = ([] if findings is None else findings).append
    return MemberTree(
        members,
        InMemory(),
        TreeInfo("test"),
        ORIGIN,
        limits,
        note,
        forward_links=forward_links,
    )


def rows(*members: Member[bytes], forward_links: bool = False) -> dict[bytes, Row]:
    return tree_listing(tree(*members, forward_links=forward_links))


def contents(made: MemberTree[bytes]) -> dict[bytes, bytes]:
    return {
        entry.path: b"".join(made.read(entry))
        for entry in made.entries()
        if entry.kind in {Kind.FILE, Kind.HARDLINK}
    }


def told(*members: Member[bytes], forward_links: bool = False) -> list[str]:
    findings: list[Finding] = []
    tree(*members, findings=findings, forward_links=forward_links)
    return [str(finding) for finding in findings]


def test_members_in_any_order_come_parents_first_and_sorted() -> None:
    made = tree(file(b"b/x"), file(b"b-1"), folder(b"b"), file(b"a"))
    assert [entry.path for entry in made.entries()] == [b"", b"a", b"b", b"b/x", b"b-1"]


def test_dots_and_doubled_slashes_do_not_matter() -> None:
    assert list(rows(folder(b"./"), file(b"./a//b/./c"), folder(b"a/b/"))) == [
        b"",
        b"a",
        b"a/b",
        b"a/b/c",
    ]


def test_a_name_that_begins_with_dots_is_a_name() -> None:
    assert list(rows(file(b".profile"), file(b"..data"), file(b"a/...")))[1:] == [
        b"..data",
        b".profile",
        b"a",
        b"a/...",
    ]


def test_a_member_that_is_a_dot_describes_the_root() -> None:
    assert rows(folder(b".", 0o711))[b""].mode == 0o711


def test_a_root_that_is_no_folder_is_refused() -> None:
    with pytest.raises(CorruptError, match=r"'\./' as a file, which is its root"):
        tree(file(b"./"))


def test_folders_without_a_member_are_made_and_told_together() -> None:
    found = rows(file(b"usr/bin/tool"), file(b"usr/lib/x/y"))
    assert (found[b"usr/lib/x"].kind, found[b"usr/lib/x"].mode) == (Kind.FOLDER, 0o755)
    (text,) = told(file(b"usr/bin/tool"), file(b"usr/lib/x/y"))
    assert text == (
        "folder-without-member: added usr (no member describes the folder; it gets mode 0755 and"
        " owner root; so are 3 more: 'usr/bin', 'usr/lib', …)"
    )


def test_a_missing_root_is_made_without_a_word() -> None:
    assert rows(file(b"a"))[b""].mode == 0o755
    assert told(file(b"a")) == []


def test_absolute_paths_are_taken_from_the_root_and_told() -> None:
    assert list(rows(file(b"/etc"))) == [b"", b"etc"]
    assert told(file(b"/etc")) == [
        "absolute-member: changed /etc (its path is absolute; it is taken from the root)"
    ]


@pytest.mark.parametrize("path", [b"..", b"../a", b"a/../../b", b"a/..", b"/../a", b"./../a"])
def test_paths_that_lead_out_are_refused(path: bytes) -> None:
    with pytest.raises(CorruptError, match=r"a\.tar: the member '.*' leads out of the archive"):
        tree(file(path))


def test_targets_of_hard_links_that_lead_out_are_refused() -> None:
    with pytest.raises(CorruptError, match=r"a hard link to '\.\./shadow' leads out"):
        tree(link(b"a", b"../shadow"))


@pytest.mark.parametrize("field", ["uid", "gid"])
def test_owners_that_no_system_has_are_refused(field: str) -> None:
    tree(replace_id(file(b"a"), field, (1 << 32) - 1))
    with pytest.raises(CorruptError, match=r"'a' is owned by .*4,294,967,296.*, which no system"):
        tree(replace_id(file(b"a"), field, 1 << 32))


def replace_id(member: Member[bytes], field: str, number: int) -> Member[bytes]:
    return member._replace(uid=number) if field == "uid" else member._replace(gid=number)


def test_a_nul_in_a_name_is_refused() -> None:
    with pytest.raises(CorruptError, match="which no system allows"):
        tree(file(b"etc/passwd\0.txt"))


@pytest.mark.parametrize(
    "members",
    [
        (symlink(b"a", b"/etc"), file(b"a/passwd")),
        (file(b"a/passwd"), symlink(b"a", b"/etc")),
        (symlink(b"a", b"/etc"), file(b"a/b/c/passwd")),
    ],
)
def test_a_member_below_a_symlink_is_refused_in_any_order(
    members: tuple[Member[bytes], ...],
) -> None:
    with pytest.raises(CorruptError, match="leads through the symlink 'a'"):
        tree(*members)


def test_a_member_below_a_file_is_refused() -> None:
    with pytest.raises(CorruptError, match="'a/b' is in 'a', which is a file"):
        tree(file(b"a"), file(b"a/b"))


def test_of_two_files_with_one_path_the_later_counts_and_is_told() -> None:
    assert contents(tree(file(b"a", b"old"), file(b"./a", b"new"))) == {b"a": b"new"}
    assert told(file(b"a", b"old"), file(b"a", b"new")) == [
        "duplicate-member: dropped a (a later member has the same path, and counts)"
    ]


def test_a_folder_that_is_repeated_as_it_was_is_nothing_to_tell() -> None:
    assert told(folder(b"a"), folder(b"a/")) == []
    assert len(told(folder(b"a", 0o700), folder(b"a", 0o755))) == 1


def test_a_path_that_is_a_folder_and_a_symlink_is_refused() -> None:
    with pytest.raises(CorruptError, match="is there as a folder and as a symlink"):
        tree(folder(b"a"), symlink(b"a", b"b"))


def test_hard_links_follow_their_target_in_the_order_of_paths() -> None:
    made = tree(file(b"z", b"data"), link(b"a", b"z"), link(b"m", b"./a"))
    assert [(entry.path, entry.kind, entry.target) for entry in made.entries()][1:] == [
        (b"a", Kind.FILE, None),
        (b"m", Kind.HARDLINK, b"a"),
        (b"z", Kind.HARDLINK, b"a"),
    ]
    assert contents(made) == dict.fromkeys((b"a", b"m", b"z"), b"data")
    assert len({entry.node for entry in made.entries() if entry.path}) == 1


def test_a_hard_link_stands_for_the_member_that_was_there_when_it_came() -> None:
    made = tree(file(b"a", b"old"), link(b"b", b"a"), file(b"a", b"new"))
    assert contents(made) == {b"a": b"new", b"b": b"old"}


def test_a_hard_link_can_be_to_a_symlink_or_device() -> None:
    found = rows(symlink(b"a", b"target"), link(b"b", b"a"))
    assert (found[b"b"].kind, found[b"b"].target) == (Kind.SYMLINK, b"target")


@pytest.mark.parametrize("target", [b"z", b"a", b"/etc/shadow"])
def test_a_hard_link_to_no_earlier_member_is_refused(target: bytes) -> None:
    with pytest.raises(CorruptError, match=r"is a hard link to .* which no member before it has"):
        tree(link(b"a", target), file(b"z"))


def test_a_hard_link_to_a_folder_is_refused() -> None:
    with pytest.raises(CorruptError, match="is a hard link to the folder 'a'"):
        tree(folder(b"a"), link(b"b", b"a"))


def test_a_hard_link_to_nothing_is_refused() -> None:
    with pytest.raises(CorruptError, match="'b' is a hard link to nothing"):
        tree(link(b"b", b""))


def test_hard_links_before_their_target_are_taken_where_the_format_has_them() -> None:
    made = tree(link(b"a", b"b"), link(b"b", b"c"), file(b"c", b"data"), forward_links=True)
    assert contents(made) == dict.fromkeys((b"a", b"b", b"c"), b"data")
    assert len({entry.node for entry in made.entries() if entry.path}) == 1


def test_a_file_after_a_hard_link_that_waits_replaces_it() -> None:
    made = tree(link(b"a", b"z"), file(b"a", b"own"), file(b"z", b"z"), forward_links=True)
    assert contents(made) == {b"a": b"own", b"z": b"z"}
    assert len(told(link(b"a", b"z"), file(b"a"), file(b"z"), forward_links=True)) == 1


@pytest.mark.parametrize(
    "members",
    [
        (link(b"a", b"a"),),
        (link(b"a", b"b"), link(b"b", b"a")),
        (link(b"a", b"gone"), file(b"b")),
    ],
)
def test_hard_links_that_lead_nowhere_are_refused(members: tuple[Member[bytes], ...]) -> None:
    with pytest.raises(CorruptError, match=r"is a hard link to .* which no member has"):
        tree(*members, forward_links=True)


def test_a_long_chain_of_hard_links_is_followed_once() -> None:
    chain = [link(b"%06d" % number, b"%06d" % (number + 1)) for number in range(20_000)]
    made = tree(*chain, file(b"020000", b"x"), forward_links=True)
    assert set(contents(made).values()) == {b"x"}


@pytest.mark.parametrize("target", [None, b"", b"a\0b"])
def test_a_symlink_without_a_sound_target_is_refused(target: bytes | None) -> None:
    with pytest.raises(CorruptError, match="'s' is a symlink to"):
        tree(symlink(b"s", target))


SMALL = replace(
    DEFAULT_LIMITS,
    entries=4,
    folder_entries=2,
    name_bytes=8,
    path_bytes=20,
    depth=3,
    symlink_target_bytes=4,
    xattrs_per_file=1,
    xattr_value_bytes=2,
)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([file(b"%d" % number) for number in range(5)], "one more than 4 paths"),
        ([file(b"a/%d/x" % number) for number in range(3)], "has more than 4 paths in it"),
        ([file(b"%d" % number) for number in range(3)], "a folder of more than 2 entries"),
        ([file(b"ninebytes")], "a name of more than 8 bytes"),
        ([file(b"seven/b/twentyone")], "a name of more than 8 bytes"),
        ([file(b"sixsix/seven77/seven77")], "path of more than 20 bytes"),
        ([file(b"a/b/c/d")], "is nested too deep"),
        ([symlink(b"a", b"12345")], "a target of more than 4 bytes"),
        ([file(b"a")._replace(xattrs=((b"user.a", b""), (b"user.b", b"")))], "more than 1 xattrs"),
        ([file(b"a")._replace(xattrs=((b"user.a", b"123"),))], "an xattr 'user.a' of 3 bytes"),
    ],
)
def test_limits_hold(members: Iterable[Member[bytes]], problem: str) -> None:
    with pytest.raises(LimitError, match=problem):
        tree(*members, limits=SMALL)


def test_a_file_larger_than_files_may_be_is_refused_when_it_is_read() -> None:
    made = tree(file(b"big", b"12345"), limits=replace(DEFAULT_LIMITS, file_bytes=4))
    entry = list(made.entries())[1]
    with pytest.raises(LimitError, match="'big' has 5 bytes, holes included, more than the 4"):
        list(made.read(entry))
    with pytest.raises(LimitError, match="'big' has 5 bytes"):
        made.open(entry)


def test_content_of_another_size_than_was_said_is_refused() -> None:
    made = tree(file(b"a", b"12345")._replace(size=6))
    with pytest.raises(CorruptError, match="'a': has 5 bytes and not 6 as it says"):
        list(made.read(list(made.entries())[1]))


def test_files_can_be_opened_at_any_place() -> None:
    made = tree(file(b"d/a", b"12345"))
    assert isinstance(made, OpenableTree)
    source = made.open(list(made.entries())[2])
    assert (bytes(source.read_at(1, 2)), str(source.origin)) == (b"23", "a.tar › d/a")


def test_a_folder_that_was_made_cannot_be_opened() -> None:
    made = tree(file(b"d/a", b"12345"))
    with pytest.raises(CorruptError, match="'d' is no member"):
        made.open(list(made.entries())[1])


def test_hints_name_the_content_that_is_there() -> None:
    known = InMemory()
    members = [file(b"a", b"A"), file(b"empty"), folder(b"d"), file(b"z", b"Z")]
    made = MemberTree(members, known, TreeInfo("test"), ORIGIN, DEFAULT_LIMITS, print)
    made.will_read(list(made.entries()))
    assert known.hints == [[b"A", b"Z"]]


def test_xattrs_come_sorted() -> None:
    made = tree(file(b"a")._replace(xattrs=((b"user.z", b"1"), (b"user.a", b"2"))))
    assert list(made.entries())[1].xattrs == ((b"user.a", b"2"), (b"user.z", b"1"))


_NAMES = st.sampled_from([b"a", b"b", b"c", b".", b"..", b"", b"a\0", b"d" * 300])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map(b"/".join)
_MEMBERS = st.lists(
    st.builds(
        lambda kind, path, target: Member(path, kind, 0o644, b"x", size=1, target=target),
        st.sampled_from(list(Kind)),
        _PATHS,
        _PATHS,
    ),
    max_size=8,
)


@given(_MEMBERS, st.booleans())
def test_any_members_make_a_sound_tree_or_an_error(
    members: list[Member[bytes]], forward_links: bool
) -> None:
    try:
        made = tree(*members, forward_links=forward_links)
    except ConvertError:
        return
    found = tree_listing(made)
    assert all(b".." not in path.split(b"/") for path in found)
    assert all(row.kind in Kind for row in found.values())
