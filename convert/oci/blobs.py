"""Going through stored blobs from front to back, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from convert.layers.compress import Codec
from convert.oci.digest import Digest
from formats.bundles.streams import Compressed, Decoder, gunzip, unzstd
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import MIB, Limits
from formats.core.source import BytesLike, ByteSource

_BLOCK_BYTES = MIB
_ZEROS = bytes(_BLOCK_BYTES)


def digest_of(source: ByteSource, tell: Callable[[int], None]) -> Digest:
    """Return a blob's digest; ``tell`` gets the number of bytes read since the last call."""
    sha256 = hashlib.sha256()
    for block in _blocks(source):
        sha256.update(block)
        tell(len(block))
    return Digest(sha256.hexdigest())


def layer_tar(
    source: ByteSource, codec: Codec, limits: Limits, tell: Callable[[int], None]
) -> Iterator[BytesLike]:
    """Yield the bytes of a layer's tar, a mebibyte at the most at a time; ``tell`` as above.

    :raises CorruptError: if the blob is damaged, cut short, or goes on behind its stream.
    :raises LimitError: if it expands more than ``limits`` allow.
    """
    decoder = _DECODERS[codec]
    if decoder is not None:
        yield from decoded(source, decoder, limits, tell)
        return
    for block in _blocks(source):
        tell(len(block))
        yield block


def decoded(
    source: ByteSource, decoder: Decoder, limits: Limits, tell: Callable[[int], None]
) -> Iterator[BytesLike]:
    """Yield what a compressed file holds; otherwise as :func:`layer_tar`.

    Blocks of zeros are not counted as expansion, since large files with holes are common.
    """
    file = Compressed(source)
    counted = told = 0
    for block in decoder(file, limits):
        if block != _ZEROS:
            counted += len(block)
        if counted > max(limits.expansion_grace_bytes, limits.expansion_ratio * file.position):
            raise LimitError(
                f"expands to more than {limits.expansion_ratio:,} times its size",
                origin=source.origin,
                offset=file.position,
                hint="raise the limit on expansion_ratio if the image is trusted",
            )
        tell(file.position - told)
        told = file.position
        yield block
    if file.trailing_bytes:
        raise CorruptError(
            f"{file.trailing_bytes:,} bytes follow the compressed stream", origin=source.origin
        )


def _blocks(source: ByteSource) -> Iterator[BytesLike]:
    for offset in range(0, source.size, _BLOCK_BYTES):
        yield source.read_at(offset, _BLOCK_BYTES)


_DECODERS: dict[Codec, Decoder | None] = {
    Codec.NONE: None,
    Codec.GZIP: gunzip,
    Codec.ZSTD: unzstd,
}
