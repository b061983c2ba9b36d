"""Debian packages that are damaged, hostile, or of a kind that is not read."""

from __future__ import annotations

import random
import struct
import tarfile
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, MIB, Limits
from formats.packages.deb import control_archive
from tests.formats.archives.support import listing, problem
from tests.formats.packages.support import opened_package
from tests.images import debs
from tests.images.volumes import reader_name
from tests.support.programs import corpus, need, run

DATA = (b"data.tar", debs.tar({}))


def refused(path: Path, kind: type[ConvertError], text: str, limits: Limits | None = None) -> None:
    error = problem(path, limits or DEFAULT_LIMITS)
    assert type(error) is kind, error
    assert text in str(error)


def written(path: Path, *members: tuple[bytes, bytes]) -> Path:
    path.write_bytes(debs.ar(*members))
    return path


@pytest.mark.parametrize(
    ("name", "kind", "target", "text"),
    [
        ("../../escape", tarfile.DIRTYPE, "", "leads out of the archive"),
        ("./usr/../../escape", tarfile.DIRTYPE, "", "leads out of the archive"),
        ("./link", tarfile.LNKTYPE, "../../etc/passwd", "leads out of the archive"),
        ("./link", tarfile.LNKTYPE, "/etc/passwd", "hard link to 'etc/passwd', which no member"),
        ("./usr", tarfile.SYMTYPE, "/etc", "as a folder and as a symlink"),
    ],
)
def test_payload_that_leads_outside_is_refused(
    tmp_path: Path, name: str, kind: bytes, target: str, text: str
) -> None:
    odd = debs.odd(name, kind, target)
    package = debs.deb(tmp_path / "x.deb", files={"usr/file": b"x"}, odd=[odd])
    refused(package, CorruptError, text)


def test_a_path_through_a_symlink_is_refused(tmp_path: Path) -> None:
    odd = [debs.odd("./way", tarfile.SYMTYPE, "/etc"), debs.odd("./way/cron.d", tarfile.DIRTYPE)]
    refused(debs.deb(tmp_path / "x.deb", odd=odd), CorruptError, "through the symlink 'way'")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([(b"debian-binary", b"2.0\n")], "has no 'control.tar'"),
        ([(b"debian-binary", b"2.0\n"), (b"data.tar", b"")], "where 'control.tar' should be"),
        ([(b"debian-binary", b"two\n")], "says 'two\\x0a' where the version"),
        ([(b"debian-binary", b"")], "says '' where the version"),
    ],
)
def test_members_must_be_there_in_their_order(
    tmp_path: Path, members: list[tuple[bytes, bytes]], text: str
) -> None:
    package = written(tmp_path / "x.deb", *members)
    refused(package, CorruptError, text)
    assert run("dpkg-deb", "-I", package, check=False).returncode != 0


def test_a_member_that_must_not_be_ignored_is_refused(tmp_path: Path) -> None:
    package = debs.deb(tmp_path / "x.deb", before=[(b"new-thing", b"")])
    refused(package, CorruptError, "has 'new-thing' where 'data.tar' should be")
    assert run("dpkg-deb", "-c", package, check=False).returncode != 0


def test_a_package_without_payload_is_refused(tmp_path: Path) -> None:
    control = debs.tar({"control": debs.CONTROL})
    package = written(tmp_path / "x.deb", debs.FORMAT, (b"control.tar", control))
    refused(package, CorruptError, "has no 'data.tar'")


def test_a_later_version_of_the_format_is_named(tmp_path: Path) -> None:
    package = written(tmp_path / "x.deb", (b"debian-binary", b"3.0\n"))
    refused(package, UnsupportedError, "version 3.0 of the format")


def test_a_later_minor_version_and_more_lines_are_taken(tmp_path: Path) -> None:
    package = debs.deb(tmp_path / "x.deb")
    package.write_bytes(
        package.read_bytes().replace(b"4         `\n2.0\n", b"9         `\n2.7\nmore\n\n")
    )
    with opened_package(package) as (tree, _):
        assert tree.info.facts["format-version"] == "2.7"


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    package = written(tmp_path / "x.deb", debs.FORMAT, (b"control.tar.br", b""))
    refused(package, UnsupportedError, "'control.tar.br', which is compressed in a way")


def test_the_format_of_before_1995_is_named(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    package = debs.built(tmp_path / "top", tmp_path / "x.deb", "--deb-format=0.939000")
    assert reader_name(package) == "deb"
    refused(package, UnsupportedError, "in the format of before 1995")


def test_a_part_of_a_split_package_is_named(tmp_path: Path) -> None:
    need("dpkg-split")
    package = debs.deb(tmp_path / "x.deb", files={"usr/x": random.Random(1).randbytes(40_000)})
    run("dpkg-split", "--partsize", "20", "--split", package, tmp_path / "part")
    part = min(tmp_path.glob("part.*"))
    assert reader_name(part) == "deb"
    refused(part, UnsupportedError, "is one part of a Debian package that was split")


@pytest.mark.parametrize(
    ("control", "text"),
    [
        (b"Version: 1\nArchitecture: all\n", "does not say what its package is"),
        (b"Package: x\nArchitecture: all\n", "does not say what its version is"),
        (b"Package: x\nVersion: 1\n", "does not say what its architecture is"),
        (b"Package: ../../etc/cron.d/x\nVersion: 1\nArchitecture: all\n", "which none can be"),
        (b"Package: x\nVersion: 1/../2\nArchitecture: all\n", "which none can be"),
        (b"Package: x\nVersion: 1\nArchitecture: a/b\n", "which none can be"),
        (b"Package: x\nVersion: 1\nArchitecture: all\nDepends: a b\n", "the relation 'a b'"),
        (b"Package: x\nPackage: y\nVersion: 1\nArchitecture: all\n", "the field 'package' twice"),
        (b"Package: x\nVersion: 1\nArchitecture: all\n\nPackage: y\n", "describes 2 packages"),
        (b"no field\n", "has the line 'no field', which is no field"),
        (b" continues\n", "has the line ' continues', which is no field"),
        (b"", "describes 0 packages"),
        (None, "has no file named 'control'"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    tmp_path: Path, control: bytes | None, text: str
) -> None:
    error = problem(debs.deb(tmp_path / "x.deb", control=control))
    assert isinstance(error, CorruptError)
    assert text in str(error)
    assert "x.deb › control.tar.gz" in str(error)


def test_a_control_file_that_leads_outside_is_refused(tmp_path: Path) -> None:
    package = debs.deb(tmp_path / "x.deb", control_files={"../escape": b""})
    refused(package, CorruptError, "leads out of its archive")


def test_a_control_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    link = debs.tar({}, debs.odd("./control", tarfile.SYMTYPE, "/etc/passwd"))
    package = written(tmp_path / "x.deb", debs.FORMAT, (b"control.tar", link), DATA)
    refused(package, CorruptError, "'control' is not a plain file")


def test_two_control_files_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = debs.tar({"control": debs.CONTROL, ".//control": debs.CONTROL})
    package = written(tmp_path / "x.deb", debs.FORMAT, (b"control.tar", twice), DATA)
    refused(package, CorruptError, "two control files named 'control'")


def test_a_configuration_file_outside_is_refused(tmp_path: Path) -> None:
    package = debs.deb(tmp_path / "x.deb", control_files={"conffiles": b"/etc/../../x\n"})
    refused(package, CorruptError, "'/etc/../../x' as a configuration file")


@pytest.mark.parametrize("name", ["quine_a", "quine_b"])
def test_a_package_that_holds_itself_is_refused(name: str) -> None:
    error = problem(corpus(f"deb/diffoscope__{name}.deb"))
    assert isinstance(error, CorruptError)


def test_a_package_that_is_cut_short_is_refused() -> None:
    name = "deb/aptly__libboost-broken-program-options-dev_1.49.0.1_i386.deb"
    refused(corpus(name), CorruptError, "an ar member has 1,872 bytes, and 1,143 are left")


def test_control_data_that_expands_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_archive, "_ARCHIVE_BYTES", 4 * MIB)
    package = debs.deb(tmp_path / "x.deb", control_files={"templates": bytes(8 * MIB)})
    refused(package, LimitError, "more than 4,194,304 bytes of control data")


def test_control_data_without_end_is_refused_if_it_is_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_archive, "_ARCHIVE_BYTES", 4 * MIB)
    package = written(tmp_path / "x.deb", debs.FORMAT, (b"control.tar", bytes(5 * MIB)), DATA)
    refused(package, LimitError, "more than 4,194,304 bytes of control data")


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst", ".bz2", ".lzma"])
def test_a_payload_that_expands_without_end_is_refused(tmp_path: Path, ending: str) -> None:
    package = debs.deb(tmp_path / "x.deb", files={"usr/zeros": bytes(24 * MIB)}, ending=ending)
    limits = Limits(expansion_grace_bytes=MIB, expansion_ratio=10)
    refused(package, LimitError, "expands to more than 10 times its size", limits)


def test_a_dictionary_of_four_gigabytes_is_refused(tmp_path: Path) -> None:
    bomb = struct.pack("<BIQ", 0x5D, 0xFFFFFFFF, 1 << 40) + bytes(64)
    package = debs.deb(tmp_path / "x.deb", ending="")
    data = package.read_bytes()
    start = data.index(b"data.tar")
    package.write_bytes(data[:start] + debs.ar((b"data.tar.lzma", bomb))[8:])
    refused(package, LimitError, "asks for more memory than a decompressor may take")


@pytest.mark.parametrize(
    "size", [b"0", b"-1", b"2147483648", b"4294967295", b"9999999999", b"", b"1e3", b"12 4"]
)
def test_a_size_that_is_wrong_is_refused(tmp_path: Path, size: bytes) -> None:
    package = debs.deb(tmp_path / "x.deb", files={"usr/x": b"x"})
    data = bytearray(package.read_bytes())
    place = data.index(b"data.tar.gz") + 48
    data[place : place + 10] = size.ljust(10)
    package.write_bytes(data)
    assert isinstance(problem(package), CorruptError)


@pytest.mark.parametrize("ending", debs.COMPRESSIONS)
def test_a_package_that_is_truncated_anywhere_is_refused(tmp_path: Path, ending: str) -> None:
    content = random.Random(5).randbytes(20_000)
    package = debs.deb(tmp_path / "x.deb", files={"usr/x": content}, ending=ending)
    data = package.read_bytes()
    for length in range(10, len(data) - 1, 997):
        package.write_bytes(data[:length])
        if reader_name(package) == "deb":
            assert isinstance(problem(package), CorruptError), length


@pytest.mark.parametrize("ending", debs.COMPRESSIONS)
def test_any_damage_gives_a_tree_or_an_error(tmp_path: Path, ending: str) -> None:
    package = debs.deb(
        tmp_path / "x.deb",
        control_files={"md5sums": b"0" * 32 + b"  usr/y\n", "conffiles": b"/etc/x\n"},
        files={"usr/x": b"text " * 200, "usr/y": b""},
        odd=[debs.odd("./usr/z", tarfile.LNKTYPE, "./usr/x")],
        ending=ending,
    )
    data = package.read_bytes()
    chance = random.Random(ending)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(8, len(data))] = chance.randrange(256)
        package.write_bytes(damaged)
        try:
            listing(package)
        except ConvertError:
            continue
