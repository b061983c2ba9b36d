"""Archives of others: each gives what GNU tar or bsdtar unpacks, or is refused for a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import ConvertError
from tests.formats.archives.support import NO_TREE, listing
from tests.support.listing import Row, kernel_listing
from tests.support.programs import CORPUS, corpus, need, need_root, run

_CONTENT = ("kind", "size", "digest", "target", "links")
_TAR_FIELDS = (*_CONTENT, "mode", "uid", "gid")
_ZIP_FIELDS = (*_CONTENT, "uid", "gid")  # bsdtar has 0664 for files of DOS, unzip 0644

REFUSED = {
    "borg__dotdot_path.tar": "leads out of the archive",
    "extractcode__relative_nested.zip": "leads out of the archive",
    "extractcode__relative_parent_folders.zip": "leads out of the archive",
    "extractcode__zip-slip.zip": "leads out of the archive",
    "extractcode__zip_broken.zip": "something that is no header",
    "extractcode__zip_password_nexb.zip": "is encrypted with a password",
    "go__dupdir.zip": "is there as a file and as a folder",
    "go__neg-size.tar": "has the number -3",
    "go__pax-bad-hdr-file.tar": "a pax header makes no sense",
    "go__pax-bad-hdr-large.tar.bz2": "more than the 1,048,576 allowed",
    "go__pax-nul-path.tar": "a member is named",
    "go__pax-sparse-big.tar": "has 60,000,000,000 bytes",
    "go__test-baddirsz.zip": "something that is no header",
    "jwilk__dirsymlink2b.tar": "leads through the symlink 'cur'",
    "jwilk__relative0.tar": "leads out of the archive",
    "libarchive__test_compat_solaris_pax_sparse_1.pax.Z": "compressed with compress (.Z)",
    "libarchive__test_read_format_tar_acl_oob_read.tar": "a pax header makes no sense",
    "libarchive__test_read_format_tar_invalid_pax_size.tar": "a pax header makes no sense",
    "libarchive__test_read_format_zip_malformed1.zip": "no end of its central directory",
    "libarchive__test_read_format_zip_ppmd8.zipx": "compressed with PPMd",
    "libarchive__test_read_format_zip_uncompressed_size_off_by_4gib.zip": "expands to more than",
    "libarchive__test_read_format_zip_winzip_aes256.zip": "is encrypted with AES",
    "libarchive__test_read_format_zip_zipx_lzma_oom.zipx": "no end of its central directory",
    "ratarmount__denormal-paths.tar": "leads out of the archive",
    "ratarmount__encrypted-nested-tar.zip": "is encrypted with a password",
    "ratarmount__truncated.tar": "is cut short",
    "ratarmount__two-self-links.tar": "is a hard link to 'bar', which no member before it has",
    "rubyzip__aes-keka.zip": "is encrypted with AES",
    "rubyzip__path_traversal__jwilk__dirsymlink.zip": "leads through the symlink 'tmp'",
    "rubyzip__path_traversal__jwilk__dirsymlink2b.zip": "leads through the symlink 'cur'",
    "rubyzip__path_traversal__jwilk__relative0.zip": "leads out of the archive",
    "rubyzip__path_traversal__jwilk__relative2.zip": "leads out of the archive",
    "rubyzip__path_traversal__out_evil.zip": "leads out of the archive",
    "rubyzip__zip-aes-128.zip": "is encrypted with AES",
    "rubyzip__zip-aes-256.zip": "is encrypted with AES",
    "rubyzip__zipWithStoredCompressionAndEncryption.zip": "is encrypted with a password",
    "rubyzip__zipWithTooBigCDirSizeField64.zip": "says that it has 2 members",
}
NO_ARCHIVE = {
    "extractcode__empty-tar-no-dir.tar.gz": "nothing but zeros",
    "go__issue10968.tar": "the checksum is wrong",
    "libarchive__test_read_format_tar_V_negative_size.tar": "the checksum is wrong",
}
DIFFERENT = {
    "cpython__testtar.tar": "chown(2) takes the user 0xffffffff for none",
    "go__sparse-formats.tar": "GNU tar gives up",
    "extractcode__unicode.zip": "bsdtar composes characters",
    "extractcode__zip-slip-win.zip": "bsdtar takes backslashes for slashes, of Unix too",
}
NOT_COMPARED = {
    # a symlink to an absolute path, replaced by a file: what GNU tar leaves depends on the clock
    "jwilk__symlink.tar",
    "ratarmount__sparse-file-larger-than-8GiB-followed-by-normal-file.tar.zst.zst",  # takes minutes
}


def _names(folder: str) -> list[str]:
    place = CORPUS / folder
    files = sorted(place.iterdir()) if place.is_dir() else [place / "of others"]
    return [path.name for path in files if path.name not in NOT_COMPARED]


def _differences(
    expected: Mapping[bytes, Row], found: Mapping[bytes, Row], fields: tuple[str, ...]
) -> Iterator[str]:
    for path in sorted(expected.keys() ^ found.keys()):
        yield f"{path!r} is only in one"
    for path in sorted((expected.keys() & found.keys()) - {b""}):
        for field in fields:
            theirs, ours = getattr(expected[path], field), getattr(found[path], field)
            if theirs != ours:
                yield f"{path!r}: {field} is {theirs!r} for them, {ours!r} for us"


def _outcome(path: Path) -> dict[bytes, Row] | str:
    try:
        return listing(path)
    except ConvertError as error:
        return NO_ARCHIVE.get(path.name, NO_TREE) if error.message == NO_TREE else error.message


@pytest.mark.parametrize("name", _names("tgz"))
def test_tar_archives_of_others_give_what_gnu_tar_unpacks(tmp_path: Path, name: str) -> None:
    need_root()
    need("tar", "zstd", "bzip2", "xz")
    path = corpus(f"tgz/{name}")
    found = _outcome(path)
    if isinstance(found, str):
        assert (REFUSED | NO_ARCHIVE)[name] in found
        return
    assert name not in REFUSED
    run("tar", "--numeric-owner", "-xpf", path, "-C", tmp_path, check=False)
    top = tmp_path / "rootfs" if name.startswith("lxd__") else tmp_path
    differences = list(_differences(kernel_listing(top), found, _TAR_FIELDS))
    assert bool(differences) == (name in DIFFERENT), differences


@pytest.mark.parametrize("name", _names("zip"))
def test_zip_archives_of_others_give_what_bsdtar_unpacks(tmp_path: Path, name: str) -> None:
    need_root()
    need("bsdtar")
    path = corpus(f"zip/{name}")
    found = _outcome(path)
    if isinstance(found, str):
        assert REFUSED[name] in found
        return
    assert name not in REFUSED
    run("bsdtar", "-xpf", path, "-C", tmp_path, check=False)
    rows = kernel_listing(tmp_path)
    expected = {path: row for path, row in rows.items() if not path.startswith(b"__MACOSX")}
    differences = list(_differences(expected, found, _ZIP_FIELDS))
    assert bool(differences) == (name in DIFFERENT), differences


def test_a_file_that_replaces_a_symlink_is_a_file() -> None:
    rows = listing(corpus("tgz/jwilk__symlink.tar"))
    assert (rows[b"moo"].kind, rows[b"moo"].size) == (Kind.FILE, 4)
