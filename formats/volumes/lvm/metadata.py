"""A volume group, from its parsed text to typed values; every number is checked here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from formats.core.errors import CorruptError
from formats.core.origin import Origin, printable
from formats.volumes.lvm.label import SECTOR_BYTES
from formats.volumes.lvm.text import Section, Value, parse

_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,127}", re.ASCII)
_UUID = re.compile(r"[A-Za-z0-9]{6}(?:-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}", re.ASCII)
_EXTENTS_MAX = 1 << 40
_DEVICE_MAX = 64
_RAID0_LVS = "raid0_lvs"
_IMAGES_MAX = 253
"""dm-raid takes no more (Documentation/admin-guide/device-mapper/dm-raid.rst)."""
_RAID_KEYS = frozenset(
    {
        *("start_extent", "extent_count", "type", "device_count", "stripe_count", "stripe_size"),
        *("region_size", "data_copies", "raids", _RAID0_LVS, "writebehind"),
        *("min_recovery_rate", "max_recovery_rate", "tags"),
    }
)
"""``reshape_count``, ``data_offset`` and ``parity_devices``, say, are not among them."""


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """What the group says of one of its physical volumes.

    :ivar start: byte at which its first extent starts.
    :ivar device: what it was called when the metadata was written; empty if that is not said.
    """

    name: str
    uuid: str
    start: int
    extents: int
    device: str


@dataclass(frozen=True, slots=True)
class LvSegment:
    """A run of extents of a logical volume.

    :ivar kind: segment type without its flags: ``striped``, ``thin``.
    :ivar flags: what was behind a ``+`` in the type.
    :ivar areas: (name of a PV or LV, extent there) for each stripe, mirror or RAID image.
    :ivar metas: of RAID with metadata, the LV beside each image that holds its superblock.
    :ivar copies: of RAID 10, how often each chunk is there.
    :ivar unknown: of RAID, keys that are not known here: what they say may move the data.
    :ivar values: the text keys of other types, printable: ``thin_pool``, ``origin``.
    """

    start: int
    count: int
    kind: str
    flags: tuple[str, ...]
    areas: tuple[tuple[str, int], ...]
    metas: tuple[str, ...]
    stripe_bytes: int
    copies: int
    unknown: tuple[str, ...]
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume; hidden ones are parts of others."""

    name: str
    uuid: str
    is_visible: bool
    segments: tuple[LvSegment, ...]

    @property
    def extents(self) -> int:
        """Its size."""
        return sum(segment.count for segment in self.segments)


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """One copy of a group's metadata."""

    name: str
    uuid: str
    seqno: int
    extent_bytes: int
    is_exported: bool
    physical: dict[str, PhysicalVolume]
    logical: dict[str, LogicalVolume]


def parse_group(text: str, origin: Origin) -> VolumeGroup:
    """Return the volume group of a metadata text.

    :raises CorruptError: if the text is not one, or contradicts itself.
    """
    document = parse(text, origin)
    groups = [(name, item) for name, item in document.items() if isinstance(item, dict)]
    if len(groups) != 1:
        raise CorruptError(f"LVM metadata names {len(groups)} volume groups", origin=origin)
    name, section = groups[0]
    reader = _Group(_checked_name(name, origin), origin)
    return reader.group(section)


def _checked_name(name: str, origin: Origin) -> str:
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise CorruptError(f"LVM metadata has the name '{printable(name[:64])}'", origin=origin)
    return name


class _Group:
    """Reads sections, and says in which of them something is wrong."""

    def __init__(self, name: str, origin: Origin) -> None:
        self._name = name
        self._origin = origin

    def group(self, section: Section) -> VolumeGroup:
        extent_sectors = self._number(section, "extent_size", 1, 1 << 32)
        status = self._list(section, "status")
        return VolumeGroup(
            name=self._name,
            uuid=self._uuid(section),
            seqno=self._number(section, "seqno", 0, 1 << 63),
            extent_bytes=extent_sectors * SECTOR_BYTES,
            is_exported="EXPORTED" in status,
            physical={
                name: PhysicalVolume(
                    name=name,
                    uuid=self._uuid(item),
                    start=self._number(item, "pe_start", 0, 1 << 54) * SECTOR_BYTES,
                    extents=self._number(item, "pe_count", 0, _EXTENTS_MAX),
                    device=printable(str(item.get("device", "")))[:_DEVICE_MAX],
                )
                for name, item in self._sections(section, "physical_volumes")
            },
            logical={
                name: self._logical(name, item)
                for name, item in self._sections(section, "logical_volumes")
            },
        )

    def _logical(self, name: str, section: Section) -> LogicalVolume:
        count = self._number(section, "segment_count", 0, _EXTENTS_MAX)
        segments: list[LvSegment] = []
        position = 0
        for number in range(1, count + 1):
            item = section.get(f"segment{number}")
            if not isinstance(item, dict):
                raise self._error(f"no segment {number} of '{name}'")
            segment = self._segment(item)
            if segment.start != position:
                raise self._error(f"a gap before segment {number} of '{name}'")
            position += segment.count
            segments.append(segment)
        return LogicalVolume(
            name=name,
            uuid=self._uuid(section),
            is_visible="VISIBLE" in self._list(section, "status"),
            segments=tuple(segments),
        )

    def _segment(self, section: Section) -> LvSegment:
        kind, *flags = printable(self._text(section, "type")).split("+")
        areas: tuple[tuple[str, int], ...] = ()
        metas: tuple[str, ...] = ()
        is_raid = kind.startswith("raid")
        if kind in {"striped", "linear"}:
            areas = self._areas(section, "stripes", "stripe_count")
        elif kind == "mirror":
            areas = self._areas(section, "mirrors", "mirror_count")
        elif is_raid:
            areas, metas = self._images(section)
        is_dealt = len(areas) > 1 and kind not in {"mirror", "raid1"}
        stripe_sectors = self._number(section, "stripe_size", 1, 1 << 32) if is_dealt else 0
        copies = self._number(section, "data_copies", 1, 64) if "data_copies" in section else 2
        return LvSegment(
            start=self._number(section, "start_extent", 0, _EXTENTS_MAX),
            count=self._number(section, "extent_count", 1, _EXTENTS_MAX),
            kind=kind,
            flags=tuple(flags),
            areas=areas,
            metas=metas,
            stripe_bytes=stripe_sectors * SECTOR_BYTES,
            copies=copies,
            unknown=tuple(sorted(set(section) - _RAID_KEYS)) if is_raid else (),
            values={key: printable(item) for key, item in section.items() if isinstance(item, str)},
        )

    def _areas(self, section: Section, key: str, count_key: str) -> tuple[tuple[str, int], ...]:
        words = self._list(section, key)
        count = self._number(section, count_key, 1, len(words))
        areas = tuple(zip(words[::2], words[1::2], strict=False))
        if len(words) != 2 * count:
            raise self._error(f"{len(words)} words for {count} {key}")
        checked: list[tuple[str, int]] = []
        for name, extent in areas:
            if not isinstance(name, str) or not isinstance(extent, int) or extent < 0:
                raise self._error(f"{key} that are not pairs of a name and an extent")
            checked.append((_checked_name(name, self._origin), extent))
        return tuple(checked)

    def _images(self, section: Section) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
        """Return the images of RAID, each from its first extent on, and their metadata volumes."""
        has_metas = _RAID0_LVS not in section
        names: list[str] = []
        for name in self._list(section, "raids" if has_metas else _RAID0_LVS):
            if not isinstance(name, str):
                raise self._error("RAID images that are not names")
            names.append(_checked_name(name, self._origin))
        images = names[1::2] if has_metas else names
        metas = names[::2] if has_metas else []
        key = "device_count" if "device_count" in section else "stripe_count"
        count = self._number(section, key, 1, _IMAGES_MAX)
        if len(images) != count or (has_metas and len(metas) != count):
            raise self._error(f"{len(names)} names for {count} RAID images")
        return tuple((image, 0) for image in images), tuple(metas)

    def _sections(self, section: Section, key: str) -> list[tuple[str, Section]]:
        inner = section.get(key, {})
        if not isinstance(inner, dict):
            raise self._error(f"a '{key}' that is no section")
        return [
            (_checked_name(name, self._origin), item)
            for name, item in inner.items()
            if isinstance(item, dict)
        ]

    def _number(self, section: Section, key: str, low: int, high: int) -> int:
        value = section.get(key)
        if not isinstance(value, int) or not low <= value <= high:
            raise self._error(f"'{key}' of {_shown(value)}")
        return value

    def _text(self, section: Section, key: str) -> str:
        value = section.get(key)
        if not isinstance(value, str):
            raise self._error(f"'{key}' of {_shown(value)}")
        return value

    def _list(self, section: Section, key: str) -> list[int | float | str]:
        value = section.get(key, [])
        return value if isinstance(value, list) else []

    def _uuid(self, section: Section) -> str:
        value = self._text(section, "id")
        if not _UUID.fullmatch(value):
            raise self._error(f"'id' of {_shown(value)}")
        return value

    def _error(self, what: str) -> CorruptError:
        return CorruptError(
            f"the LVM metadata of the volume group '{self._name}' has {what}", origin=self._origin
        )


def _shown(value: Value | Section | None) -> str:
    return "nothing" if value is None else f"'{printable(str(value)[:32])}'"
