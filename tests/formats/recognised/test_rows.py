from __future__ import annotations

import pytest

from formats.recognised import READERS, ROWS
from tests.images.recognised import KNOWN_TO_BLKID, OTHER_MARKS, TOOLS

_ROWS = {row.name: row for row in ROWS}


def test_every_recognised_format_has_a_case() -> None:
    cases = {what.name for what in TOOLS} | {row[0] for row in (*KNOWN_TO_BLKID, *OTHER_MARKS)}
    assert cases == {reader.name for reader in READERS}


@pytest.mark.parametrize("name", sorted(_ROWS))
def test_each_row_says_what_to_do(name: str) -> None:
    row = _ROWS[name]
    assert row.title.split()[0] in {"a", "an", "the"}
    assert row.hint
    assert row.doc.refuses.endswith(row.hint)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("apfs", "macOS"),
        ("bitlocker", "Windows"),
        ("bsd-disklabel", "BSD"),
        ("geli", "BSD"),
        ("hfsplus", "macOS"),
        ("ldm", "Windows"),
        ("ntfs", "Windows"),
        ("refs", "Windows"),
        ("ufs2", "BSD"),
        ("vmfs", "VMware"),
        ("exfat", None),
        ("zfs", None),
    ],
)
def test_formats_of_one_system_name_it(name: str, family: str | None) -> None:
    assert _ROWS[name].family == family
