"""Encrypted volumes that nobody here made."""

from __future__ import annotations

from pathlib import Path

from formats.core.errors import EncryptedError
from tests.formats.volumes.luks.support import content, problem
from tests.support.survey import unpacked


def test_a_luks1_header_without_data_is_encrypted(tmp_path: Path) -> None:
    image = unpacked("raw/util-linux__luks1.img", tmp_path)
    assert isinstance(problem(image, []), EncryptedError)


def test_a_luks2_header_without_its_json_is_encrypted_and_damaged(tmp_path: Path) -> None:
    error = problem(unpacked("raw/util-linux__luks2.img", tmp_path), [])
    assert isinstance(error, EncryptedError)
    assert "the LUKS2 JSON area" in error.message


def test_a_volume_with_a_known_passphrase_is_read(tmp_path: Path) -> None:
    """AES in ECB mode, nearly six million rounds of SHA-1, and sectors full of their number."""
    image = unpacked("raw/dissect__luks1.bin.gz", tmp_path)
    assert isinstance(problem(image, []), EncryptedError)
    assert content(image, [b"password"]) == b"".join(bytes([sector]) * 512 for sector in range(4))
