"""Disks of others, as they lie there: each does what its line in the corpus' list expects."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.survey import Row, Seen, rows, survey

_KERNEL = re.compile(r"(?:btrfs|ext[234]|xfs) f=(\d+) d=(\d+) l=(\d+)(?: o=(\d+))?")
_BY_7Z = re.compile(r"vfat (\d+) entries \((\d+) folders\) by 7z")
_FOREIGN = re.compile(r"(?:^|: )(apfs|exfat|hfsplus|ntfs|udf) ")


def holds_what_the_kernel_saw(row: Row, nodes: list[Seen]) -> None:
    """Trees of what is read, and everything else named, with what to do about it."""
    expected = [tuple(int(count or 0) for count in found) for found in _KERNEL.findall(row.oracle)]
    expected += [(int(all_) - int(d), int(d), 0, 0) for all_, d in _BY_7Z.findall(row.oracle)]
    found = trees(nodes)
    if nodes[-1].reader == "btrfs" and found:  # the kernel shows subvolumes inside one another
        found = [tuple(map(sum, zip(*found, strict=True)))]
    assert found == expected
    assert [node.reader for node in nodes if node.code] == _FOREIGN.findall(row.oracle)
    problems_are_explained(nodes)


def holds_what_cpio_lists(row: Row, nodes: list[Seen]) -> None:
    """All entries but the root folder, which cpio lists and counts as none of these."""
    (listed,) = re.findall(r"cpio (\d+) entries", row.oracle)
    (counts,) = trees(nodes)
    assert sum(counts) == int(listed) - 1
    problems_are_explained(nodes)


def is_refused(row: Row, nodes: list[Seen]) -> None:
    """No tree: a problem, or nothing known in it."""
    del row
    assert trees(nodes) == []
    problems_are_explained(nodes)


def is_refused_as_encrypted(row: Row, nodes: list[Seen]) -> None:
    is_refused(row, nodes)
    assert nodes[-1].code == "encrypted"


def is_refused_for_its_data_file(row: Row, nodes: list[Seen]) -> None:
    is_refused(row, nodes)
    if nodes[0].reader == "qcow2":
        assert "external data file, 'data-file.bin'" in nodes[0].error


def is_refused_as_past_the_end(row: Row, nodes: list[Seen]) -> None:
    is_refused(row, nodes)
    assert {node.code for node in nodes if node.reader is None} == {"corrupt"}


def is_read_or_refused(row: Row, nodes: list[Seen]) -> None:
    if not trees(nodes):
        is_refused(row, nodes)
        assert nodes[-1].code


def is_no_internal_error(row: Row, nodes: list[Seen]) -> None:
    del row
    assert "internal-error" not in {node.code for node in nodes}


def problems_are_explained(nodes: list[Seen]) -> None:
    for node in nodes:
        assert node.code in {None, "unsupported", "encrypted", "corrupt"}
        assert node.hint or not node.code


def trees(nodes: list[Seen]) -> list[tuple[int, ...]]:
    return [tuple(node.counts) for node in nodes if node.counts is not None]


CHECKS: dict[str, Callable[[Row, list[Seen]], None]] = {
    "assembles to a volume without a filesystem: refuse clearly": is_refused,
    "boots Linux (kernel + initramfs root of 57 entries)": holds_what_the_kernel_saw,
    "data only": holds_what_the_kernel_saw,
    "Linux (busybox) root tree": holds_what_cpio_lists,
    "Linux root tree": holds_what_the_kernel_saw,
    "must be refused": is_refused,
    "must be refused (division by zero risk)": is_refused,
    "must be refused clearly": is_refused,
    "must be refused clearly or data only": is_read_or_refused,
    "must be refused or reported empty": is_refused_as_past_the_end,
    "must not crash or hang; error or partial with warning": is_no_internal_error,
    "must not crash or hang; must be refused": is_refused,
    "must not crash; must be refused": is_refused,
    "must not hang": is_no_internal_error,
    "needs_recovery": is_read_or_refused,
    "no filesystem": is_refused,
    "no root": is_refused,
    "read or refuse clearly": is_read_or_refused,
    "read with data file beside it, or refuse external data file": is_refused_for_its_data_file,
    # in front of the colon is not enough for these
    "must be refused: encrypted": is_refused_as_encrypted,
    "must be refused clearly: encrypted": is_refused_as_encrypted,
    "must be refused: external data file": is_refused_for_its_data_file,
}
NOT_THE_FIRST_PART = "raw/dfvfs_splitraw/ext2.splitraw.001"


@pytest.fixture(scope="module")
def artifacts() -> dict[Row, list[Seen]]:
    found = rows("raw", "qcow2")
    seen = survey([row.path for row in found])
    return {row: seen[row.path] for row in found}


@pytest.mark.parametrize("expected", CHECKS)
def test_disks_of_others_do_what_is_expected(
    artifacts: dict[Row, list[Seen]], expected: str
) -> None:
    found = [
        (row, nodes)
        for row, nodes in artifacts.items()
        if expected == _rule(row.expected) and row.name != NOT_THE_FIRST_PART
    ]
    assert found
    for row, nodes in found:
        try:
            CHECKS[expected](row, nodes)
        except AssertionError as error:
            raise AssertionError(f"{row.name}: {nodes}") from error


def _rule(expected: str) -> str:
    return expected if expected in CHECKS else expected.partition(":")[0]


def test_every_expectation_is_checked(artifacts: dict[Row, list[Seen]]) -> None:
    assert {_rule(row.expected) for row in artifacts} == set(CHECKS)


def test_a_second_part_says_which_is_the_first(artifacts: dict[Row, list[Seen]]) -> None:
    ((node,),) = (nodes for row, nodes in artifacts.items() if row.name == NOT_THE_FIRST_PART)
    assert node.code == "unsupported"
    assert "name its first part, 'ext2.splitraw.000'" in node.error
