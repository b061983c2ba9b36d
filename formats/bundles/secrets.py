"""Settings of a descriptor whose values are not for everybody's eyes."""

from __future__ import annotations

import re

HIDDEN = "(not shown)"
"""Stands for a value that is known and kept back."""

_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|private.?key|api.?key|licen[cs]e.?key", re.IGNORECASE
)


def looks_secret(key: str) -> bool:
    """Tell whether a setting is named like a secret; descriptors often fail to mark them."""
    return _SECRET.search(key) is not None
