"""Data folders out of an image: what stays in the layer, and what is in the archive beside it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from convert.data_volumes import set_apart, write_volumes
from convert.destination import parse_image
from formats.core.entry import Kind
from formats.core.errors import OutputExistsError, UsageError
from formats.core.tree import Tree
from tests.support.memory_tree import memory_tree

ROOT = """
d 755 0:0 var/lib
d 700 70:71 var/lib/db
f 600 70:71 var/lib/db/one data
d 700 70:71 var/lib/db/base
f 600 70:71 var/lib/db/base/two more
h var/lib/db/base/link var/lib/db/one
d 755 0:0 var/lib/dbx
f 644 0:0 var/lib/dbx/kept x
l 777 0:0 srv/db ../var/lib/db
d 755 0:0 var/lib/empty
h zz var/lib/db/one
"""


def listing(tree: Tree) -> dict[bytes, tuple[Kind, int]]:
    return {entry.path: (entry.kind, entry.mode) for entry in tree.entries()}


def content(tree: Tree, path: bytes) -> bytes:
    (entry,) = [entry for entry in tree.entries() if entry.path == path]
    return b"".join(map(bytes, tree.read(entry)))


def test_the_folder_stays_and_what_is_in_it_goes() -> None:
    rest, volumes, findings = set_apart(memory_tree(ROOT), ["/var/lib/db"])
    found = listing(rest)
    assert found[b"var/lib/db"] == (Kind.FOLDER, 0o700)
    assert not [path for path in found if path.startswith(b"var/lib/db/")]
    assert b"var/lib/dbx/kept" in found
    (volume,) = volumes
    assert set(listing(volume.tree)) == {b"", b"one", b"base", b"base/two", b"base/link"}
    assert listing(volume.tree)[b""] == (Kind.FOLDER, 0o700)
    (finding,) = findings
    assert (finding.rule, finding.path) == ("volume-extracted", b"var/lib/db")
    assert "4 paths and 8 bytes" in finding.evidence


def test_a_file_with_a_name_outside_keeps_its_content_on_both_sides() -> None:
    rest, (volume,), _ = set_apart(memory_tree(ROOT), ["/var/lib/db"])
    assert content(rest, b"zz") == content(volume.tree, b"one") == b"data"
    assert listing(rest)[b"zz"][0] is Kind.FILE


def test_a_link_to_the_folder_is_followed() -> None:
    _, (volume,), _ = set_apart(memory_tree(ROOT), ["/srv/db"])
    assert volume.path == "/srv/db"
    assert content(volume.tree, b"base/two") == b"more"


@pytest.mark.parametrize("path", ["/none", "/var/lib/empty", "/zz", "/", "/var/lib/db/one"])
def test_what_is_no_folder_with_something_in_it_is_passed_over(path: str) -> None:
    tree = memory_tree(ROOT)
    assert set_apart(tree, [path]) == (tree, (), ())


def test_a_folder_in_another_goes_with_it() -> None:
    paths = ["/var/lib/db/base", "/var/lib/db", "/srv/db"]
    _, volumes, _ = set_apart(memory_tree(ROOT), paths)
    assert [volume.path for volume in volumes] == ["/srv/db"]


def test_archives_lie_beside_the_image_under_names_of_their_own(tmp_path: Path) -> None:
    _, volumes, _ = set_apart(memory_tree(ROOT), ["/var/lib/db", "/var/lib/dbx"])
    written, _ = write_volumes(volumes, parse_image(f"oci:{tmp_path}/out:v1"))
    assert [item.file.name for item in written] == [
        "out.v1.var-lib-db.tar",
        "out.v1.var-lib-dbx.tar",
    ]
    with tarfile.open(written[0].file) as archive:
        assert archive.getnames() == [".", "base", "base/two", "one", "base/link"] or set(
            archive.getnames()
        ) == {".", "base", "base/two", "base/link", "one"}
        owner = archive.getmember("one")
        assert (owner.uid, owner.gid, owner.mode) == (70, 71, 0o600)


def test_an_archive_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    _, volumes, _ = set_apart(memory_tree(ROOT), ["/var/lib/db", "/var/lib/dbx"])
    theirs = tmp_path / "out.var-lib-dbx.tar"
    theirs.write_text("theirs")
    with pytest.raises(OutputExistsError):
        write_volumes(volumes, parse_image(f"oci:{tmp_path}/out"))
    assert theirs.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [theirs]


def test_standard_output_has_no_beside() -> None:
    _, volumes, _ = set_apart(memory_tree(ROOT), ["/var/lib/db"])
    with pytest.raises(UsageError, match="standard output has no beside"):
        write_volumes(volumes, parse_image("oci-archive:-"))
