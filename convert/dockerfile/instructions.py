"""Writing a Dockerfile: what a guest says is quoted, or not written at all.

https://docs.docker.com/reference/dockerfile/: variables are replaced in most instructions, a
backslash at the end of a line continues it, a line that begins with ``#`` is a comment even inside
of ``RUN``, and names of sources are patterns.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_PATTERN = frozenset("*?[]\\$\"'`<# \t")
_AND = " \\\n && "
COMMAND_BYTES = 64 * 1024
"""Of one ``RUN``: half of what execve(2) takes as one argument."""


def can_be_written(text: str) -> bool:
    """Tell whether an instruction can hold a text, quoted."""
    return text.isprintable()


def is_plain_path(path: str) -> bool:
    """Tell whether ``COPY`` takes a path as it is: no pattern, no variable."""
    return can_be_written(path) and not _PATTERN.intersection(path)


def quoted_value(text: str) -> str:
    """Return a value of ``ENV`` or ``LABEL``, in which nothing is replaced.

    :param text: one that :func:`can_be_written`.
    """
    if _PLAIN_VALUE.fullmatch(text):
        return text
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def escaped(text: str) -> str:
    """Return an argument of ``USER``, ``WORKDIR`` and such, in which nothing is replaced."""
    return re.sub(r"([\\$])", r"\\\1", text)


def runs(commands: Iterable[str]) -> Iterator[str]:
    """Yield ``RUN`` of commands of a shell, each on a line of its own, no ``RUN`` too long."""
    together: list[str] = []
    length = 0
    for command in commands:
        if together and length + len(command) > COMMAND_BYTES:
            yield _run(together)
            together, length = [], 0
        together.append(command)
        length += len(command) + len(_AND)
    if together:
        yield _run(together)


def _run(commands: Sequence[str]) -> str:
    return "RUN " + _AND.join(commands)


def words(values: Iterable[str]) -> str:
    """Return words for a shell."""
    return " ".join(shlex.quote(value) for value in values)


def wrapped(values: Sequence[str]) -> str:
    """Return words for a shell, each on a line of its own where there are several."""
    if len(values) <= 1:
        return words(values)
    return "".join(f" \\\n        {shlex.quote(value)}" for value in values).lstrip(" ")


def json_words(values: Iterable[str]) -> str:
    """Return the exec form: in it, no shell and no variable."""
    return json.dumps(list(values))


def copy(sources: Sequence[str], target: str, owner: str | None) -> str:
    """Return a ``COPY``; all paths are plain."""
    chown = f"--chown={owner} " if owner is not None else ""
    if len(sources) == 1:
        return f"COPY {chown}{sources[0]} {target}"
    return f"COPY {chown}" + " \\\n     ".join(sources) + f" \\\n     {target}"
