"""Packages put together: paths that meet, owners, links, and what is written down of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from convert.packages.assemble import Assembled, assemble
from formats.core.entry import Entry, Kind
from formats.core.finding import Finding
from formats.core.package import PackageSystem
from formats.core.tree import Tree, TreeIndex
from formats.packages.tree import PackageTree
from tests.convert.packages.support import package
from tests.support.listing import tree_listing
from tests.support.memory_tree import memory_tree


def _together(
    *packages: PackageTree, requested: Sequence[str] = ("a",), base: Tree | None = None
) -> tuple[Assembled, TreeIndex]:
    assembled = assemble(packages, requested=requested, base=base)
    tree_listing(assembled.tree)  # the promises of trees
    return assembled, TreeIndex(assembled.tree)


def _told(assembled: Assembled, rule: str) -> list[Finding]:
    return [finding for finding in assembled.findings if finding.rule == rule]


def _entry(index: TreeIndex, path: bytes) -> Entry:
    entry = index.get(path)
    assert entry is not None, path
    return entry


def test_folders_merge_and_the_first_one_counts() -> None:
    one = package("a", "d 750 5:5 etc/x\nf 644 0:0 etc/x/a 1")
    other = package("b", "d 755 0:0 etc/x\nf 644 0:0 etc/x/b 2")
    assembled, index = _together(one, other)
    assert (_entry(index, b"etc/x").mode, _entry(index, b"etc/x").uid) == (0o750, 5)
    assert index.content(b"etc/x/b") == b"2"
    assert not _told(assembled, "file-conflict")


def test_of_two_different_files_the_later_counts_and_that_is_told() -> None:
    one, other = package("a", "f 644 0:0 etc/x 1"), package("b", "f 644 0:0 etc/x 2")
    assembled, index = _together(one, other)
    assert index.content(b"etc/x") == b"2"
    (finding,) = _told(assembled, "file-conflict")
    assert finding.path == b"etc/x"
    assert finding.evidence == "a has it, too; that of b counts"


def test_the_same_file_in_two_packages_is_no_conflict() -> None:
    digests = {b"usr/share/x": ("md5", "c4ca4238a0b923820dcc509a6f75849b")}
    both = [package(name, "f 644 0:0 usr/share/x 1", digests=digests) for name in "ab"]
    assembled, _ = _together(*both)
    assert not _told(assembled, "file-conflict")


def test_files_that_a_package_replaces_are_its_own_in_whatever_order() -> None:
    old = package("old", "f 644 0:0 usr/bin/x old")
    record = "Package: new\nReplaces: other,\n old (<< 2.0)\nVersion: 1\n"
    new = package("new", "f 644 0:0 usr/bin/x new", record=record)
    for order in ((old, new), (new, old)):
        assembled, index = _together(*order)
        assert index.content(b"usr/bin/x") == b"new"
        assert not _told(assembled, "file-conflict")


def test_a_file_in_the_place_of_a_folder_is_told_and_left_out() -> None:
    one, other = package("a", "f 644 0:0 x/y 1"), package("b", "f 644 0:0 x 2")
    assembled, index = _together(one, other)
    assert _entry(index, b"x").kind is Kind.FOLDER
    assert len(_told(assembled, "file-conflict")) == 1


def test_paths_lead_through_the_links_of_a_merged_usr() -> None:
    merged = package("usr-is-merged")
    tool = package("a", "f 755 0:0 bin/tool 1\nh bin/too bin/tool\nl 777 0:0 lib/x ../usr/lib/y")
    assembled, index = _together(tool, merged)
    assert _entry(index, b"bin").target == b"usr/bin"
    assert _entry(index, b"lib").target == b"usr/lib"
    assert index.content(b"usr/bin/tool") == index.content(b"bin/too") == b"1"
    assert index.get(b"sbin") is None
    assert len(_told(assembled, "merged-usr")) == 1


def test_nothing_is_merged_without_a_reason() -> None:
    _, index = _together(package("a", "f 755 0:0 bin/tool 1\nf 755 0:0 usr/bin/other 2"))
    assert _entry(index, b"bin").kind is Kind.FOLDER
    assert index.get(b"bin/tool") is not None


def test_a_folder_that_is_only_in_usr_has_its_link() -> None:
    _, index = _together(package("a", "f 755 0:0 usr/lib64/ld-linux-x86-64.so.2 1"))
    assert _entry(index, b"lib64").target == b"usr/lib64"


def test_a_link_from_before_the_merge_does_not_lead_to_itself() -> None:
    files = "f 755 0:0 bin/x 1\nl 777 0:0 usr/bin/x /bin/x"
    turned = "l 777 0:0 bin/x /usr/bin/x\nf 755 0:0 usr/bin/x 1"
    for text in (files, turned):
        _, index = _together(package("a", text), package("usr-is-merged"))
        assert _entry(index, b"usr/bin/x").kind is Kind.FILE
        assert index.content(b"usr/bin/x") == b"1"


def test_a_base_keeps_its_folders_and_its_configuration() -> None:
    base = memory_tree(
        "d 700 7:7 etc\nf 640 7:7 etc/conf old\nf 644 0:0 etc/data old\nl 777 0:0 bin usr/bin\n"
        "d 755 0:0 usr/bin\nf 644 0:0 etc/passwd root:x:0:0::/:/bin/sh\\n\nf 644 0:0 etc/group \n"
    )
    files = "f 644 0:0 etc/conf new\nf 644 0:0 etc/data new\nf 755 0:0 bin/a 1"
    assembled, index = _together(package("a", files, configuration=(b"etc/conf",)), base=base)
    assert index.get(b"etc/conf") is None, "it is the base's, and stays"
    assert index.content(b"etc/data") == b"new"
    assert (_entry(index, b"etc").mode, _entry(index, b"etc").uid) == (0o700, 7)
    assert index.get(b"usr/bin/a") is not None
    assert index.get(b"bin") is None
    assert [finding.path for finding in _told(assembled, "package-conffile")] == [b"etc/conf"]
    assert index.get(b"etc/passwd") is None, "nobody was added"
    assert index.get(b"tmp") is None


def test_users_are_added_to_those_of_a_base() -> None:
    base = memory_tree(
        "f 644 0:0 etc/passwd root:x:0:0::/:/bin/sh\\n#odd\\nsys:x:100:100::/:/x\\n\n"
        "f 644 0:0 etc/group root:x:0:\\n\nf 640 0:42 etc/shadow root:*:1::::::\\n"
    )
    script = "adduser --system --group --home /nonexistent tool"
    _, index = _together(package("a", scripts={"postinst": script}), base=base)
    lines = (index.content(b"etc/passwd") or b"").split(b"\n")
    assert lines[:3] == [b"root:x:0:0::/:/bin/sh", b"#odd", b"sys:x:100:100::/:/x"]
    assert lines[3] == b"tool:x:101:101::/nonexistent:/usr/sbin/nologin"
    assert index.content(b"etc/shadow") == b"root:*:1::::::\ntool:!*:::::::\n"
    assert (_entry(index, b"etc/shadow").mode, _entry(index, b"etc/shadow").gid) == (0o640, 42)


def test_users_come_from_base_passwd_where_it_is_among_the_packages() -> None:
    master = (
        "f 644 0:0 usr/share/base-passwd/passwd.master root:*:0:0:root:/root:/bin/bash\\n\n"
        "f 644 0:0 usr/share/base-passwd/group.master root:*:0:\\nadm:*:4:\\n\n"
    )
    script = 'if [ ! -e "$DPKG_ROOT/etc/passwd" ]; then cp $DPKG_ROOT/x /etc/passwd; fi'
    _, index = _together(package("a"), package("base-passwd", master, scripts={"preinst": script}))
    assert index.content(b"etc/passwd") == b"root:*:0:0:root:/root:/bin/bash\n"
    assert index.content(b"etc/group") == b"root:*:0:\nadm:*:4:\n"


def test_owners_that_are_names_become_numbers() -> None:
    files = "f 644 0:0 srv/a 1\nh srv/b srv/a\nd 755 0:0 srv/c\nf 644 0:0 usr/lib/sysusers.d/a.conf"
    owners = {b"srv/a": ("web", "adm"), b"srv/c": ("missing", "root")}
    line = " u\\x20web\\x20250\\n"
    tree = package("a", files + line, system=PackageSystem.DEB, owners=owners)
    assembled, index = _together(tree)
    assert (_entry(index, b"srv/a").uid, _entry(index, b"srv/a").gid) == (250, 4)
    assert _entry(index, b"srv/b").kind is Kind.HARDLINK
    assert _entry(index, b"srv/c").uid == 0
    (finding,) = _told(assembled, "package-owner")
    assert finding.evidence == "there is no user 'missing': 1 paths are root's"


def test_packages_are_put_together_in_the_order_of_what_they_need() -> None:
    a = package("a", needs=("b",), scripts={"postinst": "[ -e /made-by-c ] && touch /seen-by-a"})
    b = package("b", needs=("c", "a"))
    c = package("c", scripts={"postinst": "touch /made-by-c"})
    assembled, index = _together(a, b, c)
    assert [described.name for described in assembled.packages] == ["c", "b", "a"]
    assert index.get(b"seen-by-a") is not None


def test_diverted_files_go_elsewhere() -> None:
    script = "dpkg-divert --package a --add --rename --divert /usr/bin/x.real /usr/bin/x"
    a = package("a", "f 755 0:0 usr/bin/x mine", scripts={"preinst": script})
    b = package("b", "f 755 0:0 usr/bin/x theirs")
    for order in ((a, b), (b, a)):
        _, index = _together(*order)
        assert index.content(b"usr/bin/x") == b"mine"
        assert index.content(b"usr/bin/x.real") == b"theirs"


def test_packages_are_recorded_as_distroless_images_do() -> None:
    empty = hashlib.md5(b"", usedforsecurity=False).hexdigest()
    digests = {b"usr/x": ("md5", empty)}
    record = "Package: a\nStatus: install ok installed\nVersion: 2\n\n"
    assembled, index = _together(package("a", "f 644 0:0 usr/x", record=record, digests=digests))
    assert index.content(b"var/lib/dpkg/status.d/a") == record.rstrip().encode() + b"\n"
    assert index.content(b"var/lib/dpkg/status.d/a.md5sums") == f"{empty}  usr/x\n".encode()
    assert len(_told(assembled, "package-database")) == 1


def test_only_units_of_what_was_asked_for_are_enabled() -> None:
    unit = "f 644 0:0 usr/lib/systemd/system/{}.service [Install]\\nWantedBy=multi-user.target\\n"
    both = [
        package(name, unit.format(name), scripts={"postinst": f"systemctl enable {name}"})
        for name in "ab"
    ]
    assembled, index = _together(*both)
    wants = b"etc/systemd/system/multi-user.target.wants"
    assert [entry.name for entry in index.children(wants)] == [b"a.service"]
    assert "b was not asked for" in _told(assembled, "package-unit")[0].evidence


def test_a_script_that_is_not_understood_is_one_finding() -> None:
    scripts = {"preinst": "one\ntwo\n", "postinst": "three", "prerm": "four", "postrm": "five"}
    assembled, _ = _together(package("a", scripts=scripts))
    told = [(finding.path, finding.evidence) for finding in _told(assembled, "package-script")]
    assert told == [
        (b"a preinst", "not carried out: line 1: one; line 2: two"),
        (b"a postinst", "not carried out: line 1: three"),
    ]


def test_what_every_system_has_is_there_without_a_base() -> None:
    assembled, index = _together(package("a", "d 700 0:0 tmp"))
    assert _entry(index, b"tmp").mode == 0o700, "a package's own"
    assert _entry(index, b"var/run").target == b"../run"
    assert _entry(index, b"root").mode == 0o700
    assert "base-files" in _told(assembled, "package-root")[1].evidence


def test_all_that_is_made_has_the_time_of_the_newest_file() -> None:
    files = "f 644 0:0 x 1\nm 1700000000.5 x"
    _, index = _together(package("a", files, scripts={"postinst": "mkdir /made"}))
    newest = 1_700_000_000_500_000_000
    for path in (b"made", b"etc/passwd", b"var/lib/dpkg/status.d/a"):
        assert _entry(index, path).mtime_ns == newest


def test_equal_packages_give_an_equal_tree() -> None:
    def result() -> list[tuple[Entry, bytes]]:
        scripts = {"postinst": "adduser --system b; adduser --system c; install -d -o c /x"}
        tree = package("a", "f 644 0:0 x/y 1", scripts=scripts)
        assembled, _ = _together(tree, package("b"))
        return [(entry, b"".join(assembled.tree.read(entry))) for entry in assembled.tree.entries()]

    assert result() == result()


def test_a_copy_is_a_file_of_its_own() -> None:
    script = "cp /usr/share/x /etc/x; chmod 600 /etc/x"
    tree = package(
        "a", "f 644 0:0 usr/share/x 1\nh usr/share/y usr/share/x", scripts={"postinst": script}
    )
    _, index = _together(tree)
    assert (_entry(index, b"etc/x").kind, _entry(index, b"etc/x").mode) == (Kind.FILE, 0o600)
    assert _entry(index, b"usr/share/x").mode == 0o644
    assert _entry(index, b"usr/share/y").kind is Kind.HARDLINK
    assert index.content(b"etc/x") == b"1"


def test_what_a_base_has_just_so_is_left_out_whatever_its_time() -> None:
    base = memory_tree(
        "d 755 0:0 opt\nf 644 0:0 opt/same 1\nf 644 0:0 opt/other 1\nf 600 0:0 opt/mode 1\n"
        "l 777 0:0 opt/link same\nl 777 0:0 opt/moved same"
    )
    given = package(
        "a",
        "f 644 0:0 opt/same 1\nf 644 0:0 opt/other 2\nf 644 0:0 opt/mode 1\n"
        "l 777 0:0 opt/link same\nl 777 0:0 opt/moved other\nm 9 opt/same\nm 9 opt/link",
    )
    assembled, index = _together(given, base=base)
    paths = {entry.path for entry in index.entries() if entry.path.startswith(b"opt/")}
    assert paths == {b"opt/other", b"opt/mode", b"opt/moved"}
    (finding,) = _told(assembled, "package-unchanged")
    assert finding.evidence == "2 paths are in the base just so, and are not added again"


def test_the_names_of_one_file_stay_together_though_a_base_has_them() -> None:
    files = "f 644 0:0 opt/one 1\nh opt/two opt/one"
    _, index = _together(package("a", files), base=memory_tree(files))
    assert {b"opt/one", b"opt/two"} <= {entry.path for entry in index.entries()}


def test_whether_a_file_is_the_bases_is_seen_by_its_digest() -> None:
    digests = {b"opt/x": ("md5", hashlib.md5(b"1", usedforsecurity=False).hexdigest())}
    given = package("a", "f 644 0:0 opt/x 1", digests=digests)
    for content, expected in (("1", False), ("2", True)):
        _, index = _together(given, base=memory_tree(f"f 644 0:0 opt/x {content}"))
        assert (index.get(b"opt/x") is not None) is expected
