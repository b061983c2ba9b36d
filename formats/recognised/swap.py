"""Swap areas: there is nothing in them to convert, and that is no error.

Layout as in the kernel's include/linux/swap.h (``union swap_header``) and ``mkswap(8)``: the magic
is at the end of the first page, whatever the machine's page size was; label and UUID are behind the
first 1024 bytes. A system that was suspended to disk has another magic in that place.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource, read_exact

_PAGE_BYTES = (4096, 8192, 16384, 32768, 65536)
_MAGIC_BYTES = 10
_HEADER_OFFSET = 1024
_HEADER = struct.Struct("<III16s16s")  # version, last page, bad pages, UUID, label
_HIBERNATED = (
    "the machine was suspended to disk: its filesystems may lack what it had in memory;"
    " resume it, shut it down and image it again"
)


@dataclass(frozen=True, slots=True)
class SwapArea:
    """A swap area, in use for memory or for a suspended system."""

    name: str
    title: str
    magics: tuple[bytes, ...]
    is_hibernated: bool = False

    category = Category.FILESYSTEM
    supersedes: frozenset[str] = frozenset()

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """See :class:`~formats.core.reader.Reader`."""
        return tuple(
            Signature(page - _MAGIC_BYTES, magic) for page in _PAGE_BYTES for magic in self.magics
        )

    @property
    def doc(self) -> ReaderDoc:
        """See :class:`~formats.core.reader.Reader`."""
        return ReaderDoc(
            self.title,
            specification="mkswap(8), linux/swap.h",
            reads="label and UUID; there is nothing else in it for a container",
        )

    def probe(self, source: ByteSource) -> bool:
        """Return True: ten bytes of magic are proof."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Return no volumes. A suspended system is a finding: what is beside it may be stale."""
        header = bytes(read_exact(source, _HEADER_OFFSET, _HEADER.size, "the swap header"))
        _, _, _, raw_uuid, raw_label = _HEADER.unpack(header)
        facts: dict[str, str] = {}
        if any(raw_uuid):
            facts["uuid"] = str(uuid.UUID(bytes=raw_uuid))
        if label := raw_label.partition(b"\0")[0]:
            facts["label"] = printable(label)
        if self.is_hibernated:
            path = str(source.origin).encode()
            context.note(Finding("hibernated", path, Action.REPORTED, _HIBERNATED))
        return Volumes((), facts)


SWAP_AREAS = (
    SwapArea("swap", "swap area", (b"SWAPSPACE2", b"SWAP-SPACE")),
    SwapArea(
        "swsuspend",
        "swap area that holds a hibernated system",
        (b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"),
        is_hibernated=True,
    ),
)
