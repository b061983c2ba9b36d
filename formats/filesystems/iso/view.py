"""Which of an image's trees is read, and how its names are to be understood.

One image may describe the same files several times: in the primary volume, with Rock Ridge or
without; in a Joliet volume; in an enhanced volume. Rock Ridge is preferred, which has names, modes,
owners and links as they were; then Joliet, whose names are whole; then the enhanced volume.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.core.source import ByteSource, read_exact
from formats.filesystems.iso.descriptors import Session, VolumeDescriptor
from formats.filesystems.iso.names import Naming, enhanced_name, joliet_name, plain_name
from formats.filesystems.iso.records import first_record
from formats.filesystems.iso.system_use import SystemUse, SystemUseReader

_SP = b"SP\x07\x01\xbe\xef"
_XA_BYTES = 14
"""CD-ROM XA attributes, which may stand in front of all entries."""
_RRIP = frozenset({b"RRIP_1991A", b"IEEE_P1282", b"IEEE_1282"})


@dataclass(frozen=True, slots=True)
class View:
    """One tree of an image.

    :ivar name: ``rock-ridge``, ``joliet``, ``enhanced``, ``plain``.
    :ivar system_use: reads what follows names, where that is Rock Ridge.
    :ivar root_use: what the record of the root folder says.
    """

    name: str
    volume: VolumeDescriptor
    naming: Naming
    system_use: SystemUseReader | None = None
    root_use: SystemUse | None = None


def views(source: ByteSource, session: Session) -> list[View]:
    """Return the trees of a session, the one to be read first.

    :raises CorruptError: if the root folder of the primary volume is damaged.
    """
    found = [_rock_ridge(source, session.primary)]
    if session.joliet is not None:
        found.append(View("joliet", session.joliet, joliet_name))
    if session.enhanced is not None:
        found.append(View("enhanced", session.enhanced, enhanced_name))
    plain = View("plain", session.primary, plain_name)
    return [*(view for view in found if view is not None), plain]


def _rock_ridge(source: ByteSource, volume: VolumeDescriptor) -> View | None:
    """Return the primary volume with Rock Ridge, if the root's first record announces it."""
    record = first_record(source, volume.root_offset)
    start = next((at for at in (0, _XA_BYTES) if record.use[at:].startswith(_SP)), None)
    if start is None or len(record.use) < start + len(_SP) + 1:
        return None
    skip = record.use[start + len(_SP)]

    def continuation(block: int, offset: int, length: int) -> bytes:
        place = block * volume.block_bytes + offset
        return bytes(read_exact(source, place, length, "the continuation of a record"))

    reader = SystemUseReader(source.origin, continuation, skip)
    use = reader.read(record.use[start:], record.offset, is_first=True)
    # before ER was there, the entries of Rock Ridge themselves were the announcement
    if _RRIP.isdisjoint(use.extensions) and use.mode is None:
        return None
    return View("rock-ridge", volume, plain_name, reader, use)
