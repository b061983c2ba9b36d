"""Text of a guest: bytes and words, and how much of them a program can take."""

from __future__ import annotations

import re
from collections.abc import Callable

from formats.core.limits import KIB, MIB

ARGUMENT_MAX = 128 * KIB
"""MAX_ARG_STRLEN of execve(2): no longer argument or variable can be passed to a program."""

ARGUMENTS_MAX = 2 * MIB
"""ARG_MAX with the usual limit on the stack: nor can more than that in all."""


def encoded(text: str) -> bytes:
    """Return the bytes that :func:`text_of` made a text of; a path of the guest, say."""
    return text.encode("utf-8", "surrogateescape")


def can_be_said(text: str) -> bool:
    """Tell whether an image config, which is JSON in UTF-8, can hold a text."""
    return not re.search("[\0\ud800-\udfff]", text)


def replaced(pattern: re.Pattern[str], text: str, value: Callable[[re.Match[str]], str]) -> str:
    """Replace what matches, as :func:`re.sub` does, but never into more than a program can take.

    Variables that name each other let a few lines grow without end: what would be too long is
    left as it was.
    """
    parts: list[str] = []
    length = end = 0
    for match in pattern.finditer(text):
        parts += [text[end : match.start()], value(match)]
        end = match.end()
        length += len(parts[-2]) + len(parts[-1])
        if length > ARGUMENT_MAX:
            return text
    return "".join([*parts, text[end:]])
