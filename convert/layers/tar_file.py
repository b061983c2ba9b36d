"""``tar:`` output: a tree as one tar file, compressed if its name says so, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from convert.layers.compress import Codec, Compression, compression
from convert.layers.stream import Progress, write_stream
from convert.layers.tar import encode_tar
from convert.staging import Staging, free_place, opened_stream, output_error, widen
from formats.core.errors import UsageError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.tree import Tree

_ENDINGS = {
    ".gz": Codec.GZIP,
    ".tgz": Codec.GZIP,
    ".zst": Codec.ZSTD,
    ".tzst": Codec.ZSTD,
}
_FOREIGN_ENDINGS = frozenset({".bz2", ".lz4", ".lzma", ".lzo", ".tbz", ".tbz2", ".txz", ".xz"})


def write_tar(
    tree: Tree,
    file: Path | None,
    *,
    stdout: BinaryIO | None = None,
    mtime_limit: int | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> int:
    """Write a tree as a tar archive and return the bytes that were written.

    A file appears when it is whole and on the disk. What is no file (a pipe, ``/dev/null``) is
    written to as it is.

    :param tree: what :func:`~convert.layers.representable.fit_tar` makes of one.
    :param file: must not exist; ``.tar.gz``, ``.tgz``, ``.tar.zst`` and ``.tzst`` are compressed.
        None is for ``stdout``, which is not closed.
    :param mtime_limit: see :func:`~convert.layers.tar.encode_tar`.
    :param jobs: threads that compress; they do not change what is written.
    :raises UsageError: if the name asks for a compression that is not written here.
    :raises OutputExistsError: if the file is there already.
    :raises OutputError: if it cannot be written; nothing is left behind.
    """
    how = _compression(file)
    chunks = encode_tar(tree, mtime_limit=mtime_limit, limits=limits)

    def write_to(output: BinaryIO) -> int:
        return write_stream(
            chunks,
            output,
            how,
            jobs=jobs,
            progress=progress,
            budget_bytes=limits.total_output_bytes,
        )

    if file is None:
        if stdout is None:
            raise ValueError("no file and no stream")
        widen(stdout)
        written_bytes = write_to(stdout)
        try:
            stdout.flush()
        except OSError as error:
            raise output_error(error, Path("standard output")) from error
        return written_bytes
    pipe = opened_stream(file)
    if pipe is not None:
        with pipe:
            return write_to(pipe)
    with Staging(free_place(file), file) as staging:
        staged = staging.folder / "tar"
        with staging.new_file(staged) as output:
            written_bytes = write_to(output)
            output.sync()
        staging.publish(staged)
    return written_bytes


def _compression(file: Path | None) -> Compression:
    ending = file.suffix.lower() if file is not None else ""
    if ending in _FOREIGN_ENDINGS:
        raise UsageError(
            f"a tar is not written as {ending}", hint="name it .tar, .tar.gz or .tar.zst"
        )
    return compression(_ENDINGS.get(ending, Codec.NONE))
