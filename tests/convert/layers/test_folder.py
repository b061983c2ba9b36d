"""Trees as files: what the kernel then shows, as root and as anybody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from convert.layers.folder import write_folder
from formats.core.entry import Entry, Kind
from formats.core.errors import (
    ConvertError,
    CorruptError,
    LimitError,
    OutputError,
    OutputExistsError,
)
from formats.core.finding import Action
from formats.core.limits import DEFAULT_LIMITS
from tests.support.everything import EVERYTHING
from tests.support.listing import difference, kernel_listing, tree_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, run
from tests.support.tree_strategies import trees

NOBODY = 65534
MIB = 1 << 20


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Go on as a user without any privilege, who may write to ``folder``."""
    need_root()
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def left_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# As root


def test_root_gets_the_very_tree(tmp_path: Path) -> None:
    need_root()
    tree = MemoryTree(
        [
            *EVERYTHING.entries(),
            Entry(b"zz", Kind.SOCKET, 0o755, 1, 2, mtime_ns=1_700_000_000_123_456_789),
        ],
        {entry.path: b"".join(EVERYTHING.read(entry)) for entry in EVERYTHING.entries()},
    )
    assert write_folder(tree, tmp_path / "out") == ()
    assert difference(kernel_listing(tmp_path / "out"), tree_listing(tree)) == []
    assert left_in(tmp_path) == ["out"]


@given(trees())
@settings(max_examples=50)
def test_root_gets_any_tree(tree: MemoryTree) -> None:
    need_root()
    with TemporaryDirectory() as parent:
        assert write_folder(tree, Path(parent, "out")) == ()
        assert difference(kernel_listing(Path(parent, "out")), tree_listing(tree)) == []


def test_the_kernel_takes_the_acls_and_capabilities(tmp_path: Path) -> None:
    need("getcap", "getfacl")
    need_root()
    write_folder(EVERYTHING, tmp_path / "out")
    assert run("getcap", tmp_path / "out/ping").stdout.endswith(b"cap_net_raw=ep\n")
    acl = run("getfacl", "-n", "-p", "-c", "-d", tmp_path / "out/var/acl").stdout
    assert b"user:1000:r-x" in acl


# As anybody else


def test_a_user_gets_the_content_and_a_finding_for_all_else(tmp_path: Path) -> None:
    need_root()
    expected = tree_listing(EVERYTHING)
    with as_nobody(tmp_path):
        findings = write_folder(EVERYTHING, tmp_path / "out")

    found = kernel_listing(tmp_path / "out")
    devices = {b"dev/null", b"dev/disk", b"dev/one-more"}
    assert found.keys() == expected.keys() - devices
    for path, row in found.items():
        wanted = expected[path]
        assert (row.kind, row.size, row.digest, row.target, row.links, row.mtime_ns) == (
            (wanted.kind, wanted.size, wanted.digest, wanted.target, wanted.links, wanted.mtime_ns)
        )
        assert (row.uid, row.gid) == (NOBODY, NOBODY)
    assert found[b"closed"].mode == 0o555
    assert found[b"closed/inside"].mode == 0
    assert found[b"usr/bin/su"].mode == 0o755
    assert found[b"home/me"].xattrs == expected[b"home/me"].xattrs
    dropped = {finding.path for finding in findings if finding.action is Action.DROPPED}
    assert dropped == devices
    owned = b"closed/inside/file"  # the first that was whole
    changed = [(item.rule, item.path) for item in findings if item.action is Action.CHANGED]
    assert sorted(changed) == [("owner", owned), ("set-id", b"usr/bin/su"), ("xattr", b"ping")]
    (owner,) = (str(finding) for finding in findings if finding.rule == "owner")
    count = sum(row.kind is not None for row in found.values()) - sum(
        len(group) - 1 for group in {row.links for row in found.values() if row.links}
    )
    assert f"the first of {count:,} paths" in owner


def test_a_user_keeps_the_set_id_bits_of_their_own_files(tmp_path: Path) -> None:
    tree = memory_tree(f"f 4755 {NOBODY}:{NOBODY} tool x\nd 755 {NOBODY}:{NOBODY} a")
    root = Entry(b"", Kind.FOLDER, 0o755, NOBODY, NOBODY)
    own = MemoryTree([root, *list(tree.entries())[1:]], {b"tool": b"x"})
    with as_nobody(tmp_path):
        assert write_folder(own, tmp_path / "out") == ()
    assert stat.S_IMODE((tmp_path / "out/tool").stat().st_mode) == 0o4755


def test_a_user_can_link_to_a_file_in_a_folder_that_nobody_may_enter(tmp_path: Path) -> None:
    tree = memory_tree("d 0 0:0 a\nf 644 0:0 a/file x\nh b a/file")
    with as_nobody(tmp_path):
        write_folder(tree, tmp_path / "out")
    assert (tmp_path / "out/b").stat().st_nlink == 2
    assert stat.S_IMODE((tmp_path / "out/a").stat().st_mode) == 0


def test_a_user_gets_folders_that_nobody_may_enter_inside_of_one_another(tmp_path: Path) -> None:
    with as_nobody(tmp_path):
        write_folder(memory_tree("d 0 0:0 a\nd 0 0:0 a/b\nd 0 0:0 a/b/c"), tmp_path / "out")
    for path in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / "out" / path).stat().st_mode) == 0


def test_a_root_folder_that_its_owner_cannot_write_to_appears_as_well(tmp_path: Path) -> None:
    tree = MemoryTree([Entry(b"", Kind.FOLDER, 0o500), Entry(b"a", Kind.FILE, 0o400)])
    with as_nobody(tmp_path):
        write_folder(tree, tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o500


# Times, holes, ids


def test_a_time_that_the_filesystem_cannot_hold_is_a_finding(tmp_path: Path) -> None:
    times = (10**18 * 10**9, 1 << 80, -(10**19))
    tree = MemoryTree(
        [Entry(b"%d" % number, Kind.FIFO, 0, mtime_ns=time) for number, time in enumerate(times)]
    )
    findings = write_folder(tree, tmp_path / "out")
    assert [(finding.rule, finding.path) for finding in findings if finding.rule == "mtime"] == [
        ("mtime", b"0")
    ]
    assert "the first of 3 paths" in findings[-1].evidence


def test_the_id_that_means_no_change_is_not_given(tmp_path: Path) -> None:
    tree = MemoryTree([Entry(b"a", Kind.FILE, 0o4755, uid=0xFFFFFFFF)])
    rules = {finding.rule for finding in write_folder(tree, tmp_path / "out")}
    assert {"owner", "set-id"} <= rules


def test_holes_stay_holes(tmp_path: Path) -> None:
    content = bytes(8 * MIB) + b"x" * MIB + bytes(8 * MIB) + b"end" + bytes(5)
    tree = MemoryTree(
        [Entry(b"disk.img", Kind.FILE, 0o644, size=len(content))],
        {b"disk.img": content},
        chunk_bytes=MIB,
    )
    write_folder(tree, tmp_path / "out")
    file = tmp_path / "out/disk.img"
    assert file.read_bytes() == content
    assert file.stat().st_blocks * 512 < 2 * MIB


def test_a_file_that_ends_in_a_hole_has_its_size(tmp_path: Path) -> None:
    tree = MemoryTree([Entry(b"a", Kind.FILE, 0o644, size=MIB)], {b"a": bytes(MIB)})
    write_folder(tree, tmp_path / "out")
    assert (tmp_path / "out/a").stat().st_size == MIB


# The destination


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_folder(memory_tree("f 644 0:0 a x"), tmp_path / "out")
    assert left_in(tmp_path / "out") == ["a"]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(OutputExistsError, match="not empty") as caught:
        write_folder(memory_tree("f 644 0:0 a x"), tmp_path / "out")
    assert caught.value.exit_code == 7
    assert left_in(tmp_path / "out") == ["mine"]
    assert left_in(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["file", "symlink", "dangling symlink"])
def test_what_is_no_folder_is_refused(kind: str, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    if kind == "file":
        out.touch()
    else:
        out.symlink_to(elsewhere)
        if kind == "symlink":
            elsewhere.mkdir()
    before = left_in(tmp_path)
    with pytest.raises(OutputExistsError):
        write_folder(memory_tree("f 644 0:0 a x"), out)
    assert left_in(tmp_path) == before
    assert not elsewhere.exists() or left_in(elsewhere) == []


def test_a_folder_whose_parent_is_missing_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mkdir -p"):
        write_folder(memory_tree(""), tmp_path / "missing/out")


@pytest.mark.parametrize("name", ["file/out", "file/deeper/out"])
def test_a_folder_below_a_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="does not exist"):
        write_folder(memory_tree(""), tmp_path / name)


@pytest.mark.parametrize("name", ["closed", "closed/out", "closed/deeper/out"])
def test_a_folder_that_the_user_may_not_see_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    with as_nobody(tmp_path), pytest.raises(OutputError):
        write_folder(memory_tree(""), tmp_path / name)


def test_a_folder_that_somebody_fills_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def fill(_: int) -> None:
        (out / "theirs").touch()

    with pytest.raises(OutputExistsError):
        write_folder(memory_tree("f 644 0:0 a x"), out, progress=fill)
    assert left_in(tmp_path) == ["out"]
    assert left_in(out) == ["theirs"]


# Failures and hostile trees


def hostile(*entries: Entry, contents: dict[bytes, bytes] | None = None) -> MemoryTree:
    return MemoryTree(list(entries), contents)


FILE = Entry(b"x", Kind.FILE, 0o644)
OUTSIDE = Entry(b"link", Kind.SYMLINK, 0o777, target=b"../outside")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (hostile(OUTSIDE, replace(FILE, path=b"link/x")), "does not follow its folder"),
        (hostile(OUTSIDE, replace(FILE, path=b"link")), "'link': File exists"),
        (hostile(OUTSIDE, Entry(b"link", Kind.FOLDER, 0o755)), "'link': File exists"),
        (
            hostile(OUTSIDE, Entry(b"h", Kind.HARDLINK, 0o644, target=b"link/victim")),
            "'h': Not a directory",
        ),
        (hostile(Entry(b"h", Kind.HARDLINK, 0o644, target=b"../outside/victim")), "'..'|'h'"),
        (hostile(Entry(b"h", Kind.HARDLINK, 0o644, target=b"/etc/passwd")), "named ''|'h'"),
        (hostile(Entry(b"h", Kind.HARDLINK, 0o644)), "named ''"),
        (hostile(replace(FILE, path=b"..")), "named '..'"),
        (hostile(replace(FILE, path=b"../outside/new")), "does not follow its folder"),
        (hostile(replace(FILE, path=b"/abs")), "does not follow its folder"),
        (hostile(replace(FILE, path=b"a/")), "named ''"),
        (hostile(replace(FILE, path=b"a\0b")), "which no system allows"),
        (hostile(replace(FILE, path=b"n" * 256)), "File name too long"),
        (hostile(FILE, FILE), "'x': File exists"),
        (hostile(Entry(b"", Kind.FOLDER, 0), Entry(b"", Kind.FOLDER, 0)), "File exists"),
        (hostile(replace(OUTSIDE, target=b"a\0b")), "cannot be"),
        (hostile(replace(OUTSIDE, target=b"")), "'link': No such file"),
        (hostile(replace(FILE, xattrs=((b"user.a\0b", b""),))), "cannot be"),
        (hostile(replace(FILE, uid=-1)), "cannot be"),
        (hostile(Entry(b"d", Kind.BLOCK_DEVICE, 0)), "without a usable number"),
        (hostile(Entry(b"d", Kind.BLOCK_DEVICE, 0, device=(4096, 0))), "without a usable number"),
        (hostile(Entry(b"d", Kind.BLOCK_DEVICE, 0, device=(0, 1 << 99))), "without a usable"),
        (hostile(replace(FILE, size=5), contents={b"x": b"1234567"}), "has more"),
    ],
)
def test_a_tree_that_breaks_its_promises_reaches_nothing_outside(
    tree: MemoryTree, message: str, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_text("untouched")
    with pytest.raises(ConvertError, match=message):
        write_folder(tree, tmp_path / "out")
    assert left_in(tmp_path) == ["outside"]
    assert left_in(tmp_path / "outside") == ["victim"]
    assert (tmp_path / "outside/victim").stat().st_nlink == 1


def test_symlinks_are_made_and_not_followed(tmp_path: Path) -> None:
    need_root()
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    victim.chmod(0o600)
    target = os.fsencode(victim)
    tree = hostile(replace(OUTSIDE, target=target, uid=5, mtime_ns=5))
    write_folder(tree, tmp_path / "out")
    status = victim.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)
    assert status.st_mtime_ns != 5
    assert os.lstat(tmp_path / "out/link").st_uid == 5


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CorruptError("damaged")])
def test_nothing_is_left_after_an_interrupt_or_error(error: BaseException, tmp_path: Path) -> None:
    before = handles()

    def stop(_: int) -> None:
        raise error

    with pytest.raises(type(error)):
        write_folder(EVERYTHING, tmp_path / "out", progress=stop)
    assert left_in(tmp_path) == []
    assert handles() == before


def test_limits_are_held(tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, total_output_bytes=70_000)
    with pytest.raises(LimitError):
        write_folder(EVERYTHING, tmp_path / "out", limits=limits)
    assert left_in(tmp_path) == []


def test_a_full_disk_is_told_with_the_bytes_it_takes(tmp_path: Path) -> None:
    need_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
    try:
        tree = memory_tree("f 644 0:0 a *3000000")
        with pytest.raises(OutputError, match=r"'a': No space left.* bytes are needed"):
            write_folder(tree, disk / "out")
        assert left_in(disk) == []
    finally:
        run("umount", disk)
