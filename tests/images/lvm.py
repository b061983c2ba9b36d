"""Volume groups made by ``lvm(8)`` on loop devices.

No device-mapper is needed: volumes are never activated. What they hold is written where ``lvs`` and
``pvs`` say that their extents are, laid out as the kernel's documentation of the linear and striped
targets has it (Documentation/admin-guide/device-mapper).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images.volumes import blank, loop_device
from tests.support.programs import need, run

_LV_FIELDS = (
    "vg_name,lv_name,lv_uuid,lv_size,lv_path,lv_dm_path,segtype,"
    "stripes,stripe_size,seg_start,seg_size,seg_pe_ranges,vg_extent_size"
)


@dataclass(frozen=True, slots=True)
class Leg:
    """Where a segment is on one device; the offset is in bytes."""

    device: str
    offset: int


@dataclass(frozen=True, slots=True)
class LvmSegment:
    """One line of ``lvs --segments``, in bytes; a linear one has one leg and one chunk."""

    kind: str
    start: int
    size: int
    chunk: int
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class LvmVolume:
    """A logical volume as ``lvs`` has it."""

    label: str
    uuid: str
    size: int
    device_names: tuple[str, str]
    segments: tuple[LvmSegment, ...]


class Lvm:
    """The command, made to see these devices and no others, and to leave no traces."""

    def __init__(self, devices: Sequence[Path], folder: Path) -> None:
        accepted = "".join(f'"a|^{device}$|",' for device in devices)
        self.devices = tuple(devices)
        self._config = (
            f'devices{{filter=[{accepted}"r|.*|"]'
            " use_devicesfile=0 obtain_device_list_from_udev=0}"
            " activation{udev_sync=0 udev_rules=0 monitoring=0}"
            " backup{backup=0 archive=0}"
            f' global{{use_lvmpolld=0 event_activation=0 locking_dir="{folder}"}}'
        )

    def __call__(self, command: str, *arguments: str | Path) -> str:
        """Run a command and return what it printed."""
        options = ("--driverloaded", "n", "--config", self._config)
        return run("lvm", command, *options, *arguments, timeout=30).stdout.decode()

    def create(self, name: str, *arguments: str) -> None:
        """Make a logical volume of ``--extents`` or ``--size`` and more, without touching it."""
        group, _, volume = name.partition("/")
        self("lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", volume, *arguments, group)

    def _report(self, command: str, fields: str, *options: str) -> list[dict[str, str]]:
        units = ("--units", "b", "--nosuffix", "--reportformat", "json")
        text = self(command, *options, *units, "-o", fields)
        rows: list[dict[str, str]] = []
        report: dict[str, Any]
        for report in json.loads(text)["report"]:
            for items in report.values():
                rows += items
        return rows

    def kinds(self) -> dict[str, str]:
        """Return the segment type of each logical volume, hidden ones too."""
        rows = self._report("lvs", "lv_name,segtype", "--all")
        return {row["lv_name"].strip("[]"): row["segtype"] for row in rows}

    def volumes(self) -> list[LvmVolume]:
        """Return what ``lvs`` lists, by label."""
        starts = {
            row["pv_name"]: int(row["pe_start"]) for row in self._report("pvs", "pv_name,pe_start")
        }
        found: dict[str, LvmVolume] = {}
        for row in self._report("lvs", _LV_FIELDS, "--sort", "vg_name,lv_name,seg_start"):
            label = f"{row['vg_name']}/{row['lv_name']}"
            known = found.get(label)
            names = (row["lv_dm_path"].removeprefix("/dev/"), row["lv_path"].removeprefix("/dev/"))
            found[label] = LvmVolume(
                label=label,
                uuid=row["lv_uuid"],
                size=int(row["lv_size"]),
                device_names=names,
                segments=(*(known.segments if known else ()), _segment(row, starts)),
            )
        return list(found.values())

    def write(self, volume: LvmVolume, data: bytes) -> None:
        """Write what a volume holds to where its extents are."""
        assert len(data) == volume.size
        with ExitStack() as opened:
            files = {}
            for device in self.devices:
                files[str(device)] = os.open(device, os.O_WRONLY)
                opened.callback(os.close, files[str(device)])
            for segment in volume.segments:
                for number, at in enumerate(range(0, segment.size, segment.chunk)):
                    if not segment.legs:
                        continue
                    row, index = divmod(number, len(segment.legs))
                    leg = segment.legs[index]
                    start = segment.start + at
                    piece = data[start : start + segment.chunk]
                    os.pwrite(files[leg.device], piece, leg.offset + row * segment.chunk)
            for file in files.values():
                os.fsync(file)


def _segment(row: dict[str, str], starts: dict[str, int]) -> LvmSegment:
    legs = []
    for text in row["seg_pe_ranges"].split():
        device, _, extents = text.rpartition(":")
        first = int(extents.partition("-")[0])
        legs.append(Leg(device, starts[device] + first * int(row["vg_extent_size"])))
    size = int(row["seg_size"])
    chunk = int(row["stripe_size"]) if len(legs) > 1 else size
    assert len(legs) in {0, int(row["stripes"])}
    return LvmSegment(row["segtype"], int(row["seg_start"]), size, chunk, tuple(legs))


@contextmanager
def lvm_on(folder: Path, *images: Path) -> Iterator[Lvm]:
    """Attach images to loop devices and lend ``lvm`` for them."""
    need("lvm")
    with ExitStack() as attached:
        yield Lvm([attached.enter_context(loop_device(image)) for image in images], folder)


def blank_disks(folder: Path, count: int, size: int) -> list[Path]:
    """Make empty disk images."""
    return [blank(folder / f"disk{number}.raw", size) for number in range(count)]
