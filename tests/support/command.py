"""Running the command line in tests: in this process for speed, or as a user would."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from convert.cli.main import _run


@dataclass(frozen=True, slots=True)
class Done:
    """What a command ended with."""

    code: int
    out: str
    err: str


def convert(*arguments: str | Path) -> Done:
    """Run a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _run([os.fspath(argument) for argument in arguments])
    return Done(code, _text(out), _text(err))


def succeed(*arguments: str | Path) -> str:
    """Run a command in this process that has to succeed, and return its standard output."""
    done = convert(*arguments)
    assert done.code == 0, done.err
    return done.out


def started(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a command as a process of its own, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "convert", *(os.fspath(argument) for argument in arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        start_new_session=True,
    )


def process(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Done:
    """Run a command as a process of its own."""
    with started(*arguments, environment=environment, cwd=cwd) as child:
        out, err = child.communicate(timeout=120)
        return Done(child.returncode, out.decode(), err.decode())


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "surrogateescape")
