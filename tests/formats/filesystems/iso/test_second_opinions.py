"""The same images by other readers: bsdtar, pycdlib as a whole, isoinfo and xorriso."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
from pycdlib import PyCdlib
from pycdlib.dr import DirectoryRecord

from formats.core.entry import Kind
from formats.core.errors import ConvertError
from formats.core.limits import DEFAULT_LIMITS
from tests.images.iso import SECTOR, genisoimage, mkisofs
from tests.support.filesystems import listing, opened, outcome
from tests.support.programs import corpus, need, run

PLAIN = 0o555
CORPUS = (
    "debian__grub-rescue-cdrom",
    "derived__alpine-live-squashfs",
    "libarchive__test_read_format_iso",
    "libarchive__test_read_format_iso_joliet_long",
    "libarchive__test_read_format_iso_joliet_rockridge",
    "libarchive__test_read_format_iso_rockridge_ce",
    "libarchive__test_read_format_iso_xorriso",
    "libarchive__test_read_format_iso_zisofs",
    "libcdio__copying",
    "libcdio__copying-rr",
    "libcdio__joliet",
    "patool__t",
    "ratarmount__single-file",
)


_TYPES = {
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
}


def bsdtar_rows(image: Path) -> dict[bytes, tuple[object, ...]]:
    """Return kind, mode, owners, seconds, target and content of each path."""
    need("bsdtar")
    packed = run("bsdtar", "--format=pax", "-cf", "-", f"@{image}").stdout
    rows: dict[bytes, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(packed), errors="surrogateescape") as tar:
        for member in tar:
            name = member.name.encode("utf-8", "surrogateescape").removeprefix(b".")
            name = name.removeprefix(b"/")
            content = tar.extractfile(member) if member.isfile() or member.islnk() else None
            rows[name] = (
                _TYPES.get(member.type, Kind.FILE).value,
                member.mode & 0o7777,
                (member.uid, member.gid),
                int(member.mtime),
                member.linkname if member.issym() else None,
                content.read() if content is not None else None,
            )
    return rows


def our_rows(image: Path) -> dict[bytes, tuple[object, ...]]:
    rows: dict[bytes, tuple[object, ...]] = {}
    with opened(image) as (tree, _):
        for entry in tree.entries():
            kind = Kind.FILE if entry.kind is Kind.HARDLINK else entry.kind
            rows[entry.path] = (
                kind.value,
                entry.mode,
                (entry.uid, entry.gid),
                entry.mtime_ns // 10**9,
                entry.target.decode() if kind is Kind.SYMLINK and entry.target else None,
                b"".join(tree.read(entry)) if kind is Kind.FILE else None,
            )
    return rows


@pytest.mark.parametrize("name", CORPUS)
def test_an_image_of_others_is_what_bsdtar_reads(name: str) -> None:
    image = corpus(f"iso/{name}.iso")
    ours, theirs = our_rows(image), bsdtar_rows(image)
    with opened(image) as (tree, _):
        view = tree.info.facts["read as"]
    if view != "rock-ridge":  # bsdtar makes other modes up, and keeps the case of plain names
        theirs = {
            (path.lower() if view == "plain" else path): (row[0], PLAIN, *row[2:])
            for path, row in theirs.items()
        }
    assert ours == theirs


def pycdlib_rows(image: Path, view: str) -> dict[str, bytes | None]:
    """Return path and content of each file as pycdlib has it, None for all but files."""
    iso = PyCdlib()
    iso.open(str(image))
    rows: dict[str, bytes | None] = {}
    try:
        for folder, folders, files in iso.walk(**{view: "/"}):
            for name in folders:
                rows[f"{folder.rstrip('/')}/{name}"] = None
            for name in files:
                path = f"{folder.rstrip('/')}/{name}"
                record = iso.get_record(**{view: path})
                assert isinstance(record, DirectoryRecord)
                is_link = record.rock_ridge is not None and record.rock_ridge.is_symlink()
                content = io.BytesIO()
                if not is_link:
                    iso.get_file_from_iso_fp(content, **{view: path})
                rows[path] = None if is_link else content.getvalue()
    finally:
        iso.close()
    return rows


def files_of(image: Path) -> dict[str, bytes | None]:
    return {
        "/" + path.decode(): content if isinstance(content, bytes) else None
        for path, (*_, content) in our_rows(image).items()
        if path
    }


@pytest.mark.parametrize("writer", [mkisofs, genisoimage], ids=["xorriso", "genisoimage"])
def test_pycdlib_reads_the_same_with_rock_ridge(writer: object, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub" / "folder").mkdir(parents=True)
    (tree / "sub" / "link").symlink_to("folder/../file")
    for number in range(60):
        (tree / "sub" / "folder" / f"file number {number}").write_bytes(b"%d" % number * number)
    make = mkisofs if writer is mkisofs else genisoimage
    image = make(tree, tmp_path / "image", "-R")
    assert len(files_of(image)) == 63
    assert files_of(image) == pycdlib_rows(image, "rr_path")


def test_pycdlib_reads_the_same_with_joliet(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "Folder").mkdir(parents=True)
    for number in range(60):
        (tree / "Folder" / f"имя {number}").write_bytes(b"%d" % number * number)
    image = genisoimage(tree, tmp_path / "image", "-J", "-input-charset", "utf-8")
    assert files_of(image) == pycdlib_rows(image, "joliet_path")


def boot_image(folder: Path) -> Path:
    tree = folder / "boot"
    tree.mkdir()
    for name in ("bios.img", "efi.img"):
        (tree / name).write_bytes(name.encode() * 2000)
    return tree


def test_boot_entries_and_tables_are_those_that_xorriso_reports(tmp_path: Path) -> None:
    tree = boot_image(tmp_path)
    image = mkisofs(
        tree,
        tmp_path / "image",
        *("-R", "-b", "bios.img", "-no-emul-boot", "-boot-load-size", "4"),
        *("-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat"),
        *("-append_partition", "2", "0xef", tree / "efi.img", "-appended_part_as_gpt"),
    )
    report = run("xorriso", "-indev", image, "-report_el_torito", "plain").stdout.decode()
    rows = re.findall(r"boot img : +\d+ +(\w+) +(\w) +\w+ +0x\w+ +0x\w+ +(\d+) +(\d+)", report)
    assert len(rows) == 2
    with opened(image) as (opened_tree, findings):
        facts = opened_tree.info.facts
        (told,) = (item.evidence for item in findings if item.rule == "iso-boot")
    entries = facts["boot"].split("; ")
    for entry, (platform, bootable, loaded, sector) in zip(entries, rows, strict=True):
        assert entry.startswith(f"{platform} at sector {int(sector):,} (no emulation")
        assert f" {int(loaded):,} x 512 bytes" in entry
        assert ("not bootable" in entry) is (bootable == "n")
    assert "EFI" in facts["hybrid gpt"]
    assert all(text in told for text in facts["boot"].split("; "))


def test_a_damaged_boot_catalog_is_told_and_the_files_are_read(tmp_path: Path) -> None:
    tree = boot_image(tmp_path)
    image = mkisofs(tree, tmp_path / "image", "-R", "-b", "bios.img", "-no-emul-boot")
    data = bytearray(image.read_bytes())
    catalog = int.from_bytes(data[17 * SECTOR + 71 : 17 * SECTOR + 75], "little") * SECTOR
    for patch in (b"\7", b"\1\0\0\0" + bytes(28) + b"\x88", b"\1" + bytes(63) + b"\x44"):
        data[catalog : catalog + len(patch)] = patch
        image.write_bytes(data)
        with opened(image) as (opened_tree, findings):
            assert b"bios.img" in {entry.path for entry in opened_tree.entries()}
            assert "iso-boot-catalog" in {finding.rule for finding in findings}
            assert "boot" not in opened_tree.info.facts


def test_the_last_session_is_read(tmp_path: Path) -> None:
    need("xorriso", "genisoimage")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, name in ((first, "old"), (second, "new")):
        folder.mkdir()
        (folder / name).write_text(name)
    image = genisoimage(first, tmp_path / "image", "-R")
    start = (image.stat().st_size // SECTOR + 31) // 16 * 16
    addition = genisoimage(second, tmp_path / "more", "-R", "-C", f"0,{start}", "-M", image)
    data = image.read_bytes().ljust(start * SECTOR, b"\0") + addition.read_bytes()
    image.write_bytes(data)
    rows = listing(image)
    assert set(rows) == {b"", b"old", b"new"}
    with opened(image) as (_, findings):
        (told,) = (item.evidence for item in findings if item.rule == "iso-sessions")
    assert told == f"has 2 sessions, from sectors 0, {start:,}; the last one is read"


def test_sessions_of_others_are_found(tmp_path: Path) -> None:
    name = "util-linux__iso-multi-0-174-348-genisoimage.img.xz"
    image = tmp_path / "image"
    image.write_bytes(run("xz", "-dc", corpus(f"iso/{name}")).stdout)
    with opened(image) as (tree, findings):
        assert tree.info.label == "third session"
        assert "sectors 0, 174, 348" in findings[0].evidence


HOSTILE = {
    "libarchive__test_read_format_iso_joliet_utf16be_overflow.iso": "tree",
    "libarchive__test_read_format_iso_rockridge_zf_overflow.iso": "corrupt",
    "libcdio__bad-dir.iso": "corrupt",
    "libcdio__malformed2.iso": "corrupt",
    "util-linux__sample.iso": "corrupt",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_images_of_others_come_to_what_is_known(name: str) -> None:
    assert outcome(corpus(f"iso/{name}"), DEFAULT_LIMITS) == HOSTILE[name]


def test_an_image_that_pycdlib_never_ends_with_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(run("gzip", "-dc", corpus("iso/libarchive__test_fuzz_1.iso.gz")).stdout)
    with opened(image) as (tree, _):
        assert len(list(tree.entries())) > 150


def test_volume_descriptors_alone_are_no_image() -> None:
    image = corpus("iso/go-diskfs__volrecords.iso")
    with pytest.raises(ConvertError):
        listing(image)
