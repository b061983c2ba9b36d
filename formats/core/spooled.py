"""Copies of compressed members that have to be read at any place."""

from __future__ import annotations

from collections.abc import Iterable

from formats.core.finding import Action, Finding
from formats.core.origin import Origin
from formats.core.reader import OpenContext
from formats.core.source import BytesLike, ByteSource
from formats.core.spool import Spool


class Spooler:
    """Makes decompressed copies on the host's disk, which go when the artifact is closed."""

    def __init__(self, context: OpenContext) -> None:
        self._context = context

    def spooled(self, blocks: Iterable[BytesLike], origin: Origin) -> ByteSource:
        """Return everything that ``blocks`` give as a source; the user is told.

        :raises LimitError: if it is more than the limits allow.
        :raises OutputError: if there is no room for it.
        """
        context = self._context
        spool = Spool(context.spool_folder, origin, context.limits)
        try:
            for block in blocks:
                spool.add(bytes(block))
            source = spool.finish()
        finally:
            spool.close()
        context.on_close(source.close)
        evidence = f"decompressed to a temporary file of {spool.stored_bytes:,} bytes"
        context.note(Finding("spooled", str(origin).encode(), Action.REPORTED, evidence))
        return source
