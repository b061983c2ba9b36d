"""Boot entries ("El Torito" 1.0 of Phoenix and IBM), decoded by pycdlib.

pycdlib is given one sector at a time, and no more of them than a catalog may have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pycdlib.eltorito import EltoritoBootCatalog, EltoritoEntry
from pycdlib.headervd import BootRecord
from pycdlib.pycdlibexception import PyCdlibException

from formats.core.errors import CorruptError
from formats.core.source import ByteSource, read_exact
from formats.filesystems.iso.descriptors import SECTOR_BYTES

_MOST_SECTORS = 16
_BOOTABLE = 0x88
_PLATFORMS = {0: "BIOS", 1: "PowerPC", 2: "Mac", 0xEF: "UEFI"}
_MEDIA = (
    "no emulation",
    "1.2 MB floppy",
    "1.44 MB floppy",
    "2.88 MB floppy",
    "hard disk",
)


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One boot image.

    :ivar platform: in words.
    :ivar medium: what the firmware shall take it for, in words.
    :ivar sector: of 2,048 bytes, that it begins at.
    :ivar loaded: how many sectors of 512 bytes the firmware loads.
    """

    platform: str
    medium: str
    sector: int
    loaded: int
    is_bootable: bool

    def __str__(self) -> str:
        state = "" if self.is_bootable else ", not bootable"
        return (
            f"{self.platform} at sector {self.sector:,} ({self.medium},"
            f" {self.loaded:,} x 512 bytes{state})"
        )


def boot_entries(source: ByteSource, catalog_sector: int) -> list[BootEntry]:
    """Return the entries of the boot catalog at a sector.

    :raises CorruptError: if it is damaged, with what pycdlib says.
    """
    offset = catalog_sector * SECTOR_BYTES
    catalog = EltoritoBootCatalog(BootRecord())
    try:
        for number in range(_MOST_SECTORS):
            place = offset + number * SECTOR_BYTES
            catalog.parse(bytes(read_exact(source, place, SECTOR_BYTES, "the boot catalog")))
            if catalog.complete():
                break
        return list(_entries(catalog))
    except (PyCdlibException, struct.error, IndexError, AttributeError) as error:
        raise CorruptError(
            f"the boot catalog is damaged: {error}", origin=source.origin, offset=offset
        ) from error


def _entries(catalog: EltoritoBootCatalog) -> Iterator[BootEntry]:
    first = catalog.validation_entry.platform_id
    yield _entry(first, catalog.initial_entry)
    for section in catalog.sections:
        for entry in section.section_entries:
            yield _entry(section.platform_id, entry)
    for entry in catalog.standalone_entries:
        yield _entry(first, entry)


def _entry(platform: int, entry: EltoritoEntry) -> BootEntry:
    return BootEntry(
        _PLATFORMS.get(platform, f"platform {platform:#x}"),
        _MEDIA[entry.boot_media_type],
        entry.load_rba,
        entry.sector_count,
        entry.boot_indicator == _BOOTABLE,
    )
