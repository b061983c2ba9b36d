"""Layers of an image that others made: verified and unpacked once, when they are needed.

A compressed layer is unpacked into a temporary file, since a tree reads files at any place. Both of
its digests are verified by then; nothing of a layer is looked at before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from convert.layers.compress import MEDIA_TYPES, Codec
from convert.oci.base import BaseLayer
from convert.oci.blobs import digest_of, layer_tar
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from convert.oci.stored import sniffed_codec
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, FileSource
from formats.core.spool import Spool

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage's name, bytes done and bytes in all."""

_UNPACKING = "unpacking layers"


class Workshop:
    """What opening one image is lent.

    :param spool: folder for temporary files.
    :ivar on_close: told what has to be called when the image is closed.
    """

    def __init__(
        self,
        limits: Limits,
        spool: Path,
        on_close: Callable[[Callable[[], None]], object],
        progress: Progress,
    ) -> None:
        self.limits = limits
        self.on_close = on_close
        self.progress = progress
        self._folder = spool
        self._spooled_bytes = 0

    def spooled(self, blocks: Iterable[BytesLike], origin: Origin) -> FileSource:
        """Return bytes as a file without a name that can be read until the image is closed.

        :raises LimitError: if all that is spooled of the image is more than ``limits`` allow.
        :raises OutputError: if there is no room for them.
        """
        limit = self.limits.total_output_bytes
        spool = Spool(self._folder, origin, self.limits)
        try:
            for block in blocks:
                self._spooled_bytes += len(block)
                if self._spooled_bytes > limit:
                    raise LimitError(
                        f"the image unpacks to more than {limit:,} bytes",
                        origin=origin,
                        hint="raise the limit on total output if the image is trusted",
                    )
                spool.add(bytes(block))
            source = spool.finish()
        finally:
            spool.close()
        self.on_close(source.close)
        return source


@dataclass(frozen=True, slots=True)
class LayerClaim:
    """A layer as its image describes it.

    :ivar blob: gets the bytes, wherever they are.
    :ivar digest: of the blob; None where nothing claims one.
    :ivar size: bytes of the blob; None likewise.
    :ivar codec: None where only the bytes tell.
    :ivar is_verified: whether ``blob`` verifies the digest itself.
    """

    blob: Callable[[], ByteSource]
    diff_id: Digest
    digest: Digest | None = None
    size: int | None = None
    codec: Codec | None = None
    is_verified: bool = False


def unpack(claim: LayerClaim, workshop: Workshop) -> BaseLayer:
    """Verify and unpack a layer.

    :raises CorruptError: if it is not what its image says, or is damaged.
    :raises LimitError: if it is larger than the limits allow.
    """
    blob = claim.blob()
    done = 0

    def tell(length: int) -> None:
        nonlocal done
        done += length
        workshop.progress(_UNPACKING, min(done, blob.size), blob.size)

    if claim.size not in {None, blob.size}:
        raise CorruptError(f"has {blob.size:,} bytes, not {claim.size:,}", origin=blob.origin)
    codec = sniffed_codec(blob) if claim.codec is None else claim.codec
    digest = claim.digest
    if digest is None or not claim.is_verified:
        digest = digest_of(blob, tell if codec is Codec.NONE else _silent)
        if claim.digest not in {None, digest}:
            raise CorruptError(f"has the digest {digest}, not {claim.digest}", origin=blob.origin)
    if codec is Codec.NONE:
        tar, diff_id = blob, digest
    else:
        tar, diff_id = _decompressed(blob, codec, workshop, tell)
    if diff_id != claim.diff_id:
        raise CorruptError(
            f"unpacks to something with the digest {diff_id}, not {claim.diff_id}",
            origin=blob.origin,
        )
    return BaseLayer(Descriptor(MEDIA_TYPES[codec], digest, blob.size), diff_id, blob, tar)


def _decompressed(
    blob: ByteSource, codec: Codec, workshop: Workshop, tell: Callable[[int], None]
) -> tuple[ByteSource, Digest]:
    sha256 = hashlib.sha256()

    def hashed() -> Iterator[BytesLike]:
        for block in layer_tar(blob, codec, workshop.limits, tell):
            sha256.update(block)
            yield block

    tar = workshop.spooled(hashed(), blob.origin)
    return tar, Digest(sha256.hexdigest())


def _silent(length: int) -> None:
    del length
