from __future__ import annotations

from pathlib import Path

import pytest

from convert.keys import read_keys
from formats.core.errors import InputReadError, LimitError


def test_a_newline_at_the_end_is_not_a_part_of_a_passphrase(tmp_path: Path) -> None:
    for name, text in {"unix": b"my key\n", "dos": b"my key\r\n", "none": b"my key"}.items():
        (tmp_path / name).write_bytes(text)
        assert read_keys([tmp_path / name], []) == (b"my key",)


def test_every_byte_of_a_key_file_counts(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\0\n")
    assert read_keys([], [tmp_path / "key"]) == (b"\0\n",)


def test_a_key_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputReadError, match=r"luks\.key: cannot read the key: No such file"):
        read_keys([], [tmp_path / "luks.key"])


def test_a_disk_given_for_a_key_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate((8 << 20) + 1)
    with pytest.raises(LimitError, match="is no key"):
        read_keys([], [tmp_path / "disk"])
