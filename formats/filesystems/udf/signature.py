"""The mark of UDF (ECMA-167 2/9.1): apart, as looking for it needs nothing else."""

from __future__ import annotations

from formats.core.source import ByteSource

_START = 0x8000
_STEPS = (2048, 4096)
_MOST = 16


def has_signature(source: ByteSource) -> bool:
    """Look for NSR02 or NSR03 in the volume recognition sequence (ECMA-167 2/9.1)."""
    for step in _STEPS:
        for number in range(_MOST):
            data = bytes(source.read_at(_START + number * step, 6))
            if data[1:] in {b"NSR02", b"NSR03"}:
                return True
    return False
