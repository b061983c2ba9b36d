from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core import errors
from formats.core.entry import check_name
from formats.core.origin import Origin, printable


@given(st.binary(max_size=60))
def test_a_printed_name_has_no_control_characters_and_loses_nothing(name: bytes) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert "\n" not in shown
    if all(32 <= byte < 127 and byte != ord("\\") for byte in name):
        assert shown == name.decode()


def test_two_names_never_print_the_same() -> None:
    assert printable(b"\xff") != printable(b"\\xff")
    assert printable("é".encode()) == "é"
    assert printable(b"\x1b[2J") == "\\x1b[2J"


def test_an_error_is_one_line_with_breadcrumb_offset_and_hint() -> None:
    origin = Origin(("a.ova",)).child("disk.vmdk").child("new\nline")
    error = errors.CorruptError("is cut short", origin=origin, offset=4096, hint="fetch it again")
    assert str(error) == (
        "a.ova › disk.vmdk › new\\x0aline: is cut short (at byte 4,096); fetch it again"
    )
    assert error.as_dict() == {
        "code": "corrupt",
        "message": "is cut short",
        "origin": "a.ova › disk.vmdk › new\\x0aline",
        "offset": 4096,
        "hint": "fetch it again",
        "exit_code": 4,
    }


def test_the_docstring_lists_every_error_with_its_exit_code() -> None:
    documented = errors.__doc__ or ""
    pending, seen = [errors.ConvertError], []
    while pending:
        kind = pending.pop()
        seen.append(kind)
        pending += [item for item in kind.__subclasses__() if item.__module__ == errors.__name__]
    for kind in seen:
        row = next(line for line in documented.splitlines() if f"{kind.__name__} " in line)
        assert row.split()[-2:] == [str(kind.exit_code), kind.code]
    assert len({kind.code for kind in seen}) == len(seen)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"/"])
def test_names_that_could_lead_out_of_a_folder_are_refused(name: bytes) -> None:
    with pytest.raises(errors.CorruptError):
        check_name(name, Origin(("x",)))


def test_odd_names_that_are_legal_are_taken() -> None:
    for name in (b"...", b"\xff\xfe", b"a\nb", b" ", b".wh.x", b"x" * 255):
        check_name(name, Origin(("x",)))
