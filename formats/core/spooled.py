"""Copies on the host's disk of what has to be read at any place and can only be read in order."""

from __future__ import annotations

from collections.abc import Iterable

from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.reader import OpenContext
from formats.core.source import BytesLike, ByteSource
from formats.core.spool import Spool


def spooled(
    blocks: Iterable[BytesLike], origin: Origin, context: OpenContext, how: str = "decompressed"
) -> ByteSource:
    """Return everything that ``blocks`` give as a source, which goes when the artifact is closed.

    :param how: what was done to it; the user is told.
    :raises LimitError: if it is more than the limits allow.
    :raises OutputError: if there is no room for it.
    """
    spool = Spool(context.spool_folder, origin, context.limits)
    try:
        for block in blocks:
            spool.add(bytes(block))
        source = spool.finish()
    finally:
        spool.close()
    context.on_close(source.close)
    evidence = f"{how} to a temporary file of {spool.stored_bytes:,} bytes"
    context.note(Finding("spooled", str(origin).encode(), Action.REPORTED, evidence))
    return source
