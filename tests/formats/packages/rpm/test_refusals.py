"""Tests of packages that are damaged, lie, or are of kinds that are not read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.limits import DEFAULT_LIMITS, MIB
from tests.formats.packages.rpm.support import unpacked
from tests.formats.packages.support import opened_package
from tests.images.rpm import (
    BINARY,
    INT16,
    INT32,
    INT64,
    STRING_ARRAY,
    File,
    HandMade,
    Tag,
    header,
    lead,
    new_header,
    numbers,
    payload,
    string,
    strings,
)
from tests.support.listing import difference, tree_listing

_LINKS = (
    File("/opt/a", b"shared", inode=7),
    File("/opt/b", b"shared", inode=7),
    File("/opt/c", b"own"),
    File("/opt/dir", mode=0o40755),
    File("/opt/dir/link", target="../a", mode=0o120777),
)
_ONE = (File("/opt/file", b"content"),)


def _read(path: Path, content: bytes) -> dict[bytes, bytes]:
    """Return all content of a package."""
    path.write_bytes(content)
    with opened_package(path) as (tree, _):
        return {
            entry.path: b"".join(tree.read(entry))
            for entry in tree.entries()
            if entry.kind in {Kind.FILE, Kind.HARDLINK}
        }


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
def test_both_kinds_of_headers_give_the_same_tree(
    tmp_path: Path, *, stripped: bool, is_packed: bool
) -> None:
    path = tmp_path / "package.rpm"
    path.write_bytes(HandMade(_LINKS, stripped=stripped, is_packed=is_packed).build())
    expected = unpacked(path, tmp_path / "unpacked")
    with opened_package(path) as (tree, _):
        ours = {name: row for name, row in tree_listing(tree).items() if name not in {b"", b"opt"}}
    theirs = {name: row for name, row in expected.items() if name not in {b"", b"opt"}}
    assert difference(theirs, ours) == []
    assert ours[b"opt/a"].links == (b"opt/a", b"opt/b")


def test_a_file_of_more_than_4_gib_is_only_read_when_it_is_wanted(tmp_path: Path) -> None:
    files = [File("/opt/huge", size=5 << 30, digest=""), File("/opt/small", b"small")]
    path = tmp_path / "package.rpm"
    path.write_bytes(HandMade(files, stripped=True).build())
    with opened_package(path) as (tree, _):
        sizes = {entry.path: entry.size for entry in tree.entries()}
        assert sizes[b"opt/huge"] == 5 << 30
        huge = next(entry for entry in tree.entries() if entry.path == b"opt/huge")
        with pytest.raises(CorruptError, match="ends inside of"):
            list(tree.read(huge))


def _without(package: HandMade, tag: int) -> HandMade:
    return replace(package, replaced={tag: None})


def _with(*tags: Tag) -> HandMade:
    return HandMade(_ONE, replaced={tag.number: tag for tag in tags})


_UNSIGNED: tuple[Tag, ...] = ()

_BROKEN_HEADERS: dict[str, tuple[HandMade, str]] = {
    "no name": (_without(HandMade(_ONE), 1000), "no name"),
    "no version": (_without(HandMade(_ONE), 1001), "no version"),
    "name of another type": (_with(numbers(1000, INT32, 1)), "no strings"),
    "modes of another type": (_with(strings(1030, "x")), "no numbers"),
    "a time of 64 bits": (_with(numbers(1006, INT64, 1 << 63)), "no numbers of 32 bits"),
    "modes of 64 bits": (_with(numbers(1030, INT64, 1 << 40)), "no numbers of 32 bits"),
    "too few modes": (_with(numbers(1030, INT16)), "values of tag 1030"),
    "too many sizes": (_with(numbers(1028, INT32, 1, 2)), "values of tag 1028"),
    "a folder that is not there": (_with(numbers(1116, INT32, 7)), "among 1"),
    "a folder of 2^32 - 1": (_with(numbers(1116, INT32, (1 << 32) - 1)), "among 1"),
    "no folders": (_without(HandMade(_ONE), 1116), "0 folders"),
    "a mode of no kind of file": (_with(numbers(1030, INT16, 0o644)), "mode 644"),
    "a value behind the end": (
        _with(Tag(1030, INT16, b"", offset=1 << 20, count=1)),
        "its value at 1048576",
    ),
    "a value at -1": (_with(Tag(1030, INT16, b"", offset=-1, count=1)), "its value at -1"),
    "a value of 2^31 numbers": (_with(Tag(1030, INT16, b"", count=1 << 31)), "has its end outside"),
    "a value of 2^32 - 1 strings": (
        _with(Tag(1117, STRING_ARRAY, b"x\0", count=(1 << 32) - 1)),
        "2,000,000",
    ),
    "more strings than bytes": (
        _with(Tag(1036, STRING_ARRAY, b"x\0", count=500_000)),
        "has its end outside",
    ),
    "bytes to behind the end": (
        _with(Tag(1036, BINARY, b"x", count=(1 << 32) - 1)),
        "no strings",
    ),
    "flags that do not fit": (
        _with(strings(1049, "a", "b"), numbers(1048, INT32, 0), strings(1050, "", "")),
        "2 relations",
    ),
    "a boolean dependency without end": (
        _with(strings(1049, "(a or"), numbers(1048, INT32, 0), strings(1050, "")),
        "makes no sense",
    ),
    "triggers that do not fit": (
        _with(
            strings(1066, "a", "b"),
            numbers(1068, INT32, 1 << 16, 1 << 16),
            strings(1067, "", ""),
            numbers(1069, INT32, 0),
            strings(1065, "true"),
        ),
        "refer to scripts",
    ),
    "the same file twice": (HandMade((*_ONE, *_ONE)), "lists a file twice"),
    "a path that leads out": (HandMade((File("/opt/../../x", b"x"),)), "leads out"),
    "a path through a symlink": (
        HandMade((File("/opt/s", target="/etc", mode=0o120777), File("/opt/s/x", b"x"))),
        "leads through the symlink",
    ),
    "a symlink to nothing": (HandMade((File("/opt/s", mode=0o120777),)), "is a symlink to"),
}


@pytest.mark.parametrize("case", _BROKEN_HEADERS)
def test_a_header_that_makes_no_sense_is_refused(case: str, tmp_path: Path) -> None:
    package, problem = _BROKEN_HEADERS[case]
    with pytest.raises((CorruptError, LimitError), match=problem):
        _read(tmp_path / "package.rpm", package.build())


_CONTENT = payload(_ONE)

_BROKEN_ARCHIVES: dict[str, tuple[bytes, str]] = {
    "another magic": (b"070707" + _CONTENT[6:], "no magic of cpio"),
    "a number that is none": (_CONTENT[:54] + b"zzzzzzzz" + _CONTENT[62:], "for a number"),
    "a negative number": (_CONTENT[:54] + b"-0000001" + _CONTENT[62:], "for a number"),
    "a number with spaces": (_CONTENT[:54] + b"       7" + _CONTENT[62:], "for a number"),
    "more content than the header says": (
        new_header("./opt/file", b"content, and more") + b"content, and more",
        "17 bytes, and 7 in the header",
    ),
    "4 GiB of content": (
        new_header("./opt/file", b"", size=(1 << 32) - 1),
        "4,294,967,295 bytes, and 7",
    ),
    "another file": (new_header("./opt/other", b"x") + b"x\0\0\0" + _CONTENT, "not in the header"),
    "the file twice": (_CONTENT[:-124] + _CONTENT, "there twice"),
    "no such file": (payload(()), "does not have it"),
    "no end": (_CONTENT[:100], "ends inside of a member's header"),
    "nothing": (b"", "ends inside of a member's header"),
    "content that is cut short": (_CONTENT[: 110 + 14 + 3], "ends inside of"),
    "a name without end": (new_header("./opt/file", b"").replace(b"file\0", b"filex"), "name"),
    "a name with a NUL": (new_header("./opt\0file", b""), "does not end where it must"),
    "a name of 2^32 - 1 bytes": (_CONTENT[:94] + b"ffffffff" + _CONTENT[102:], "name of"),
    "a name of no bytes": (_CONTENT[:94] + b"00000000" + _CONTENT[102:], "name of 0 bytes"),
    "the number of no file": (b"07070X00000001\0\0content", "lists 1"),
    "the number of a file that is none": (b"07070Xffffffff\0\0content", "lists 1"),
    "a stripped number that is none": (b"07070X0000000z\0\0content", "for a number"),
    "stripped content that is cut short": (b"07070X00000000\0\0con", "ends inside of"),
}


@pytest.mark.parametrize("case", _BROKEN_ARCHIVES)
@pytest.mark.parametrize("is_packed", [False, True])
def test_an_archive_that_makes_no_sense_is_refused(
    case: str, tmp_path: Path, *, is_packed: bool
) -> None:
    archive, problem = _BROKEN_ARCHIVES[case]
    if not is_packed and not archive:
        problem = "has no payload"
    package = HandMade(_ONE, archive=archive, is_packed=is_packed)
    with pytest.raises(CorruptError, match=problem):
        _read(tmp_path / "package.rpm", package.build())


def test_a_symlink_that_leads_elsewhere_in_the_payload_is_refused(tmp_path: Path) -> None:
    link = File("/opt/a", target="right", mode=0o120777)
    archive = payload([replace(link, target="wrong"), *_ONE])
    with pytest.raises(CorruptError, match="leads elsewhere"):
        _read(tmp_path / "package.rpm", HandMade((link, *_ONE), archive=archive).build())


def test_content_of_a_folder_is_refused(tmp_path: Path) -> None:
    folder = File("/opt/a", mode=0o40755)
    archive = new_header("./opt/a", b"x") + b"x\0\0\0" + _CONTENT
    with pytest.raises(CorruptError, match="has content and is no file"):
        _read(tmp_path / "package.rpm", HandMade((folder, *_ONE), archive=archive).build())


_DIGESTS: dict[str, tuple[HandMade, str]] = {
    "file": (HandMade((replace(_ONE[0], digest="00" * 32),)), "'opt/file' has the sha256 digest"),
    "payload": (_with(strings(5092, "00" * 32)), "the payload has the sha256 digest"),
    "payload, sha512": (
        HandMade(_ONE, replaced={5092: None, 5121: string(5121, "00" * 64)}),
        "the payload has the sha512 digest",
    ),
    "payload, sha3": (
        HandMade(_ONE, replaced={5092: None, 5123: string(5123, "00" * 32)}),
        "the payload has the sha3_256 digest",
    ),
    "header, sha1": (
        HandMade(_ONE, signature=(string(269, "00" * 20),)),
        "the header has the sha1 digest",
    ),
    "header, sha256": (
        HandMade(_ONE, signature=(string(273, "00" * 32),)),
        "the header has the sha256 digest",
    ),
    "header, sha3": (
        HandMade(_ONE, signature=(string(279, "00" * 32),)),
        "the header has the sha3_256 digest",
    ),
    "both, md5": (
        HandMade(_ONE, replaced={5092: None}, signature=(Tag(1004, BINARY, bytes(16)),)),
        "the header and payload has the md5 digest",
    ),
}


@pytest.mark.parametrize("case", _DIGESTS)
def test_what_has_another_digest_is_refused(case: str, tmp_path: Path) -> None:
    package, problem = _DIGESTS[case]
    with pytest.raises(CorruptError, match=problem):
        _read(tmp_path / "package.rpm", package.build())


def test_md5_alone_is_enough_where_it_is_right(tmp_path: Path) -> None:
    content = HandMade(_ONE, replaced={5092: None}).build()
    assert _read(tmp_path / "package.rpm", content) == {b"opt/file": b"content"}


def test_a_package_is_listed_without_reading_its_payload(tmp_path: Path) -> None:
    path = tmp_path / "package.rpm"
    path.write_bytes(_with(strings(5092, "00" * 32)).build())
    with opened_package(path) as (tree, _):
        assert b"opt/file" in {entry.path for entry in tree.entries()}


_OTHERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a package of rpm 2": (lambda data: lead(major=2) + data[96:], "format 2"),
    "a lead of other signatures": (lambda data: lead(signature_type=1) + data[96:], "of type 1"),
    "a delta package": (lambda _: b"drpm" + bytes(200), "delta package"),
}


@pytest.mark.parametrize("case", _OTHERS)
def test_other_kinds_are_named(case: str, tmp_path: Path) -> None:
    change, problem = _OTHERS[case]
    with pytest.raises(UnsupportedError, match=problem) as raised:
        _read(tmp_path / "package.rpm", change(HandMade(_ONE).build()))
    assert raised.value.hint


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ((string(1124, "drpm"),), "delta package"),
        ((string(1124, "ustar"),), "payload of format 'ustar'"),
    ],
)
def test_other_payloads_are_named(tags: tuple[Tag, ...], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=problem):
        _read(tmp_path / "package.rpm", _with(*tags).build())


def test_another_compression_is_named(tmp_path: Path) -> None:
    package = HandMade(
        _ONE, archive=b"LRZI" + bytes(99), is_packed=False, replaced={1125: string(1125, "lrzip")}
    )
    with pytest.raises(UnsupportedError, match="compressed with 'lrzip'"):
        _read(tmp_path / "package.rpm", package.build())


def test_capabilities_without_sense_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "package.rpm"
    path.write_bytes(HandMade((replace(_ONE[0], capabilities="cap_odd=ep"),)).build())
    with opened_package(path) as (tree, findings):
        assert all(not entry.xattrs for entry in tree.entries())
    assert [item.path for item in findings if item.rule == "file-capabilities"] == [b"opt/file"]


def test_digests_of_an_unknown_kind_are_told_and_not_verified(tmp_path: Path) -> None:
    path = tmp_path / "package.rpm"
    path.write_bytes(_with(numbers(5011, INT32, 99)).build())
    with opened_package(path) as (tree, findings):
        assert tree.package.digests == {}
    (finding,) = [item for item in findings if item.rule == "digest-not-read"]
    assert "unknown kind 99" in finding.evidence


@pytest.mark.parametrize(
    ("entries", "size"), [(65_536, 0), (0, (256 * MIB) + 1), ((1 << 32) - 1, (1 << 32) - 1)]
)
def test_headers_larger_than_rpm_takes_are_refused(entries: int, size: int, tmp_path: Path) -> None:
    start = lead() + header([])[:8] + entries.to_bytes(4, "big") + size.to_bytes(4, "big")
    with pytest.raises(LimitError):
        _read(tmp_path / "package.rpm", start + bytes(100))


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    size = 64 * MIB
    bomb = File("/opt/bomb", size=size, digest="")
    archive = new_header("./opt/bomb", b"", size=size) + bytes(size)
    path = tmp_path / "package.rpm"
    path.write_bytes(HandMade((bomb,), archive=archive).build())
    limits = replace(DEFAULT_LIMITS, expansion_grace_bytes=MIB, expansion_ratio=100)
    given: list[int] = []
    with opened_package(path, limits) as (tree, _):
        (entry,) = [entry for entry in tree.entries() if entry.kind is Kind.FILE]
        with pytest.raises(LimitError, match="more than 100 times"):
            given.extend(map(len, tree.read(entry)))
    assert sum(given) < size // 2


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_package_that_is_cut_short_is_an_error(share: float, tmp_path: Path) -> None:
    content = HandMade(_LINKS).build()
    with pytest.raises(ConvertError):
        _read(tmp_path / "package.rpm", content[: max(8, int(len(content) * share))])


@pytest.mark.parametrize("seed", range(8))
def test_any_change_is_an_error_or_changes_nothing(seed: int, tmp_path: Path) -> None:
    """Digests are left out, so that what is behind them has to stand up for itself."""
    source = random.Random(seed)
    package = HandMade(
        _LINKS, replaced={5092: None}, signature=_UNSIGNED, stripped=seed % 2 == 1, is_packed=False
    )
    content = package.build()
    expected = set(_read(tmp_path / "package.rpm", content))
    for _ in range(120):
        changed = bytearray(content)
        for _ in range(source.randint(1, 3)):
            place = source.randrange(96, len(changed))
            changed[place] = source.choice((0, 0xFF, 0x7F, 0x80, changed[place] ^ 1))
        try:
            found = _read(tmp_path / "package.rpm", bytes(changed))
        except ConvertError:
            continue
        assert len(found) <= len(expected)
