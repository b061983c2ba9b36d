"""Conditions of units: systemd-analyze is the judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.inspect.command_line import UnitName
from convert.inspect.conditions import unmet_condition
from convert.inspect.guest import Guest
from convert.inspect.unit_file import parse_unit
from convert.inspect.units import Unit
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run
from tests.support.systemd import unpack

TREE = """
d 755 0:0 opt/filled
f 644 0:0 opt/filled/file x
f 755 0:0 opt/program x
f 644 0:0 opt/empty
d 755 0:0 opt/hollow
l 777 0:0 opt/link filled
l 777 0:0 opt/broken nowhere
"""

CONDITIONS = [
    f"Condition{key}={sign}{{root}}/opt/{name}"
    for key in (
        *("PathExists", "PathIsDirectory", "PathIsSymbolicLink"),
        *("FileNotEmpty", "FileIsExecutable", "DirectoryNotEmpty"),
    )
    for sign in ("", "!")
    for name in ("filled", "filled/file", "program", "empty", "hollow", "link", "broken", "none")
] + [
    "ConditionPathExistsGlob={root}/opt/f*",
    "ConditionPathExistsGlob={root}/opt/z*",
    "ConditionPathExistsGlob=!{root}/opt/*/file",
    "ConditionPathExistsGlob={root}/opt/brok*",
    "ConditionPathExists=|{root}/opt/none\nConditionPathExists=|{root}/opt/empty",
    "ConditionPathExists=|{root}/opt/none\nConditionPathExists=|!{root}/opt/empty",
    "ConditionPathExists={root}/opt/empty\nConditionPathExists=|{root}/opt/none",
    "AssertPathExists={root}/opt/none",
    "AssertPathExists={root}/opt/empty\nConditionPathExists={root}/opt/hollow",
]


def _holds(text: str) -> bool:
    guest = Guest(TreeIndex(memory_tree(TREE)))
    settings = parse_unit("[Unit]\n" + text, b"x.service")
    name = UnitName("x.service")
    return unmet_condition(guest, Unit(name, (name.full,), b"x.service", tuple(settings))) is None


def test_decides_as_systemd_does(tmp_path: Path) -> None:
    need("systemd-analyze")
    unpack(memory_tree(TREE), tmp_path)
    for condition in CONDITIONS:
        lines = condition.format(root=tmp_path).split("\n")
        theirs = run("systemd-analyze", "condition", *lines, check=False).returncode == 0
        assert _holds(condition.format(root="")) is theirs, condition


def test_an_empty_condition_of_any_key_forgets_those_before_it() -> None:
    assert not _holds("ConditionPathExists=/none")
    assert _holds("ConditionPathExists=/none\nConditionFileNotEmpty=")
    assert not _holds("ConditionPathExists=/none\nAssertPathExists=")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ConditionVirtualization=container", True),
        ("ConditionVirtualization=!container", False),
        ("ConditionVirtualization=vm", False),
        ("ConditionVirtualization=kvm", True),  # one machine's name is not known from its disk
        ("ConditionPathExists=/run/made-at-boot", True),
        ("ConditionPathExists=!/run/made-at-boot", True),
        ("ConditionPathExists=/sys/none", True),
        ("ConditionKernelCommandLine=x", True),
        ("ConditionACPower=true", True),
    ],
)
def test_what_depends_on_the_machine_is_decided_for_a_container(text: str, holds: bool) -> None:
    assert _holds(text) is holds
