"""What is left of an image whose writer was killed, or ran out of disk."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convert.destination import LayoutDestination, parse_image
from convert.oci.write import default_codec
from convert.verify import verify_image
from formats.core.errors import OutputError
from tests.support.images import image_files, write
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, run

ROOT = Path(__file__).resolve().parents[3]

_KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from tests.support.images import write
from tests.support.memory_tree import memory_tree

# What changes a folder, or opens a file to be written.
EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "fcntl.flock"}

def kill_before(step):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if event in EVENTS or is_write:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

folder, destination, before = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
tree = memory_tree("f 644 0:0 new *200000")
for step in range(1, 200):
    place = folder / f"{step:03}"
    place.mkdir()
    for earlier in before:
        write(earlier.replace("PLACE", str(place)))
    child = os.fork()
    if not child:
        kill_before(step)
        write(destination.replace("PLACE", str(place)), tree)
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
else:
    sys.exit("it never ended")
"""


def killed_at_each_step(folder: Path, destination: str, *before: str) -> list[Path]:
    """Write an image again and again, killed one step later each time; give the places."""
    run(sys.executable, "-c", _KILLED, folder, destination, *before, cwd=ROOT, timeout=120)
    places = sorted(folder.iterdir())
    assert len(places) > 8
    return places[:-1]  # the last one was not killed any more


def is_sound(destination: str) -> bool:
    return verify_image(parse_image(destination)).problem_count == 0


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".oci-convert-*") if path.is_dir()]


def test_a_writer_of_a_new_layout_that_is_killed_leaves_all_or_nothing(tmp_path: Path) -> None:
    places = killed_at_each_step(tmp_path, "oci:PLACE/out:new")
    there = [place for place in places if (place / "out").exists()]
    assert 0 < len(there) < len(places)
    assert all(is_sound(f"oci:{place}/out:new") for place in there)


@pytest.fixture(scope="module")
def killed_layouts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Layouts with the tags old and new, whose writer of another new was killed."""
    before = ("oci:PLACE/out:old", "oci:PLACE/out:new")
    return killed_at_each_step(tmp_path_factory.mktemp("killed"), "oci:PLACE/out:new", *before)


def test_a_writer_to_a_layout_that_is_killed_harms_no_image_in_it(
    killed_layouts: list[Path],
) -> None:
    digests = set()
    for place in killed_layouts:
        for tag in ("old", "new"):
            found = verify_image(LayoutDestination(place / "out", tag))
            assert found.problems == ()
            digests.add((tag, found.digest))
    assert len([tag for tag, _ in digests if tag == "old"]) == 1
    assert len([tag for tag, _ in digests if tag == "new"]) == 2  # the one before, and the new one


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_a_writer_of_an_archive_that_is_killed_leaves_all_or_nothing(
    transport: str, tmp_path: Path
) -> None:
    places = killed_at_each_step(tmp_path, f"{transport}:PLACE/x.tar:web:1")
    there = [place for place in places if (place / "x.tar").exists()]
    assert 0 < len(there) < len(places)
    assert all(is_sound(f"{transport}:{place}/x.tar:web:1") for place in there)


def test_the_next_writer_removes_what_a_killed_one_left(
    killed_layouts: list[Path], tmp_path: Path
) -> None:
    littered = [place for place in killed_layouts if leftovers(place)]
    assert len(littered) > 10
    for number, killed in enumerate(littered):
        place = shutil.copytree(killed, tmp_path / str(number))
        write(f"oci:{place}/out:new")
        assert leftovers(place) == []
        assert is_sound(f"oci:{place}/out:new")
        assert is_sound(f"oci:{place}/out:old")


_CALL = re.compile(r"(fsync|rename)\((?:\d+<)?\"?([^\">]+)[\">](?:, \"([^\"]+)\")?")


@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_all_is_on_the_disk_before_it_is_named_and_the_name_at_the_end(
    transport: str, tmp_path: Path, *, exists: bool
) -> None:
    need("strace")
    out = tmp_path / "out"
    if exists and transport == "oci":
        write(f"oci:{out}:old")
    script = f"from tests.support.images import write; write('{transport}:{out}:new')"
    traced = ("strace", "-f", "-y", "-e", "trace=fsync,rename", "-e", "signal=none", "-o")
    trace = tmp_path / "trace"
    run(*traced, trace, sys.executable, "-c", script, cwd=ROOT, timeout=60)
    calls = [match.groups() for match in map(_CALL.search, trace.read_text().splitlines()) if match]
    where_synced: set[str] = set()
    for call, source, target in calls:
        if call == "fsync":
            where_synced.add(source)
        elif not Path(target).is_dir():
            assert source in where_synced, f"{target} was named before it was on the disk"
            where_synced.add(target)  # the layer is renamed once more
    renames = [call for call in calls if call[0] == "rename"]
    final = Path(renames[-1][2])
    assert final in {out, out / "index.json"}
    assert calls[-1][:2] == ("fsync", str(final.parent))
    if final == out / "index.json":  # blobs are in their folder for good before the index is
        assert calls.index(("fsync", str(out / "blobs/sha256"), None)) < calls.index(renames[-1])


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    need_root()
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", options, "none", folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def incompressible() -> MemoryTree:
    tree = memory_tree("f 644 0:0 noise *3000000")
    return MemoryTree(list(tree.entries()), {b"noise": os.urandom(3_000_000)})


@pytest.mark.parametrize("options", ["size=1m", "size=64k", "nr_inodes=7", "nr_inodes=5"])
@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_a_full_disk_is_an_output_error_and_nothing_is_left(
    options: str, transport: str, tmp_path: Path
) -> None:
    if transport != "oci" and "inodes" in options:
        options = "nr_inodes=3"
    with small_disk(tmp_path / "disk", options) as disk:
        with pytest.raises(OutputError, match="No space left") as caught:
            write(f"{transport}:{disk}/out:web:1", incompressible())
        assert caught.value.exit_code == 7
        assert "bytes are needed" in str(caught.value)
        assert os.listdir(disk) == []


def test_a_layout_on_a_full_disk_keeps_its_images(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        write(f"oci:{disk}/out:old")
        write(f"oci:{disk}/out:old")
        before = image_files(disk / "out")
        with pytest.raises(OutputError, match="No space left"):
            write(f"oci:{disk}/out:new", incompressible())
        assert image_files(disk / "out") == before
        assert leftovers(disk) == []
        assert is_sound(f"oci:{disk}/out:old")


def test_standard_output_that_is_full_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="No space left"):
        write("oci-archive:/dev/full:web:1", incompressible())


def test_the_default_codecs_are_those_that_each_destination_loads_everywhere() -> None:
    names = ("oci:x", "oci-archive:x", "docker-archive:x")
    assert [default_codec(parse_image(name)).value for name in names] == ["zstd", "gzip", "none"]
