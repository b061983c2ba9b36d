"""Layer compressors whose output depends on the input and the level, and on nothing else.

The number of threads, the size of writes and the machine change nothing; another version of the
library may, which is why :func:`library` is recorded with the image.

- **zstd** (RFC 8878) always runs its multi-threaded encoder: with 0 threads it takes another code
  path and gives other bytes, with 1, 2 or 16 the same. Jobs are cut by size, never by thread. The
  frame carries a content checksum, so that any decoder notices damage. Levels end at 19: beyond,
  the window outgrows the 8 MiB that a decoder has to support.
- **gzip** (RFC 1952) is a member for each mebibyte, as eStargz layers are: any decoder joins them.
  libdeflate takes 40 % of zlib's time for it and gives fewer bytes, although no member sees the one
  before; zlib does it where libdeflate has no wheel. No name and no time are in the headers.

Not supported: bzip2, xz and other codecs that the OCI image specification has no media type for.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from types import ModuleType
from typing import Protocol

import zstandard

from formats.core.errors import UsageError
from formats.core.limits import MIB
from formats.core.source import BytesLike

try:
    import deflate
except ImportError:  # no wheel for this machine
    _DEFLATE: ModuleType | None = None
else:
    _DEFLATE = deflate

BLOCK_BYTES = MIB
"""What compressors are fed with; only the last block is shorter."""

_ZSTD_JOB_BYTES = 4 * MIB
"""Half of what zstd takes at its default level: half the memory, 0.1 % more output."""
_MAX_THREADS = 64
_FAST_ZSTD_LEVEL = 6
_FAST_ZSTD_THREADS = 8
"""Up to that level so many keep up with any reader, and each more would only take 15 MB."""


class Codec(Enum):
    """How a layer is compressed, by the name that ``--compression`` takes."""

    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"


_LEVELS = {Codec.ZSTD: range(1, 20), Codec.GZIP: range(1, 10), Codec.NONE: range(1)}
_DEFAULT_LEVELS = {Codec.ZSTD: 3, Codec.GZIP: 6, Codec.NONE: 0}

MEDIA_TYPES = {
    Codec.ZSTD: "application/vnd.oci.image.layer.v1.tar+zstd",
    Codec.GZIP: "application/vnd.oci.image.layer.v1.tar+gzip",
    Codec.NONE: "application/vnd.oci.image.layer.v1.tar",
}
"""image-spec, media-types.md."""


@dataclass(frozen=True, slots=True)
class Compression:
    """A codec with its level; made by :func:`compression`, which checks the level."""

    codec: Codec
    level: int

    @property
    def media_type(self) -> str:
        """Media type of a layer compressed so."""
        return MEDIA_TYPES[self.codec]

    @property
    def library(self) -> str:
        """Name and version of what compresses: a part of what the output depends on."""
        if self.codec is Codec.ZSTD:
            return "zstd " + ".".join(str(part) for part in zstandard.ZSTD_VERSION)
        if self.codec is Codec.NONE:
            return "none"
        if _DEFLATE is not None:
            return f"libdeflate of deflate {version('deflate')}"
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


def compression(codec: Codec, level: int | None = None) -> Compression:
    """Return the codec at ``level``, or at its usual level: 3 for zstd, 6 for gzip.

    :raises UsageError: for a level that the codec does not have.
    """
    levels = _LEVELS[codec]
    if level is None:
        level = _DEFAULT_LEVELS[codec]
    if level not in levels:
        raise UsageError(
            f"{codec.value} has no level {level}",
            hint=f"levels go from {levels.start} to {levels.stop - 1}",
        )
    return Compression(codec, level)


class Compressor(Protocol):
    """Blocks in, compressed bytes out. Used by one thread."""

    def feed(self, block: bytes) -> Iterable[bytes]:
        """Take the next block, of :data:`BLOCK_BYTES` unless it is the last; give what is ready."""
        ...

    def finish(self) -> Iterable[bytes]:
        """Give the rest."""
        ...

    def close(self) -> None:
        """Let go of threads, finished or not."""
        ...


def compressor(how: Compression, jobs: int) -> Compressor:
    """Return a new compressor that uses up to ``jobs`` threads (one at the least)."""
    jobs = min(max(jobs, 1), _MAX_THREADS)
    if how.codec is Codec.ZSTD:
        is_fast = how.level <= _FAST_ZSTD_LEVEL
        return _Zstd(how.level, min(jobs, _FAST_ZSTD_THREADS) if is_fast else jobs)
    if how.codec is Codec.GZIP:
        return _Gzip(how.level, jobs)
    return _Stored()


def reblock(chunks: Iterable[BytesLike], size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Cut a stream into blocks of ``size`` bytes, the last one shorter; never an empty one."""
    parts: list[BytesLike] = []
    missing = size
    for chunk in chunks:
        length = len(chunk)
        if length < missing:
            parts.append(chunk)
            missing -= length
            continue
        parts.append(chunk[:missing])
        yield b"".join(parts)
        start = missing
        while length - start >= size:
            yield bytes(chunk[start : start + size])
            start += size
        parts = [chunk[start:]]
        missing = size - (length - start)
    if missing < size:
        yield b"".join(parts)


class _Stored:
    def feed(self, block: bytes) -> Iterable[bytes]:
        return (block,)

    def finish(self) -> Iterable[bytes]:
        return ()

    def close(self) -> None:
        pass


class _Zstd:
    def __init__(self, level: int, jobs: int) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, threads=jobs, job_size=_ZSTD_JOB_BYTES, write_checksum=True
        )
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def feed(self, block: bytes) -> Iterable[bytes]:
        return (self._stream.compress(block),)

    def finish(self) -> Iterable[bytes]:
        return (self._stream.flush(),)

    def close(self) -> None:
        del self._stream  # ends its threads


class _Gzip:
    def __init__(self, level: int, jobs: int) -> None:
        self._level = level
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="gzip")
        self._waiting: deque[Future[bytes]] = deque()
        self._most_waiting = jobs + 1
        self._is_empty = True

    def feed(self, block: bytes) -> Iterable[bytes]:
        self._is_empty = False
        self._waiting.append(self._pool.submit(_gzip_member, block, self._level))
        while len(self._waiting) > self._most_waiting:
            yield self._waiting.popleft().result()

    def finish(self) -> Iterable[bytes]:
        while self._waiting:
            yield self._waiting.popleft().result()
        if self._is_empty:
            yield _gzip_member(b"", self._level)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _gzip_member(block: bytes, level: int) -> bytes:
    if _DEFLATE is not None:
        return bytes(_DEFLATE.gzip_compress(block, level))
    return zlib.compress(block, level, wbits=16 + zlib.MAX_WBITS)
