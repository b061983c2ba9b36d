"""Deferred work: intents in the log that no later item says to be done.

"XFS Algorithms & Data Structures", "Intent to Free an Extent" and what follows. A change too large
for one transaction is logged as an intent first, and carried out in later ones; a crash in between
leaves it for recovery. Freeing space and counting references to it change nothing that is in a tree
of files, and are left. Which blocks a file has is completed; what else changes files is refused, by
name.
"""

from __future__ import annotations

import struct

from formats.core.errors import UnsupportedError
from formats.filesystems.xfs.log_record import Log
from formats.filesystems.xfs.log_transactions import Item, ItemType
from formats.filesystems.xfs.replay_mappings import Mappings
from formats.filesystems.xfs.replay_overlay import Overlay

_FORMAT = struct.Struct("<8xQ")
_INTENT_BYTES = 256
"""about what remembering one takes, beside what it says"""
_DONE = {
    ItemType.EFD: ItemType.EFI,
    ItemType.RUD: ItemType.RUI,
    ItemType.CUD: ItemType.CUI,
    ItemType.BUD: ItemType.BUI,
    ItemType.ATTRD: ItemType.ATTRI,
    ItemType.XMD: ItemType.XMI,
    ItemType.EFD_RT: ItemType.EFI_RT,
    ItemType.RUD_RT: ItemType.RUI_RT,
    ItemType.CUD_RT: ItemType.CUI_RT,
}
_REFUSED = {
    ItemType.ATTRI: "extended attributes",
    ItemType.XMI: "an exchange of the contents of files",
}


class Intents:
    """The intents that are open."""

    def __init__(self, log: Log, overlay: Overlay, mappings: Mappings) -> None:
        self._log = log
        self._overlay = overlay
        self._mappings = mappings
        self._open: dict[tuple[ItemType, int], Item] = {}

    def take(self, item: Item) -> None:
        """Note an intent, or that it is done; anything else is ignored."""
        is_intent = item.type in _DONE.values()
        intent = item.type if is_intent else _DONE.get(item.type)
        if intent is None:
            return
        if len(item.regions[0]) < _FORMAT.size:
            raise self._log.damaged("an intent is cut short", item.block)
        (identity,) = _FORMAT.unpack_from(item.regions[0])
        known = self._open.pop((intent, identity), None)
        if known is not None:
            self._overlay.reserve(-_memory(known))
        if is_intent:
            self._open[intent, identity] = item
            self._overlay.reserve(_memory(item))

    def carry_out(self) -> str:
        """Carry out what is open, and return for people how much that was.

        :raises UnsupportedError: if something cannot be.
        """
        mapped = 0
        for (kind, _), item in self._open.items():
            what = _REFUSED.get(kind)
            if what is not None:
                raise UnsupportedError(
                    f"its log ends with a change of {what} under way ({kind.name})",
                    origin=self._log.origin,
                    offset=self._log.offset(item.block),
                    hint="mount a copy once, which completes it",
                )
            if kind is ItemType.BUI:
                self._mappings.carry_out(item)
                mapped += 1
        left = len(self._open) - mapped
        told = ((mapped, "mappings of blocks completed"), (left, "updates of free space left out"))
        return ", ".join(f"{count:,} {what}" for count, what in told if count)


def _memory(item: Item) -> int:
    return _INTENT_BYTES + len(item.regions[0])
