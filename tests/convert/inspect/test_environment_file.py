"""Environment files, as systemd's own reader of them prints them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.inspect.environment_file import variables_of
from tests.support.programs import refuse, run
from tests.support.systemd import unquoted

GENERATOR = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
"""environment.d(5) files have the syntax of ``EnvironmentFile=``, and ``$`` besides."""

EXAMPLE = r"""# comment \
A1=in the comment
; B=no
A=plain
B= blanks inside  stay ~
C="double" 'single'
D='two
lines'
E="a\
b \" \\ \q"
F=a\
b\ \
G=quotes" inside
 H=1
I =2
export J=3
1K=4
K=a # no comment
L="unbalanced
""".replace("~", " \t")


def _theirs(text: str, folder: Path) -> dict[str, str]:
    if not GENERATOR.exists():
        refuse("systemd is not installed")
    (folder / "environment.d").mkdir()
    (folder / "environment.d" / "x.conf").write_text(text)
    done = run("env", "-i", f"XDG_CONFIG_HOME={folder}", GENERATOR)
    lines = (line.partition("=") for line in done.stdout.decode().split("\n"))
    return {name: unquoted(value) for name, equals, value in lines if equals}


def test_reads_values_as_systemd_does(tmp_path: Path) -> None:
    theirs = _theirs(EXAMPLE, tmp_path)
    ours = {name: item.value for name, item in variables_of(EXAMPLE).items()}

    assert {name: value for name, value in theirs.items() if len(name) < 3} == ours


def test_reads_random_files_as_systemd_does(tmp_path: Path) -> None:
    dice = random.Random(3)
    pieces = ["a", "b", " ", "\t", "'", '"', "\\", "\n", "=", "#", ";", "\\\n", "x y", "\r"]
    compared = 0
    for number in range(60):
        lines = [
            f"V{number}_{line}={''.join(dice.choices(pieces, k=dice.randrange(1, 10)))}"
            for line in range(6)
        ]
        text = "\n".join(lines) + "\n"
        folder = tmp_path / str(number)
        folder.mkdir()
        theirs = {name: value for name, value in _theirs(text, folder).items() if name[0] == "V"}
        ours = {name: item.value for name, item in variables_of(text).items()}
        for name, value in theirs.items():  # it prints none that is empty
            assert ours.get(name) == value, repr((name, text))
            compared += 1
    assert compared > 100


def test_tells_the_line_of_each_name() -> None:
    found = variables_of("# x\nA='1\n2'\n\nB=3\nA=4\n")

    assert {name: item.line for name, item in found.items()} == {"A": 6, "B": 5}


@pytest.mark.parametrize("text", ["", "\n", "=", "A", "#", "#\\", "A='", 'A="\\', "A=\\"])
def test_odd_ends_are_no_error(text: str) -> None:
    assert set(variables_of(text)) <= {"A"}


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), st.text(max_size=9)))
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        escaped = "".join(f"\\{c}" if c in '"\\`$' else c for c in value)
        return f'"{escaped}"'

    text = "".join(f"{name}={quoted(value)}\n" for name, value in values.items())

    assert {name: item.value for name, item in variables_of(text).items()} == values
