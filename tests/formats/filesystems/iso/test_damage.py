"""What is refused of ISO images, and what damaged and hostile ones come to."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, MemorySource
from formats.core.tree import OpenableTree
from formats.filesystems.iso.descriptors import VolumeDescriptor, read_sessions
from formats.filesystems.iso.path_table import folder_places
from tests.images.iso import SECTOR, genisoimage, mkisofs, patched, xorriso
from tests.support.filesystems import TYPED, listing, opened, outcome
from tests.support.listing import difference
from tests.support.memory_tree import varied
from tests.support.mutations import outcomes
from tests.support.programs import CORPUS, run


def both(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def entry(signature: bytes, body: bytes) -> bytes:
    return signature + bytes([len(body) + 4, 1]) + body


def rock_ridge(folder: Path, **files: bytes) -> Path:
    """Return an image of files, each with room for other entries in its record."""
    tree = folder / "tree"
    tree.mkdir()
    for name, content in files.items():
        (tree / (name + "-" * 60)).write_bytes(content)
    return genisoimage(tree, folder / "image", "-R")


def record_of(image: Path, name: bytes) -> tuple[int, int]:
    """Return where the record of a file of :func:`rock_ridge` begins, and its system use field."""
    data = image.read_bytes()
    mark = data.index(b"NM" + bytes([5 + len(name) + 60, 1, 0]) + name + b"-" * 60)
    start = next(
        at
        for at in range(mark - 34, 0, -1)
        if at + 33 + data[at + 32] + 5 in {mark - 1, mark} and at + data[at] > mark
    )
    name_end = start + 33 + data[start + 32]
    return start, name_end + (not data[start + 32] & 1)


def with_entries(image: Path, name: bytes, *entries: bytes) -> Path:
    """Replace the system use field of a record."""
    start, use = record_of(image, name)
    length = image.read_bytes()[start] + start - use
    return patched(image, (use, b"".join(entries).ljust(length, b"\0")[:length]))


FILE = entry(b"PX", both(0o100644) + both(1) + both(0) + both(0))
LINK = entry(b"PX", both(0o120777) + both(1) + both(0) + both(0))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((FILE, entry(b"NM", b"\0a/b")), "named 'a/b', which no system allows"),
        ((FILE, entry(b"NM", b"\0..")), "named '..'"),
        ((FILE, entry(b"NM", b"\0.")), "named '.'"),
        ((FILE, entry(b"NM", b"\0a\0b")), r"named 'a\\x00b'"),
        ((FILE, entry(b"NM", b"\0")), "named ''"),
        ((FILE, entry(b"NM", b"")), "an entry of its name is empty"),
        ((FILE, b"NM\3\1"), "claims 3 bytes"),
        ((FILE, b"NM\xff\1"), "claims 255 bytes"),
        ((entry(b"PX", both(0)),), "is too short"),
        ((entry(b"TF", b"\2" + bytes(6)),), "with its times is too short"),
        ((LINK,), "is a symlink to nowhere"),
        ((LINK, entry(b"SL", b"\0\0\xff")), "component record is cut short"),
        ((LINK, entry(b"SL", b"\0\1\1a")), "is to be continued"),
        ((LINK, entry(b"SL", b"\0\x20\0")), "a component of the kind 0x20"),
        ((entry(b"PX", both(0o040755) + both(2) + both(0) + both(0)),), "is a folder by its mode"),
        ((FILE, entry(b"AL", b"\0\0\1\3")), "attribute has no value"),
        ((FILE, entry(b"AL", b"\0\0\1\7\0\0")), "in the namespace 7"),
        ((FILE, entry(b"AL", b"\0\0\2a\0\0\0")), r"is named 'a\\x00'"),
        ((FILE, entry(b"AL", b"\0\0\1\1\0\0")), r"is named '\\x01'"),
        ((FILE, entry(b"AL", b"\0\0\0\0\2\x18\5")), "an ACL is cut short"),
        ((FILE, entry(b"AL", b"\0\0\0\0\7\xaf\5abcde")), "an id of 5 bytes"),
        ((FILE, entry(b"CE", both(1 << 30) + both(0) + both(9))), "lies outside of"),
        ((FILE, entry(b"CE", both(20) + both(0) + both(1 << 20))), "goes on for 1,048,576 bytes"),
    ],
)
def test_damaged_entries_are_refused_with_their_place(
    entries: tuple[bytes, ...], message: str, tmp_path: Path
) -> None:
    image = with_entries(rock_ridge(tmp_path, a=b"x"), b"a", *entries)
    with pytest.raises(ConvertError, match=message):
        listing(image)


def test_continuations_in_a_circle_are_refused(tmp_path: Path) -> None:
    image = rock_ridge(tmp_path, a=b"content", b=b"x" * SECTOR)
    offset = image.read_bytes().index(b"x" * SECTOR)
    loop = entry(b"CE", both(offset // SECTOR) + both(0) + both(28))
    patched(image, (offset, loop))
    with pytest.raises(CorruptError, match="continued more than 32 times"):
        listing(with_entries(image, b"a", FILE, loop))


def test_a_folder_whose_records_share_a_continuation_is_refused(tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(90)]
    image = rock_ridge(tmp_path, **dict.fromkeys(names, b""))
    area = 16 * SECTOR  # zeros, which end a continuation
    assert len(names) * area > 4 * image.stat().st_size
    shared = entry(b"CE", both(0) + both(0) + both(area))
    for name in names[:2]:
        with_entries(image, name.encode(), FILE, shared)
    assert len(listing(image)) == len(names) + 1
    for name in names[2:]:
        with_entries(image, name.encode(), FILE, shared)
    with pytest.raises(CorruptError, match="continued in the same places"):
        listing(image)


def test_a_gap_full_of_what_looks_like_sessions_is_not_searched_without_end(small: Path) -> None:
    session = read_sessions(MemorySource(small.read_bytes(), Origin(("image",))))[-1]
    end = session.ends[-1] * SECTOR
    descriptor = small.read_bytes()[16 * SECTOR : 17 * SECTOR]  # its root lies before it
    image = small.read_bytes()[:end].ljust(end, b"\0") + bytes(17 * SECTOR) + descriptor * 5000
    source = _Counting(image, Origin(("image",)))
    assert len(read_sessions(source)) == 1
    assert source.count < 20_000


class _Counting(MemorySource):
    count = 0

    def read_at(self, offset: int, length: int) -> BytesLike:
        self.count += 1
        return super().read_at(offset, length)


def test_a_path_table_is_read_a_piece_at_a_time_and_no_longer_than_a_tree_may_be() -> None:
    def table(count: int) -> tuple[MemorySource, VolumeDescriptor]:
        records = b"".join(struct.pack("<BBIH2s", 1, 0, 50 + at, 1, b"a") for at in range(count))
        source = MemorySource(bytes(SECTOR) + records, Origin(("image",)))
        root = bytes(34)
        volume = VolumeDescriptor(
            0, 1, 0, SECTOR, 1, 1, 1, 1, len(records), root, {}, bytes(17), bytes(17)
        )
        return source, volume

    limits = Limits(entries=20_000)
    assert list(folder_places(*table(20_000), limits)) == [50 + at for at in range(20_000)]
    with pytest.raises(LimitError, match="has more than 20,000 folders"):
        list(folder_places(*table(20_001), limits))


def test_a_folder_relocated_into_itself_is_refused(tmp_path: Path) -> None:
    image = rock_ridge(tmp_path, a=b"x")
    root = int.from_bytes(image.read_bytes()[16 * SECTOR + 158 :][:4], "little")
    with_entries(image, b"a", FILE, entry(b"NM", b"\0loop"), entry(b"CL", both(root)))
    with pytest.raises(CorruptError, match="'loop': is a folder with two names"):
        listing(image)


def test_a_folder_relocated_to_nowhere_is_refused(tmp_path: Path) -> None:
    image = with_entries(rock_ridge(tmp_path, a=b"x"), b"a", FILE, entry(b"CL", both(1 << 30)))
    with pytest.raises(CorruptError, match="does not begin with a record of itself"):
        listing(image)


def test_a_file_outside_of_the_image_is_refused_with_its_name(tmp_path: Path) -> None:
    image = rock_ridge(tmp_path, a=b"x")
    start, _ = record_of(image, b"a")
    patched(image, (start + 2, both(1 << 30)))
    with pytest.raises(CorruptError, match=r"'a-+': .*(ends|outside)"):
        listing(image)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    image = rock_ridge(tmp_path, a=b"x", b=b"y")
    for name in (b"a", b"b"):
        with_entries(image, name, FILE, entry(b"NM", b"\0same"))
    with pytest.raises(CorruptError, match="has two entries 'same'"):
        listing(image)


def test_a_cut_image_is_told_and_what_is_cut_off_is_an_error(tmp_path: Path) -> None:
    image = rock_ridge(tmp_path, a=b"x" * 100_000, b=b"first")
    data = image.read_bytes()
    cut = data.rindex(b"x" * SECTOR)
    image.write_bytes(data[:cut])
    with opened(image) as (tree, findings):
        assert [item.rule for item in findings] == ["iso-truncated"]
        entries = {item.name[:1]: item for item in tree.entries()}
        with pytest.raises(CorruptError) as caught:
            list(tree.read(entries[b"a"]))
    assert caught.value.offset is not None


def test_cut_anywhere_an_image_is_read_or_refused(small: Path) -> None:
    data = small.read_bytes()
    whole = listing(small)
    for length in range(0, len(data), SECTOR):
        small.write_bytes(data[:length])
        result = outcome(small, DEFAULT_LIMITS)
        assert result in {"tree", *TYPED}
        assert result != "tree" or difference(whole, listing(small)) == []


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(entries=3), "is one more than 3 paths"),
        (Limits(folder_entries=2), "more than 2 names in it"),
        (Limits(depth=1), "nested too deep"),
        (Limits(name_bytes=3), "has more than 3 bytes"),
        (Limits(symlink_target_bytes=3), "more than 3"),
        (Limits(file_bytes=5), "that a file may have"),
        (Limits(path_bytes=8), "a path of more than 8 bytes"),
    ],
)
def test_limits_hold(limits: Limits, message: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    for name in ("one", "two", "three"):
        (tree / "folder" / name).write_text("content")
    (tree / "link").symlink_to("a long way")
    image = mkisofs(tree, tmp_path / "image", "-R")
    with pytest.raises(LimitError, match=message):
        listing(image, limits)


def zisofs(folder: Path) -> tuple[Path, int]:
    """Return an image with one compressed file, and where its header is."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / "text").write_bytes(varied(200_000))
    image = xorriso(
        tree,
        folder / "image",
        *("-zisofs", "level=6:block_size=32k"),
        after=("-set_filter_r", "--zisofs", "/", "--"),
    )
    return image, image.read_bytes().index(bytes.fromhex("37e45396c9dbd607"))


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, b"x", "is not what its directory record says"),
        (8, b"\1", "is not what its directory record says"),
        (12, b"\5", "is not what its directory record says"),
        (20, b"\xff\xff\xff\x7f", "ends before it begins, or outside"),
        (20, b"\0\0\0\0", "ends before it begins, or outside"),
        (60, b"\0\0\0\0", "cannot be read"),
    ],
)
def test_damaged_compressed_files_are_refused(
    offset: int, data: bytes, message: str, tmp_path: Path
) -> None:
    image, header = zisofs(tmp_path)
    with pytest.raises(CorruptError, match=f"'text': .*{message}"):
        listing(patched(image, (header + offset, data)))


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, b"xz\4\x0f" + struct.pack("<Q", 200_000), "the zisofs algorithm b'xz'"),
        (3, b"\x1f", r"in blocks of 2\^31 bytes"),
        (4, b"\xff\xff\xff\xff", "do not fit into"),
    ],
)
def test_records_that_lie_about_compressed_files_are_refused(
    offset: int, data: bytes, message: str, tmp_path: Path
) -> None:
    image, header = zisofs(tmp_path)
    place = image.read_bytes().index(b"ZF\x10\x01pz") + 4
    patches = [(place + offset, data)] + ([(header + 8, data)] if offset == 4 else [])
    with pytest.raises(ConvertError, match=message):
        listing(patched(image, *patches))


@pytest.mark.parametrize("options", [("-R",), ("-J",), ("-R", "-J"), ("-udf", "-J")])
def test_changed_bytes_give_a_tree_or_a_typed_error(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "/".join("abcdefghij")).mkdir(parents=True)
    for number in range(30):
        (tree / "a" / f"file number {number}").write_bytes(b"x" * number * 100)
    (tree / "link").symlink_to("a/file")
    image = genisoimage(tree, tmp_path / "image", *options, *(() if "-R" in options else ("-D",)))
    found = outcomes(image, range(60), 16 * SECTOR, 64 * SECTOR)
    assert set(found) <= {"tree", *TYPED}
    assert len(found) > 1


def test_changed_bytes_of_an_image_of_everything_give_a_tree_or_a_typed_error(
    backup: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(backup.read_bytes())
    found = outcomes(image, range(60), 16 * SECTOR, 200 * SECTOR)
    assert set(found) <= {"tree", *TYPED}
    assert len(found) > 1


def test_a_filesystem_on_an_iso_is_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "issue").write_bytes(varied(300_000))
    (tmp_path / "tree").mkdir()
    run("mksquashfs", tmp_path / "root", tmp_path / "tree" / "root.squashfs", "-quiet")
    image = mkisofs(tmp_path / "tree", tmp_path / "image", "-R")
    with opened(image) as (tree, _):
        (found,) = (item for item in tree.entries() if item.kind is Kind.FILE)
        assert isinstance(tree, OpenableTree)
        source = tree.open(found)
        stored = (tmp_path / "tree" / "root.squashfs").read_bytes()
        assert bytes(source.read_at(0, source.size)) == stored
        assert bytes(source.read_at(5, 100)) == stored[5:105]


def test_the_image_that_pycdlib_never_ends_with_takes_little_time_and_memory(
    tmp_path: Path,
) -> None:
    packed = CORPUS / "iso" / "libarchive__test_fuzz_1.iso.gz"
    if not packed.exists():
        pytest.skip("the corpus is not here")
    image = tmp_path / "image"
    image.write_bytes(run("gzip", "-dc", packed).stdout)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (20, 20));"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29));"
        "from pathlib import Path; from tests.support.mutations import read_all;"
        "print(read_all(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(image)],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[4],
    )
    assert done.stdout.strip() in {b"tree", b"corrupt"}, done.stderr.decode()


def test_a_folder_larger_than_its_image_is_refused(small: Path) -> None:
    data = small.read_bytes()
    root = int.from_bytes(data[16 * SECTOR + 158 : 16 * SECTOR + 162], "little") * SECTOR
    patched(small, (root + 10, both(1 << 31)))
    with pytest.raises(CorruptError):
        listing(small, replace(DEFAULT_LIMITS, folder_entries=1000))
