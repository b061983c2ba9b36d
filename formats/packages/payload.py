"""The payload of a package, decompressed once, so that its files can be read at any place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from formats.bundles.streams import Compressed, Decoder
from formats.core.errors import LimitError
from formats.core.finding import Action, Finding
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.reader import OpenContext
from formats.core.source import ByteSource, MemorySource
from formats.core.spooled import spooled

_MEMORY_BYTES = 16 * MIB
"""Most packages are smaller; a file of the host for each would take longer than decoding it."""


def decompressed(
    packed: ByteSource, decode: Decoder, origin: Origin, context: OpenContext
) -> ByteSource:
    """Return what a compressed payload holds: in memory if it is small.

    Otherwise it is in a temporary file, of which the user is told.

    :param origin: of what comes out.
    :raises CorruptError: if it is damaged or cut short.
    :raises LimitError: if it gives more than the limits allow.
    :raises OutputError: if there is no room for it.
    """
    file = Compressed(packed)
    blocks = bounded(file, decode, context)
    kept: list[bytes] = []
    size = 0
    for block in blocks:
        kept.append(block)
        size += len(block)
        if size > _MEMORY_BYTES:
            source = spooled(chain(kept, blocks), origin, context)
            break
    else:
        source = MemorySource(b"".join(kept), origin)
    if file.trailing_bytes:
        evidence = f"{file.trailing_bytes:,} bytes follow the compressed payload; not read"
        where = str(packed.origin).encode("utf-8", "surrogateescape")
        context.note(Finding("trailing-data", where, Action.REPORTED, evidence))
    return source


def bounded(file: Compressed, decode: Decoder, context: OpenContext) -> Iterator[bytes]:
    """Yield blocks as long as what comes out is in proportion to what went in.

    :raises LimitError: once it is not.
    """
    limits, size = context.limits, 0
    for block in decode(file, limits):
        size += len(block)
        if size > limits.expansion_grace_bytes and size > limits.expansion_ratio * file.position:
            raise LimitError(
                f"expands to more than {limits.expansion_ratio:,} times its size",
                origin=file.source.origin,
                offset=file.position,
                hint="raise the limit on expansion_ratio if the input is trusted",
            )
        context.progress("decompressing", min(file.position, file.source.size), file.source.size)
        yield block
