from __future__ import annotations

import contextlib

import pytest

from formats.core.errors import (
    ConvertError,
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
)
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.disks.vmdk.descriptor import (
    Descriptor,
    ExtentKind,
    looks_like_descriptor,
    parse_descriptor,
)
from tests.images.vmdk import descriptor

ORIGIN = Origin(("disk.vmdk",))


def parsed(text: str | bytes, limits: Limits = DEFAULT_LIMITS) -> Descriptor:
    data = text.encode() if isinstance(text, str) else text
    return parse_descriptor(data, origin=ORIGIN, base=0, limits=limits)


def test_keywords_may_be_in_any_case_with_any_space() -> None:
    text = (
        b"\xef\xbb\xbf\r\n  # Disk DescriptorFile\r\n\tVERSION = 1\r\ncid=ABCDEF01 \r\n"
        b' ParentCID  =  "FFFFFFFF"\r\nCREATETYPE="Custom"\r\n'
        b'  rw\t16   flat  "a b-f001.vmdk"   4 \r\nRDONLY 8 zero\r\n'
        b'DDB.AdapterType="ide"\r\n\0\0\xff'
    )
    found = parsed(text)
    assert found.cid == 0xABCDEF01
    assert found.parent_cid is None
    assert found.sectors == 24
    assert [(e.kind, e.name, e.offset_sectors) for e in found.extents] == [
        (ExtentKind.FLAT, "a b-f001.vmdk", 4),
        (ExtentKind.ZERO, "", 0),
    ]
    assert found.facts()["adapter"] == "ide"


@pytest.mark.parametrize(
    ("stated", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "cp932"),
        ("GBK", "gbk"),
        ("ISO-8859-15", "iso8859-15"),
    ],
)
def test_names_are_read_in_the_encoding_that_is_stated(stated: str, codec: str) -> None:
    names = {"cp932": "日本語ソ表.vmdk", "gbk": "磁盘.vmdk"}
    name = names.get(codec, "Größe.vmdk")
    text = f'# Disk DescriptorFile\nencoding="{stated}"\nRW 8 FLAT "{name}" 0\n'
    assert parsed(text.encode(codec)).extents[0].name == name


def test_an_encoding_that_is_no_character_set_is_refused() -> None:
    for name in ("zlib_codec", "punycode", "idna", "utf-16"):
        with pytest.raises(UnsupportedError, match="encoding"):
            parsed(f'# Disk DescriptorFile\nencoding="{name}"\n')


@pytest.mark.parametrize(
    ("head", "is_descriptor"),
    [
        (b"# Disk DescriptorFile\nversion=1", True),
        (b"\n\r\n  # disk descriptorFILE", True),
        (b"\xef\xbb\xbf#Disk DescriptorFile", True),
        (b"# written by a tool\n# Disk DescriptorFile", True),
        (b"#!/bin/sh\n", False),
        (b"# Disk\nversion=1\n# Disk DescriptorFile", False),
        (b"", False),
        (b"\n" * 2000, False),
    ],
)
def test_a_descriptor_is_told_by_its_title(head: bytes, is_descriptor: bool) -> None:
    assert looks_like_descriptor(head) is is_descriptor


@pytest.mark.parametrize(
    "line",
    [
        'encryption.keySafe = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>))"',
        'encryption.data="abc"',
        'ddb.iofilters = "vmwarevmcrypt"',
    ],
)
def test_an_encrypted_disk_is_refused_as_such(line: str) -> None:
    with pytest.raises(EncryptedError):
        parsed(descriptor("vmfs", ['RW 8 VMFS "a-flat.vmdk"', line]))


@pytest.mark.parametrize(
    "create_type",
    ["fullDevice", "partitionedDevice", "vmfsRaw", "vmfsRDM", "vmfsRDMP", "vmfsRawDeviceMap"],
)
def test_a_disk_that_stands_for_a_device_is_refused_by_name(create_type: str) -> None:
    with pytest.raises(UnsupportedError, match="stands for"):
        parsed(descriptor(create_type, ['RW 8 FLAT "a" 0']))


@pytest.mark.parametrize("kind", ["VMFSRDM", "VMFSRAW"])
def test_an_extent_that_stands_for_a_device_is_refused_by_name(kind: str) -> None:
    with pytest.raises(UnsupportedError, match="stands for"):
        parsed(descriptor("custom", [f'RW 8 {kind} "a-rdm.vmdk"']))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("RW FLAT", CorruptError),
        ("RW 0 ZERO", CorruptError),
        ("RW 8 FLAT", CorruptError),
        ('RW 8 FLAT ""', CorruptError),
        ('RW 8 VSANSPARSE "a"', UnsupportedError),
        ("RW 99999999999999999999999 ZERO", CorruptError),
        ("RW -8 ZERO", CorruptError),
        ("nonsense", CorruptError),
        ("CID=00000001", CorruptError),
        ("parentCID=123456789", CorruptError),
        ("CID=xyz", CorruptError),
        ("version=99", ConvertError),
    ],
)
def test_a_line_that_cannot_be_right_is_refused(line: str, error: type[ConvertError]) -> None:
    with pytest.raises(error) as caught:
        parsed(descriptor("custom", [line]))
    assert caught.value.origin == ORIGIN


def test_the_place_of_a_bad_line_is_said() -> None:
    with pytest.raises(CorruptError) as caught:
        parsed("# Disk DescriptorFile\nversion=1\nnonsense\n")
    assert caught.value.offset == 32


def test_text_beyond_the_limit_is_refused() -> None:
    with pytest.raises(LimitError):
        parsed("# Disk DescriptorFile\n" + "#" * 100, Limits(descriptor_bytes=64))


def test_extents_without_number_are_refused() -> None:
    with pytest.raises(LimitError, match="extents"):
        parsed("# Disk DescriptorFile\n" + "RW 1 ZERO\n" * 20_000)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "start", ["k", "k=x", 'k="x', "k =", "RW", "RW 8", "RW 8 ZERO", 'RW 8 FLAT "a"']
)
@pytest.mark.parametrize("end", ["x", '"', "=", '"x"'])
def test_a_long_line_takes_no_longer_than_to_read_it(start: str, end: str) -> None:
    with contextlib.suppress(ConvertError):
        parsed(f"# Disk DescriptorFile\n{start}{' ' * 1_000_000}{end}\n")


@pytest.mark.parametrize(
    ("line", "parent"),
    [
        ('parentFileNameHint="a = b.vmdk"', "a = b.vmdk"),
        ("parentFileNameHint = a b.vmdk", "a b.vmdk"),
        ('parentFileNameHint=""', ""),
        ("parentFileNameHint=", ""),
    ],
)
def test_a_value_is_what_its_quotes_hold(line: str, parent: str) -> None:
    assert parsed(f"# Disk DescriptorFile\n{line}\n").parent_hint == parent


@pytest.mark.parametrize("line", ['a="', 'a="b', 'a=b"', 'a="b"c"', "=b", "a b=c"])
def test_a_setting_with_loose_quotes_or_no_key_is_refused(line: str) -> None:
    with pytest.raises(CorruptError, match="says nothing"):
        parsed(f"# Disk DescriptorFile\n{line}\n")
