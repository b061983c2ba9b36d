"""How rules are applied: links, counts, order, options."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.options import Profile
from convert.rules.normalise import Normalised, normalise
from formats.core.entry import Entry, Kind
from formats.core.errors import UsageError
from formats.core.finding import Action
from formats.core.tree import Tree, TreeIndex
from tests.support.memory_tree import MemoryTree, memory_tree


def applied(
    text: str, *, profile: Profile = Profile.CONTAINER, drop: Sequence[str] = ()
) -> Normalised:
    return normalise(TreeIndex(memory_tree(text)), profile=profile, drop=drop)


def dropped(text: str, *patterns: str) -> Normalised:
    """Apply nothing but ``--drop``."""
    return applied(text, profile=Profile.NONE, drop=patterns)


def paths(tree: Tree) -> list[str]:
    return [entry.path.decode() for entry in tree.entries() if entry.path]


def told(done: Normalised) -> list[tuple[str, str, Action]]:
    return [(item.rule, item.path.decode(), item.action) for item in done.findings]


def test_a_merged_lib_is_the_folder_it_leads_to() -> None:
    done = applied("l 777 0:0 lib usr/lib\nf 644 0:0 usr/lib/modules/6.1/x.ko x\n")
    assert paths(done.tree) == ["lib", "usr", "usr/lib", "usr/lib/modules"]


def test_links_on_the_way_are_followed_wherever_they_lead() -> None:
    done = applied(
        "l 777 0:0 etc data/./config\nl 777 0:0 data/config/ssh /../keys\n"
        "f 600 0:0 keys/ssh_host_rsa_key x\nf 600 0:0 keys/other x\n"
        "f 444 0:0 data/config/machine-id y\n"
    )
    assert "keys/ssh_host_rsa_key" not in paths(done.tree)
    assert "keys/other" in paths(done.tree)
    assert told(done) == [
        ("machine-id", "data/config/machine-id", Action.EMPTIED),
        ("ssh-host-keys", "keys/ssh_host_rsa_key", Action.DROPPED),
    ]


@pytest.mark.parametrize("folder", ["mnt", "tmp", "run", "var/tmp", "boot", "var/lib/dhcp"])
@pytest.mark.parametrize("target", ["/", "/srv", "/srv/data"])
def test_a_link_does_not_lend_its_name_to_what_it_leads_to(folder: str, target: str) -> None:
    done = applied(f"l 777 0:0 {folder} {target}\nf 644 0:0 srv/data/x x\nf 644 0:0 srv/y y\n")
    assert done.findings == ()


def test_a_loop_of_links_is_no_trouble() -> None:
    done = applied("l 777 0:0 etc/ssh ../a\nl 777 0:0 a b\nl 777 0:0 b etc/ssh\n")
    assert done.findings == ()


def test_the_home_of_a_user_can_be_a_link() -> None:
    done = applied(
        "f 644 0:0 etc/passwd me:x:1:1::/home/me:/bin/sh\\n\n"
        "l 777 0:0 home srv/homes\nf 600 1:1 srv/homes/me/.bash_history x\n"
    )
    assert told(done) == [("shell-history", "srv/homes/me/.bash_history", Action.DROPPED)]


def test_wildcards_in_a_guests_names_are_only_characters() -> None:
    done = applied(
        "f 644 0:0 etc/passwd me:x:1:1::/home/*:/bin/sh\\n\n"
        "f 600 1:1 home/*/.bash_history x\nf 600 1:1 home/other/.bash_history x\n"
    )
    assert told(done) == [("shell-history", "home/*/.bash_history", Action.DROPPED)]


def test_another_name_of_a_dropped_file_keeps_its_content() -> None:
    done = applied("f 644 0:0 boot/data words\nh usr/data boot/data\n")
    (entry,) = [item for item in done.tree.entries() if item.path == b"usr/data"]
    assert (entry.kind, b"".join(done.tree.read(entry))) == (Kind.FILE, b"words")


def test_another_name_of_an_emptied_file_keeps_its_content() -> None:
    done = applied("f 644 0:0 srv/keep words\nh var/log/x srv/keep\n")
    index = TreeIndex(done.tree)
    assert index.content(b"srv/keep") == b"words"
    assert index.content(b"var/log/x") == b""


def test_what_is_empty_already_has_no_finding() -> None:
    assert applied("f 644 0:0 var/log/x\nf 444 0:0 etc/machine-id\n").findings == ()


def test_fstab_that_is_a_link_becomes_a_file() -> None:
    done = applied("l 777 0:0 etc/fstab ../srv/fstab\nf 644 0:0 srv/fstab x\n")
    (entry,) = [item for item in done.tree.entries() if item.path == b"etc/fstab"]
    assert (entry.kind, entry.mode, entry.target) == (Kind.FILE, 0o644, None)
    assert b"".join(done.tree.read(entry)).startswith(b"# Emptied")


def test_what_is_below_a_dropped_folder_is_counted_in_its_finding() -> None:
    files = "".join(f"f 644 0:0 boot/grub/fonts/{number} 12345\n" for number in range(2000))
    done = applied(files + "f 644 0:0 boot/vmlinuz x\n")
    (grub, vmlinuz) = done.findings
    assert grub.path == b"boot/grub"
    assert grub.evidence.endswith("; 2,001 paths with 10,000 bytes below it")
    assert (vmlinuz.path, vmlinuz.evidence.count(";")) == (b"boot/vmlinuz", 0)


def test_many_files_of_one_folder_have_one_finding() -> None:
    files = "".join(f"f 644 0:0 var/log/x{number:04} 123\n" for number in range(1000))
    rotated = "".join(f"f 644 0:0 var/log/x{number:04}.gz 12\n" for number in range(1000))
    emptied, dropped = applied(files + rotated).findings
    assert (emptied.path, emptied.action) == (b"var/log", Action.EMPTIED)
    assert emptied.evidence.endswith("; 1,000 paths with 3,000 bytes in it, 'x0000' is the first")
    assert (dropped.path, dropped.action) == (b"var/log", Action.DROPPED)
    assert dropped.evidence.endswith(
        "; 1,000 paths with 2,000 bytes in it, 'x0000.gz' is the first"
    )


def test_a_few_files_have_a_finding_each() -> None:
    files = "".join(f"f 600 0:0 etc/ssh/ssh_host_{number}_key x\n" for number in range(16))
    assert len(applied(files).findings) == 16


def test_files_in_folders_that_stay_are_counted_at_the_topmost_folder() -> None:
    done = applied("f 644 0:0 var/log/a/b/c/x 123\nf 644 0:0 var/log/a/y 4\nd 755 0:0 var/log/e")
    (finding,) = done.findings
    assert finding.path == b"var/log/a"
    assert finding.evidence.endswith("; 2 paths with 4 bytes below it, the folders stay")


def test_findings_name_the_rule_and_its_reason() -> None:
    (finding,) = applied("f 600 0:0 etc/krb5.keytab x").findings
    assert str(finding) == (
        "krb5-keytab: dropped etc/krb5.keytab (they are the identity of this one machine)"
    )


def test_a_dropped_folder_goes_with_all_that_is_in_it() -> None:
    done = dropped("f 644 0:0 srv/a/b/c x\nf 644 0:0 srv/z z\n", "/srv/a")
    assert paths(done.tree) == ["srv", "srv/z"]
    (finding,) = done.findings
    assert (finding.rule, finding.path) == ("drop", b"srv/a")
    assert finding.evidence == "/srv/a; 2 paths with 1 byte below it"


def test_a_folder_is_kept_where_only_its_content_is_dropped() -> None:
    assert paths(dropped("f 644 0:0 srv/a/b x\n", "/srv/**").tree) == ["srv"]
    assert paths(dropped("f 644 0:0 srv/a/b x\n", "/srv/*/*").tree) == ["srv", "srv/a"]


def test_a_users_pattern_comes_before_the_rules() -> None:
    done = applied("f 644 0:0 etc/hostname x\n", drop=["/etc/host*"])
    assert told(done) == [("drop", "etc/hostname", Action.DROPPED)]


def test_a_pattern_that_matches_nothing_is_told() -> None:
    done = dropped("f 644 0:0 srv/a x\n", "/srv/a", "/srv/b")
    assert told(done)[1:] == [("drop", "", Action.REPORTED)]
    assert done.findings[1].evidence == "/srv/b matches nothing that is left to drop"


def test_braces_of_a_user_are_only_characters() -> None:
    text = (
        "f 644 0:0 etc/passwd me:x:1:1::/home:/bin/sh\\n\nf 644 0:0 home/x x\nf 644 0:0 {home}/x x"
    )
    assert told(dropped(text, "/{home}/x")) == [("drop", "{home}/x", Action.DROPPED)]
    assert told(dropped(text, "/{nope}/x")) == [("drop", "", Action.REPORTED)]


def test_a_folder_named_like_a_wildcard_is_no_wildcard() -> None:
    done = dropped("f 644 0:0 **/x.pyc x\nf 644 0:0 a/x.pyc x\n", "/**/*.pyc")
    assert paths(done.tree) == ["**", "a"]


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="only a part of a name"):
        dropped("f 644 0:0 a x\n", "/a**")


@pytest.mark.parametrize("drop", [(), ("/nope",)])
def test_a_tree_that_does_not_change_stays_the_same_object(drop: tuple[str, ...]) -> None:
    tree = memory_tree("f 644 0:0 usr/bin/x x\n")
    done = normalise(TreeIndex(tree), profile=Profile.CONTAINER, drop=drop)
    assert done.tree is tree


def test_volumes_that_fstab_mounts_below_mnt_stay() -> None:
    text = (
        "f 644 0:0 mnt/old x\nf 644 0:0 mnt/data/file x\nf 644 0:0 mnt/data/cache/c x\n"
        "f 644 0:0 media/a/b/file x\nf 644 0:0 tmp/file x\n"
    )
    done = normalise(
        TreeIndex(memory_tree(text)),
        profile=Profile.CONTAINER,
        drop=["/mnt/data/cache"],
        mount_points=[b"media/a/b", b"mnt/data", b"tmp"],
    )
    assert paths(done.tree) == [
        *("media", "media/a", "media/a/b", "media/a/b/file"),
        *("mnt", "mnt/data", "mnt/data/file", "tmp"),
    ]
    assert ("drop", "mnt/data/cache", Action.DROPPED) in told(done)


_FIRST, _SECOND, _THIRD = "abc", "xyz", "xyz"
_EVERY = [
    *_FIRST,
    *map("/".join, itertools.product(_FIRST, _SECOND)),
    *map("/".join, itertools.product(_FIRST, _SECOND, _THIRD)),
]
_NAMES = st.sampled_from(["a", "b", "x", "y", "z", "*", "?", "[xy]", "**"])
_PATTERNS = st.lists(st.lists(_NAMES, min_size=1, max_size=4).map("/".join), max_size=4)


@settings(max_examples=200, deadline=None)
@given(patterns=_PATTERNS)
def test_what_is_left_is_all_that_no_pattern_covers(patterns: list[str]) -> None:
    entries = [
        Entry(path.encode(), Kind.FILE if path.count("/") == 2 else Kind.FOLDER, 0o755)
        for path in sorted(_EVERY, key=lambda path: path.split("/"))
    ]
    done = normalise(TreeIndex(MemoryTree(entries)), profile=Profile.NONE, drop=patterns)
    covered = {path for path in _EVERY if any(_covers(pattern, path) for pattern in patterns)}
    assert set(paths(done.tree)) == set(_EVERY) - covered
    tops = {finding.path.decode() for finding in done.findings if finding.action is Action.DROPPED}
    assert {path for path in _EVERY if tops & set(_with_folders(path))} == covered
    unused = [item for item in done.findings if item.action is Action.REPORTED]
    assert not covered or len(unused) < len(set(patterns))


def _covers(pattern: str, path: str) -> bool:
    return any(_matches(pattern.split("/"), top.split("/")) for top in _with_folders(path))


def _with_folders(path: str) -> list[str]:
    return list(itertools.accumulate(path.split("/"), "{}/{}".format))


def _matches(names: list[str], parts: list[str]) -> bool:
    """Match as the documentation says it, name by name, each by the standard library."""
    if names == ["**"]:
        return bool(parts)
    if names and names[0] == "**":
        return any(_matches(names[1:], parts[skip:]) for skip in range(len(parts) + 1))
    if not names or not parts:
        return not names and not parts
    return fnmatch.fnmatchcase(parts[0], names[0]) and _matches(names[1:], parts[1:])
