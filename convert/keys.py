"""Passphrases and keys for encrypted volumes: from files, never from the command line itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from formats.core.errors import InputReadError, LimitError
from formats.core.origin import Origin, printable

_KEY_BYTES_MAX = 8 << 20
"""The most that cryptsetup(8) takes of a key file."""


def read_keys(passphrase_files: Sequence[Path], key_files: Sequence[Path]) -> tuple[bytes, ...]:
    """Return the passphrases, then the keys, in their order.

    :param passphrase_files: text; one newline at the end is not a part of it.
    :param key_files: every byte counts.
    :raises InputReadError: if one cannot be read.
    :raises LimitError: if one is larger than a key can be.
    """
    passphrases = [_without_newline(_read(path)) for path in passphrase_files]
    return (*passphrases, *(_read(path) for path in key_files))


def _without_newline(text: bytes) -> bytes:
    return text.removesuffix(b"\n").removesuffix(b"\r")


def _read(path: Path) -> bytes:
    origin = Origin((printable(path.name),))
    try:
        with path.open("rb") as file:
            data = file.read(_KEY_BYTES_MAX + 1)
    except OSError as error:
        raise InputReadError(
            f"cannot read the key: {error.strerror}", origin=origin, hint="check the path"
        ) from error
    if len(data) > _KEY_BYTES_MAX:
        raise LimitError(f"is no key: it has more than {_KEY_BYTES_MAX:,} bytes", origin=origin)
    return data
