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
    :ivar areas: of a striped segment, (name of a PV or LV, extent there) for each stripe.
    :ivar values: the text keys of other types: ``thin_pool``, ``origin``.
    """

    start: int
    count: int
    kind: str
    flags: tuple[str, ...]
    areas: tuple[tuple[str, int], ...]
    stripe_bytes: int
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
        kind, *flags = self._text(section, "type").split("+")
        areas: tuple[tuple[str, int], ...] = ()
        stripe_sectors = 0
        if kind in {"striped", "linear"}:
            areas = self._areas(section)
            if len(areas) > 1:
                stripe_sectors = self._number(section, "stripe_size", 1, 1 << 32)
        return LvSegment(
            start=self._number(section, "start_extent", 0, _EXTENTS_MAX),
            count=self._number(section, "extent_count", 1, _EXTENTS_MAX),
            kind=kind,
            flags=tuple(flags),
            areas=areas,
            stripe_bytes=stripe_sectors * SECTOR_BYTES,
            values={key: item for key, item in section.items() if isinstance(item, str)},
        )

    def _areas(self, section: Section) -> tuple[tuple[str, int], ...]:
        stripes = self._list(section, "stripes")
        count = self._number(section, "stripe_count", 1, len(stripes))
        areas = tuple(zip(stripes[::2], stripes[1::2], strict=False))
        if len(stripes) != 2 * count:
            raise self._error(f"{len(stripes)} words for {count} stripes")
        checked: list[tuple[str, int]] = []
        for name, extent in areas:
            if not isinstance(name, str) or not isinstance(extent, int) or extent < 0:
                raise self._error("stripes that are not pairs of a name and an extent")
            checked.append((name, extent))
        return tuple(checked)

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
