"""Formats that are recognised and not read: each is refused by name, with the way out.

One row a format, in the table of its room. When a reader for it arrives, its row goes. Signatures
are those of the format's own documentation, and as listed in the public documentation of
``file(1)`` and ``blkid(8)``. Swap areas are here too; there is nothing in them to read.
"""

from __future__ import annotations

from formats.recognised.bundles import BUNDLES
from formats.recognised.disks import DISKS
from formats.recognised.filesystems import FILESYSTEMS
from formats.recognised.row import RecognisedFormat
from formats.recognised.swap import SWAP_AREAS, SwapArea
from formats.recognised.volumes import VOLUMES

ROWS: tuple[RecognisedFormat, ...] = (*DISKS, *VOLUMES, *FILESYSTEMS, *BUNDLES)
READERS: tuple[RecognisedFormat | SwapArea, ...] = (*ROWS, *SWAP_AREAS)

__all__ = ["READERS", "ROWS", "RecognisedFormat"]
