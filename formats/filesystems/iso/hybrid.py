"""Partition tables around an ISO, so that it boots from a USB stick as well.

They are told and not used. The parts overlap each other and the ISO on purpose, and one may begin
at the table itself, which is why the readers of disks refuse them.
"""

from __future__ import annotations

import struct

from formats.core.errors import CorruptError
from formats.core.source import ByteSource
from formats.volumes.gpt import listed_partitions
from formats.volumes.partition import partition_types
from formats.volumes.partition_types import MBR_PROTECTIVE, mbr_type

_TABLE_OFFSET = 446
_TABLE = struct.Struct("<" + 4 * "4xB3xII" + "2s")
"""Four times type, first sector, number of sectors; then the boot signature."""
_BOOT_MAGIC = b"\x55\xaa"
_APPLE_MAP = (512, b"PM\0\0")


def partition_tables(source: ByteSource) -> dict[str, str]:
    """Return a fact for each table around the image, with its partitions and their types."""
    found: dict[str, str] = {}
    try:
        partitions = listed_partitions(source)
    except CorruptError:
        partitions = []
    if partitions:
        found["hybrid gpt"] = partition_types(partitions)["partitions"]
    if titles := _mbr_titles(source):
        found["hybrid mbr"] = ", ".join(titles)
    offset, magic = _APPLE_MAP
    if bytes(source.read_at(offset, len(magic))) == magic:
        found["hybrid apm"] = "Apple partition map"
    return found


def _mbr_titles(source: ByteSource) -> list[str]:
    """Return number and type of each partition; a table that only protects a GPT has none."""
    data = bytes(source.read_at(_TABLE_OFFSET, _TABLE.size))
    if len(data) < _TABLE.size or not data.endswith(_BOOT_MAGIC):
        return []
    fields = _TABLE.unpack(data)
    entries = [fields[at : at + 3] for at in range(0, 12, 3)]
    return [
        f"{number} {mbr_type(kind).title}"
        for number, (kind, _, sectors) in enumerate(entries, 1)
        if sectors and kind != MBR_PROTECTIVE
    ]
