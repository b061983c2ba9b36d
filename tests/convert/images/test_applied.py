"""Layers are applied as clients apply them: umoci and podman are asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from convert.images.opening import OpenedImage
from convert.images.tree import ImageTree
from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS, Limits
from tests.support.containers import podman
from tests.support.images import skopeo, umoci_unpacked
from tests.support.layers import M, layer, write_image_of
from tests.support.listing import Row, difference, kernel_listing, tree_listing
from tests.support.programs import need, need_root, run

Open = Callable[..., OpenedImage]

BASE = layer(
    M("d", ".", mode=0o755),
    M("d", "etc", mode=0o755),
    M("f", "etc/a", "a"),
    M("f", "etc/b", "b", xattrs={"user.note": "kept"}),
    M("h", "etc/c", "etc/b"),
    M("d", "usr", mode=0o755),
    M("d", "usr/lib", mode=0o751, uid=5),
    M("f", "usr/lib/x", "x"),
    M("l", "lib", "usr/lib", mode=0o777),
    M("l", "abs", "/usr/../usr/lib", mode=0o777),
    M("d", "opaque", mode=0o755),
    M("f", "opaque/1", "1"),
    M("d", "opaque/d", mode=0o755),
    M("f", "opaque/d/2", "2"),
    M("d", "folder", mode=0o755),
    M("f", "folder/f", "f"),
    M("l", "link", "usr", mode=0o777),
    M("f", "file", "file"),
)
"""The parents of all that follows."""
PLAIN = layer(
    M("d", "etc", mode=0o700, uid=3, mtime=77),
    M("f", "etc/.wh.a"),
    M("f", "etc/.wh.nothing"),
    M("d", "opaque", mode=0o755),
    M("f", "opaque/new", "n"),
    M("f", "opaque/.wh..wh..opq"),
    M("f", "folder", "now a file"),
    M("d", "link", mode=0o700),
    M("d", "file", mode=0o711),
    M("f", "file/below", "below"),
    M("p", "pipe", mode=0o600),
)
"""What every client understands in the same way."""


def tree_of(opened: Open, folder: Path, *tars: bytes, **settings: object) -> ImageTree:
    return opened(f"oci:{write_image_of(folder, *tars)}:x", **settings).tree()


def by_path(tree: ImageTree) -> dict[bytes, Row]:
    return tree_listing(tree)


def without_times_of_folders(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Leave out what unpacking changes by itself in folders that no layer mentions."""
    return {
        path: replace(row, mtime_ns=0) if row.kind is Kind.FOLDER else row
        for path, row in rows.items()
    }


def test_a_tree_is_what_umoci_unpacks(opened: Open, tmp_path: Path) -> None:
    need_root()
    tree = tree_of(opened, tmp_path / "layout", BASE, PLAIN)
    kernel = kernel_listing(umoci_unpacked(tmp_path / "layout", "x", tmp_path / "bundle"))
    assert difference(kernel, by_path(tree)) == []


def test_a_tree_is_what_podman_mounts(opened: Open, tmp_path: Path) -> None:
    tree = tree_of(opened, tmp_path / "layout", BASE, PLAIN)
    archive = tmp_path / "archive.tar"
    skopeo("copy", "-q", f"oci:{tmp_path / 'layout'}:x", f"oci-archive:{archive}:localhost/x:1")
    with podman() as engine:
        engine("load", "-q", "-i", archive)
        container = engine("create", "localhost/x:1").decode().strip()
        kernel = kernel_listing(Path(engine("mount", container).decode().strip()))
        engine("umount", container)
    ours = by_path(tree)
    del kernel[b""], ours[b""]  # podman's storage gives the root a mode of its own
    assert difference(kernel, ours) == []


def test_paths_through_symlinks_of_layers_below_go_where_umoci_takes_them(
    opened: Open, tmp_path: Path
) -> None:
    need_root()
    upper = layer(
        M("f", "lib/y", "y"),
        M("f", "abs/z", "z"),
        M("f", "link/lib/deep/er/w", "w"),
        M("h", "etc/linked", "usr/lib/x"),
        M("h", "etc/again", "lib/y"),
    )
    tree = tree_of(opened, tmp_path / "layout", BASE, upper)
    kernel = kernel_listing(umoci_unpacked(tmp_path / "layout", "x", tmp_path / "bundle"))
    ours = without_times_of_folders(by_path(tree))
    assert difference(without_times_of_folders(kernel), ours) == []
    rules = {finding.rule for finding in tree.findings}
    assert {"layer-through-link", "link-to-layer-below", "folder-without-member"} <= rules


_NAMES = ("a", "b", "c", "l")


def _random_layer(chance: random.Random) -> bytes:
    """Return a layer that mentions few folders, so that much depends on the layers below."""
    members: dict[str, M] = {}
    for _ in range(chance.randrange(2, 9)):
        path = "/".join(chance.choice(_NAMES) for _ in range(chance.randrange(1, 4)))
        kind = chance.choice("ffddl")
        if kind == "l":
            target = chance.choice(("a", "b", "/c", "../a", "a/b", "/"))
            members[path] = M("l", path, target, mode=0o777)
        elif chance.random() < 0.25:
            folder, _, name = path.rpartition("/")
            hidden = ".wh..wh..opq" if chance.random() < 0.3 else f".wh.{name}"
            members[path] = M("f", f"{folder}/{hidden}" if folder else hidden)
        else:
            members[path] = M(kind, path, path if kind == "f" else "", mode=0o755)
    return layer(*(members[path] for path in sorted(members)))


@pytest.mark.parametrize("seed", range(8))
def test_random_layers_end_as_umoci_unpacks_them(opened: Open, tmp_path: Path, seed: int) -> None:
    need_root()
    chance = random.Random(seed)
    tars = [layer(M("d", ".", mode=0o755))]
    while len(tars) < 4:  # what cannot be applied (through a file, say) is another test
        tars.append(_random_layer(chance))
        try:
            tree_of(opened, tmp_path / f"try{len(tars)}-{chance.random()}", *tars)
        except ConvertError:
            tars.pop()
    tree = tree_of(opened, tmp_path / "layout", *tars)
    kernel = kernel_listing(umoci_unpacked(tmp_path / "layout", "x", tmp_path / "bundle"))
    ours = without_times_of_folders(by_path(tree))
    assert difference(without_times_of_folders(kernel), ours) == []


def test_whiteouts_hide_nothing_of_their_own_layer(opened: Open, tmp_path: Path) -> None:
    upper = layer(
        M("d", "etc", mode=0o755),
        M("f", "etc/a", "new"),
        M("f", "etc/.wh.a"),
        M("f", "etc/.wh..wh..opq"),
    )
    rows = by_path(tree_of(opened, tmp_path / "layout", BASE, upper))
    assert [path for path in rows if path.startswith(b"etc/")] == [b"etc/a"]
    assert rows[b"etc/a"].size == 3


@pytest.mark.parametrize("mark", [".wh.x", ".wh..wh..opq"])
def test_a_whiteout_in_a_folder_that_replaces_a_link_spares_what_the_link_led_to(
    opened: Open, tmp_path: Path, mark: str
) -> None:
    need_root()
    upper = layer(M("d", "lib", mode=0o755), M("f", f"lib/{mark}"), M("f", "lib/own", "o"))
    tree = tree_of(opened, tmp_path / "layout", BASE, upper)
    kernel = kernel_listing(umoci_unpacked(tmp_path / "layout", "x", tmp_path / "bundle"))
    assert b"usr/lib/x" in kernel
    ours = without_times_of_folders(by_path(tree))
    assert difference(without_times_of_folders(kernel), ours) == []


def test_a_whiteout_behind_a_link_hides_what_the_link_leads_to(
    opened: Open, tmp_path: Path
) -> None:
    need_root()
    tree = tree_of(opened, tmp_path / "layout", BASE, layer(M("f", "lib/.wh.x")))
    kernel = kernel_listing(umoci_unpacked(tmp_path / "layout", "x", tmp_path / "bundle"))
    assert b"usr/lib/x" not in kernel
    ours = without_times_of_folders(by_path(tree))
    assert difference(without_times_of_folders(kernel), ours) == []


def test_marks_of_aufs_are_no_whiteouts(opened: Open, tmp_path: Path) -> None:
    upper = layer(
        M("f", ".wh..wh.aufs"), M("d", ".wh..wh.plnk", mode=0o700), M("f", ".wh..wh.plnk/1.2")
    )
    assert by_path(tree_of(opened, tmp_path / "one", BASE, upper)) == by_path(
        tree_of(opened, tmp_path / "other", BASE)
    )


def test_a_file_can_be_read_from_any_place(opened: Open, tmp_path: Path) -> None:
    tree = tree_of(opened, tmp_path / "layout", BASE, PLAIN)
    entry = next(entry for entry in tree.entries() if entry.path == b"folder")
    assert bytes(tree.open(entry).read_at(4, 6)) == b"a file"


def test_sparse_members_are_read(opened: Open, tmp_path: Path) -> None:
    need("tar")
    place = tmp_path / "place"
    place.mkdir()
    with (place / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
    (place / "empty").touch()
    run("tar", "--sparse", "--format=posix", "-cf", tmp_path / "a.tar", "-C", place, ".")
    tree = tree_of(opened, tmp_path / "layout", (tmp_path / "a.tar").read_bytes())
    assert (tmp_path / "a.tar").stat().st_size < 1 << 20
    kernel = {path: row.digest for path, row in kernel_listing(place).items()}
    assert {path: row.digest for path, row in by_path(tree).items()} == kernel


def test_a_repeated_member_is_told_of(opened: Open, tmp_path: Path) -> None:
    tree = tree_of(opened, tmp_path / "layout", layer(M("f", "a", "first"), M("f", "a", "second")))
    assert by_path(tree)[b"a"].size == 6
    assert [finding.rule for finding in tree.findings] == ["duplicate-member"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([M("f", "../evil", "x")], "which no system allows"),
        ([M("f", "etc/../../evil", "x")], "which no system allows"),
        ([M("h", "evil", "../../etc/passwd")], "which no system allows"),
        ([M("h", "evil", "etc/nothing")], "is a hard link to 'etc/nothing', not there"),
        ([M("h", "evil", "usr")], "is a hard link to 'usr', a folder"),
        ([M("f", "etc/a/below", "x")], "lies in what is no folder"),
        ([M("f", ".", "x")], "in the place of the root"),
        ([M("f", "etc/.wh.")], "is a whiteout of nothing"),
        ([M("f", "etc/.wh..")], "is a whiteout of nothing"),
        ([M("f", "etc/.wh...")], "is a whiteout of nothing"),
        ([M("l", "one", "two"), M("l", "two", "one"), M("f", "one/x", "x")], "40 symlinks"),
        ([M("l", "long", "x" * 5000)], "leads to what can be no path"),
        ([M("f", "etc/.wh.a/below", "x")], "lies in a whiteout"),
    ],
)
def test_a_layer_that_cannot_be_applied_is_refused(
    opened: Open, tmp_path: Path, members: list[M], message: str
) -> None:
    with pytest.raises(CorruptError, match=message):
        tree_of(opened, tmp_path / "layout", BASE, layer(*members))


def test_symlinks_never_lead_out_of_the_image(opened: Open, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    upper = layer(
        M("l", "out", f"../../../../..{canary}", mode=0o777),
        M("f", "out/file", "x"),
    )
    rows = by_path(tree_of(opened, tmp_path / "layout", BASE, upper))
    assert list(canary.iterdir()) == []
    assert f"{canary}/file".encode().lstrip(b"/") in rows


def test_an_absolute_path_begins_at_the_root_of_the_image(opened: Open, tmp_path: Path) -> None:
    rows = by_path(tree_of(opened, tmp_path / "layout", layer(M("f", "/etc/x", "x"))))
    assert list(rows) == [b"", b"etc", b"etc/x"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (replace(DEFAULT_LIMITS, entries=5), "more than 5 members"),
        (replace(DEFAULT_LIMITS, name_bytes=3), "a name has"),
        (replace(DEFAULT_LIMITS, depth=1), "bytes or 1 folders"),
        (replace(DEFAULT_LIMITS, path_bytes=12), r"more than (the )?12"),
        (replace(DEFAULT_LIMITS, folder_entries=2), "more than 2 entries"),
        (replace(DEFAULT_LIMITS, total_output_bytes=600), "unpacks to more than 600 bytes"),
    ],
)
def test_limits_hold(opened: Open, tmp_path: Path, limits: Limits, message: str) -> None:
    upper = layer(M("f", "usr/lib/a-long-name", "x"))
    with pytest.raises(LimitError, match=message):
        tree_of(opened, tmp_path / "layout", BASE, upper, limits=limits)


def test_all_layers_together_are_no_larger_than_allowed(opened: Open, tmp_path: Path) -> None:
    limits = replace(DEFAULT_LIMITS, total_output_bytes=len(BASE) + len(PLAIN))
    tree_of(opened, tmp_path / "two", BASE, PLAIN, limits=limits)
    with pytest.raises(LimitError, match="the image unpacks to more than"):
        tree_of(opened, tmp_path / "three", BASE, PLAIN, layer(M("f", "x")), limits=limits)


def test_folders_that_are_made_are_counted(opened: Open, tmp_path: Path) -> None:
    deep = layer(*(M("f", f"{number}/" + "d/" * 100 + "x") for number in range(10)))
    limits = replace(DEFAULT_LIMITS, entries=1000)
    with pytest.raises(LimitError, match="more than 1,000 members and folders"):
        tree_of(opened, tmp_path / "layout", deep, limits=limits)
    through = layer(
        *(M("l", f"l{number}", f"{number}/" + "d/" * 100, mode=0o777) for number in range(10)),
        *(M("f", f"l{number}/x") for number in range(10)),
    )
    with pytest.raises(LimitError, match="more than 1,000 members and folders"):
        tree_of(opened, tmp_path / "other", through, limits=limits)


def test_names_out_of_symlinks_are_names(opened: Open, tmp_path: Path) -> None:
    upper = layer(M("l", "s", "n" * 300, mode=0o777), M("f", "s/x", "x"))
    with pytest.raises(LimitError, match="a name has 300 bytes"):
        tree_of(opened, tmp_path / "layout", upper)


def test_xattrs_are_counted(opened: Open, tmp_path: Path) -> None:
    many = layer(M("f", "x", xattrs={f"user.{number}": "" for number in range(200)}))
    with pytest.raises(LimitError, match="'x' has more than 128 xattrs"):
        tree_of(opened, tmp_path / "layout", many)


def test_a_path_made_long_by_symlinks_is_refused(opened: Open, tmp_path: Path) -> None:
    name = "n" * 200
    folders = [M("d", "/".join([name] * count), mode=0o755) for count in range(1, 19)]
    deep = "/".join([name] * 18)
    tars = layer(*folders, M("l", "s", deep, mode=0o777)), layer(M("f", f"s/{deep}/x", "x"))
    with pytest.raises(LimitError, match="a path has more than"):
        tree_of(opened, tmp_path / "layout", *tars)
