"""Command lines of units: words, specifiers, variables."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.inspect.command_line import (
    UnitName,
    expand_specifiers,
    parse_commands,
    specifiers,
    unescape_unit,
)
from convert.inspect.text import ARGUMENTS_MAX
from convert.inspect.unit_file import BadQuotingError, parse_unit, split_words, words_of
from convert.inspect.unit_file import values as values_of
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run
from tests.support.systemd import folder_for_all, transaction, units_text, unpack

NAME = UnitName("pre-fix@in\\x2dst-ance.service")

PIECES = [
    *("a", "bc", " ", "  ", "\t", '"', "'", ";", " ; ", "\\;", "\\", "$X", "${X}", "$$", "%%"),
    *("%i", "%I", "%n", "%N", "%p", "%P", "%j", "%J", "%f", "%t", "%S", "%C", "%L", "%E", "%T"),
    *("%V", "%u", "%U", "%g", "%G", "%h", "\\x41", "\\101", "\\s", "\\t", "\\u00e9", "\\q", "é"),
    *("=", "-", ":", "@", "#", " # ", ",", "/x"),
]


def _random_values(count: int) -> list[str]:
    dice = random.Random(2)
    values = []
    for _ in range(count):
        pieces = dice.choices(PIECES, k=dice.randrange(1, 12))
        value = "/bin/true " + "".join(pieces)
        values.append(value if not value.endswith("\\") else value + "z")
    return values


def test_splits_and_expands_command_lines_as_systemd_does() -> None:
    values = _random_values(400)
    names = [UnitName(f"u{number}-pre@in\\x2dst-ance.service") for number in range(len(values))]
    files = {
        f"usr/lib/systemd/system/u{number}-pre@.service": (
            f"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart={value}\n"
        )
        for number, value in enumerate(values)
    }
    wants = " ".join(name.full for name in names)
    files["usr/lib/systemd/system/default.target"] = f"[Unit]\nWants={wants}\n"
    with folder_for_all() as root:
        unpack(memory_tree(units_text(files)), root)
        units = transaction(root, "default.target").units

    compared = 0
    for name, value in zip(names, values, strict=True):
        if units[name.full].fields["Unit Load State"] == ["loaded"]:  # it refuses some
            text = files[f"usr/lib/systemd/system/{name.prefix}@.service"]
            (setting,) = values_of(parse_unit(text, b""), "Service", "ExecStart")
            ours = [list(line.words) for line in parse_commands(setting.value, specifiers(name))]
            assert ours == units[name.full].commands["ExecStart"], value
            compared += 1
    assert compared > len(values) // 2


@pytest.mark.parametrize("text", ['"a', "a 'b", 'x"'])
def test_a_quote_that_is_not_closed_spoils_the_whole_setting(text: str) -> None:
    with pytest.raises(BadQuotingError):
        list(words_of(text))
    assert split_words(text) == []
    assert parse_commands("/bin/true " + text, {}) == []


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_any_text_splits_into_words_or_is_refused(text: str) -> None:
    words = split_words(text)

    assert all(isinstance(word, str) for word in words)
    assert sum(map(len, words)) <= len(text)


@given(st.lists(st.text("ab \"'\\;$%\t", max_size=8), max_size=5))
def test_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    quoted = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)

    assert split_words(quoted) == words


ENVIRONMENT = {"X": "one two", "Q": "'a b' c", "E": ""}


@pytest.mark.parametrize(
    ("value", "argv"),
    [
        ("/bin/p $X", ["/bin/p", "one", "two"]),
        ("/bin/p ${X}", ["/bin/p", "one two"]),
        ("/bin/p a${X}b", ["/bin/p", "aone twob"]),
        ("/bin/p a$X", ["/bin/p", "a$X"]),
        ("/bin/p $Q", ["/bin/p", "a b", "c"]),
        ("/bin/p $E", ["/bin/p"]),
        ("/bin/p ${E}", ["/bin/p", ""]),
        ("/bin/p $UNSET x", ["/bin/p", "x"]),
        ("/bin/p $$X ${$X}", ["/bin/p", "$X", "${$X}"]),
        (":/bin/p $X", ["/bin/p", "$X"]),
        ("@/bin/p name $X", ["/bin/p", "one", "two"]),
    ],
)
def test_puts_variables_in_as_the_manual_says(value: str, argv: list[str]) -> None:
    """systemd.service(5), "Command lines"."""
    (line,) = parse_commands(value, {})

    assert list(line.argv(ENVIRONMENT)) == argv


@pytest.mark.parametrize("value", ["/bin/p " + "$X " * 1000, "/bin/p " + "${X}" * 20_000])
def test_variables_never_grow_beyond_what_a_program_can_take(value: str) -> None:
    (line,) = parse_commands(value, {})

    argv = line.argv({"X": "x" * 100_000})

    assert sum(map(len, argv)) <= ARGUMENTS_MAX


@pytest.mark.parametrize(
    "text", ["a-b", "dev-disk-by\\x2dlabel-x", "\\xc3\\xa9", "a.b_c:d", "\\x5cx", "-"]
)
def test_undoes_escapes_as_systemd_escape_does(text: str) -> None:
    need("systemd-escape")
    theirs = run("systemd-escape", "--unescape", "--", text).stdout.decode().removesuffix("\n")

    assert unescape_unit(text) == theirs


@pytest.mark.parametrize(
    ("full", "stem", "prefix", "instance", "template"),
    [
        ("a.service", "a", "a", "", None),
        ("a@b.service", "a@b", "a", "b", "a@.service"),
        ("a@.service", "a@", "a", "", None),
        ("a@b@c.service", "a@b@c", "a", "b@c", "a@.service"),
        ("a.b.service", "a.b", "a.b", "", None),
    ],
)
def test_takes_unit_names_apart(
    full: str, stem: str, prefix: str, instance: str, template: str | None
) -> None:
    name = UnitName(full)

    assert (name.stem, name.prefix, name.instance, name.template) == (
        stem,
        prefix,
        instance,
        template,
    )
    assert name.is_valid
    assert name.is_template is (full == "a@.service")


@pytest.mark.parametrize("full", ["", "a", ".service", "a b.service", "é.service", "a.conf", "/"])
def test_what_is_no_name_is_not_valid(full: str) -> None:
    assert not UnitName(full).is_valid


def test_unknown_specifiers_stay() -> None:
    assert expand_specifiers("%H %i %% %", specifiers(NAME)) == "%H in\\x2dst-ance % %"
