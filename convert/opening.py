"""Opening what a user names: files, disks of one machine, images in a cloud."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from convert.handover import second_engine
from convert.keys import read_keys
from convert.options import ConvertOptions, OpenOptions
from convert.select.request import Request
from formats.core.errors import UsageError
from formats.core.opener import Artifact, Input, open_artifact

Source: TypeAlias = str | PathLike[str]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage's name, bytes done and bytes in all (0 where that is not known)."""

_IN_CLOUD = ("ami:", "snap:")


@contextmanager
def opened(
    sources: Source | Sequence[Source], options: OpenOptions, progress: Progress | None = None
) -> Iterator[Artifact]:
    """Open an artifact as ``options`` say, and close it at the end."""
    named = [sources] if isinstance(sources, str | PathLike) else list(sources)
    if not named:
        raise UsageError("no file was named")
    with ExitStack() as resources:
        inputs = [_input(os.fspath(source), options, resources) for source in named]
        artifact = open_artifact(
            inputs,
            limits=options.limits,
            allow_backing=options.allow_backing,
            keys=read_keys(options.passphrase_files, options.key_files),
            spool_parent=options.spool,
            progress=progress,
        )
        resources.callback(artifact.close)
        yield artifact


def _input(source: str, options: OpenOptions, resources: ExitStack) -> Input:
    """Return a file's path, or what its name means elsewhere."""
    if not source.startswith(_IN_CLOUD):
        return Path(source)
    from formats.bundles.ami.access import Account  # noqa: PLC0415 - files are opened without it
    from formats.bundles.ami.image import open_in_cloud  # noqa: PLC0415 - likewise

    account = Account(options.region, options.aws_profile, options.endpoint_url)
    return open_in_cloud(source, account, resources.callback, options.limits)


def request_of(options: OpenOptions) -> Request:
    """Return which tree ``options`` ask for."""
    drop = options.drop if isinstance(options, ConvertOptions) else ()
    return Request(
        root=options.root,
        machine=options.vm,
        drop=drop,
        limits=options.limits,
        engine=second_engine(options.engine),
    )


def byte_counter(
    progress: Progress | None, total: int, stage: str = "writing"
) -> Callable[[int], None] | None:
    """Return what adds bytes up for ``progress``; headers and padding are in them too."""
    if progress is None:
        return None
    done = 0

    def count(length: int) -> None:
        nonlocal done
        done += length
        progress(stage, min(done, total) if total else done, total)

    return count
