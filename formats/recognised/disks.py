"""Disk images that are recognised and not read."""

from __future__ import annotations

from collections.abc import Callable

from formats.core.reader import Category, Signature
from formats.core.registry import SUPERSEDES_ALL
from formats.core.source import ByteSource
from formats.recognised import probes
from formats.recognised.row import RecognisedFormat, signature_suffices

_QEMU_IMG = "convert it with 'qemu-img convert -O qcow2' first"
# An image with a trailer starts with the guest's own bytes: partition table, filesystem.
_WRAPS = frozenset({SUPERSEDES_ALL})


def _disk(
    name: str,
    title: str,
    *signatures: Signature,
    hint: str = _QEMU_IMG,
    check: Callable[[ByteSource], bool] = signature_suffices,
    supersedes: frozenset[str] = frozenset(),
    family: str | None = None,
) -> RecognisedFormat:
    return RecognisedFormat(
        name,
        Category.DISK,
        signatures,
        title,
        hint,
        check=check,
        supersedes=supersedes,
        family=family,
    )


DISKS: tuple[RecognisedFormat, ...] = (
    _disk("bochs", "a Bochs disk", Signature(0, b"Bochs Virtual HD Image")),
    _disk(
        "dmg",
        "an Apple disk image (UDIF dmg)",
        Signature(-512, b"koly"),
        supersedes=_WRAPS,
        family="macOS",
    ),
    _disk(
        "ewf",
        "a forensic disk image (EWF, E01)",
        Signature(0, b"EVF\x09\x0d\x0a\xff\x00"),
        Signature(0, b"EVF2\x0d\x0a\x81\x00"),
        hint="write it out as a raw disk with 'ewfexport -f raw' first",
    ),
    _disk(
        "parallels-bundle",
        "the description of a Parallels disk",
        Signature(0, b"<?xml"),
        Signature(0, b"<Parallels_disk_image"),
        hint="give the image beside it (.hds), if there is one only; merge others with"
        " 'prl_disk_tool merge'",
        check=probes.is_parallels_description,
    ),
    _disk("qed", "a QEMU enhanced disk (qed)", Signature(0, b"QED\0")),
    _disk(
        "wim",
        "a Windows image (wim)",
        Signature(0, b"MSWIM\0\0\0"),
        hint="Windows does not run in a Linux container",
        family="Windows",
    ),
)
