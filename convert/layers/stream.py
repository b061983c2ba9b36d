"""The one pass: a tar stream is hashed, compressed, hashed again and written, all at once.

::

    chunks ─ reblock ─┬─► sha256 ─────────────────────────────► diff_id
     (caller)         └─► compressor ─┬─► sha256 ─────────────► digest, size
                                      └─► file

The caller's thread reads and encodes, one thread hashes, one feeds the compressor (which has
threads of its own), hashes what comes out and writes it. Hashing, compressing, reading and writing
all release the interpreter lock. Between them are queues of :data:`_QUEUE_BLOCKS` blocks; both
queues hold the same blocks, so that at most a few mebibytes are in flight.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

from convert.layers.compress import Codec, Compression, Compressor, compressor, reblock
from formats.core.errors import LimitError, OutputError
from formats.core.limits import DEFAULT_LIMITS, KIB
from formats.core.source import BytesLike

Progress: TypeAlias = Callable[[int], None]
"""Told the number of uncompressed bytes that came in since the last call; may raise to stop."""

_QUEUE_BLOCKS = 3
_LARGE_PIECE_BYTES = 64 * KIB
_PATIENCE_SECONDS = 1.0
"""How long an interrupt can take. Python notices a signal before a wait and after it, but not one
that comes just as the wait begins; so no wait of the caller's thread is longer."""


@dataclass(frozen=True, slots=True)
class WrittenLayer:
    """A layer that is in its file, with every claim about it.

    :ivar diff_id: ``sha256:`` of the tar.
    :ivar digest: ``sha256:`` of the bytes in the file.
    :ivar size: bytes in the file.
    :ivar uncompressed_size: bytes of the tar.
    """

    diff_id: str
    digest: str
    size: int
    uncompressed_size: int
    compression: Compression

    @property
    def media_type(self) -> str:
        """Media type for the layer's descriptor."""
        return self.compression.media_type


def write_layer(
    chunks: Iterable[BytesLike],
    file: BinaryIO,
    compression: Compression,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    budget_bytes: int = DEFAULT_LIMITS.total_output_bytes,
) -> WrittenLayer:
    """Compress a tar stream into ``file`` and return its digests, in one pass over the stream.

    The bytes written depend on the stream and ``compression`` only. ``file`` is written from
    another thread, from its present position, and neither flushed nor closed. When anything
    fails, all threads have ended before the error is raised, and ``file`` holds a part; only at an
    interrupt one may still be in a write that does not return.

    :param jobs: threads that compress.
    :param budget_bytes: how many bytes may come in.
    :raises LimitError: when more come.
    :raises OutputError: when ``file`` cannot be written; its cause is the ``OSError``.
    """
    diff_id = hashlib.sha256()
    taken = Meter(budget_bytes, progress)
    output = _Output(file, hash_again=compression.codec is not Codec.NONE)
    _pump(chunks, taken, compressor(compression, jobs), output, tap=diff_id.update)
    name = f"sha256:{diff_id.hexdigest()}"
    return WrittenLayer(name, output.digest or name, output.size, taken.total, compression)


def write_stream(
    chunks: Iterable[BytesLike],
    file: BinaryIO,
    compression: Compression,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    budget_bytes: int = DEFAULT_LIMITS.total_output_bytes,
) -> int:
    """Do as :func:`write_layer` without any digest, and return the bytes that were written."""
    output = _Output(file, hash_again=False)
    meter = Meter(budget_bytes, progress)
    if compression.codec is Codec.NONE:
        _copy(chunks, meter, output)
    else:
        _pump(chunks, meter, compressor(compression, jobs), output)
    return output.size


def _copy(chunks: Iterable[BytesLike], taken: Meter, output: _Output) -> None:
    """Write a stream as it is."""
    for piece in _gathered(chunks):
        taken.add(len(piece))
        output.write_all((piece,))


def _gathered(chunks: Iterable[BytesLike]) -> Iterator[BytesLike]:
    """Yield a stream in pieces worth a call each: large ones uncopied, small ones together."""
    small: list[BytesLike] = []
    small_bytes = 0
    for chunk in chunks:
        length = len(chunk)
        is_large = length >= _LARGE_PIECE_BYTES
        if not is_large:
            small.append(chunk)
            small_bytes += length
        if small and (is_large or small_bytes >= _LARGE_PIECE_BYTES):
            yield b"".join(small)
            small, small_bytes = [], 0
        if is_large:
            yield chunk
    if small:
        yield b"".join(small)


def _pump(
    chunks: Iterable[BytesLike],
    taken: Meter,
    engine: Compressor,
    output: _Output,
    tap: Callable[[bytes], None] | None = None,
) -> None:
    """Send a stream through ``engine`` to ``output``, and through ``tap`` beside it."""

    def feed(block: bytes) -> None:
        output.write_all(engine.feed(block))

    with ExitStack() as stack:
        stack.callback(engine.close)
        stages = [stack.enter_context(_Stage("compress", feed))]
        if tap is not None:
            stages.append(stack.enter_context(_Stage("hash", tap)))
        for block in reblock(chunks):
            taken.add(len(block))
            for stage in stages:
                stage.put(block)
        for stage in stages:
            stage.join()
        output.write_all(engine.finish())


class Meter:
    """Counts the bytes of a tree, holds them to the budget and tells of them.

    :ivar total: bytes so far.
    """

    def __init__(self, budget_bytes: int, progress: Progress | None) -> None:
        self.total = 0
        self._budget_bytes = budget_bytes
        self._progress = progress

    def add(self, length: int) -> None:
        """Count some more.

        :raises LimitError: if the budget does not hold them.
        """
        self.total += length
        if self.total > self._budget_bytes:
            raise LimitError(
                f"the tree has more than {self._budget_bytes:,} bytes of content",
                hint="raise the limit on total output if the input is trusted",
            )
        if self._progress is not None:
            self._progress(length)


class _Output:
    """The file, with the size and digest of what went into it."""

    def __init__(self, file: BinaryIO, *, hash_again: bool) -> None:
        self.size = 0
        self._file = file
        self._sha256 = hashlib.sha256() if hash_again else None

    @property
    def digest(self) -> str | None:
        return None if self._sha256 is None else f"sha256:{self._sha256.hexdigest()}"

    def write_all(self, pieces: Iterable[BytesLike]) -> None:
        for piece in pieces:
            if self._sha256 is not None:
                self._sha256.update(piece)
            self._write(piece)
            self.size += len(piece)

    def _write(self, piece: BytesLike) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                # An unbuffered file is free to take less than it is given.
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror}") from error


class _Stage:
    """A thread that does one thing to each block, in order.

    A failure is kept and raised in the caller at its next :meth:`put` or :meth:`join`. From then
    on the thread throws blocks away, so that a caller that is waiting for room always gets it.

    Leaving the context ends the thread and waits for it. After an interrupt the wait is short: a
    write to a pipe that nobody reads from may never return.
    """

    def __init__(self, name: str, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_QUEUE_BLOCKS)
        self._is_cancelled = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_cancelled = True
        self._queue.put(None)
        if error is None or isinstance(error, Exception):
            self._wait()
        else:
            self._thread.join(_PATIENCE_SECONDS)

    def put(self, block: bytes) -> None:
        """Hand over a block, waiting for room."""
        while not self._room.acquire(timeout=_PATIENCE_SECONDS):
            pass
        if self._error is not None:
            raise self._error
        self._queue.put(block)

    def join(self) -> None:
        """Wait until all blocks are done."""
        self._queue.put(None)
        self._wait()
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        while self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        while (block := self._queue.get()) is not None:
            if not self._is_cancelled and self._error is None:
                try:
                    self._work(block)
                except BaseException as error:  # noqa: BLE001 - raised again where it belongs
                    self._error = error
            self._room.release()
