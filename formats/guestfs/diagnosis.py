"""Whether libguestfs works here, and what to do where it does not: for ``convert doctor``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from formats.core.errors import ConvertError, MissingDependencyError
from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.guestfs.binding import Binding, find_binding
from formats.guestfs.engine import Appliance
from formats.guestfs.installation import find_obstacle, missing_tools
from formats.guestfs.settings import EngineSettings
from formats.guestfs.start import is_kvm_usable

_DISK_BYTES = 1 << 20
FILESYSTEMS = (
    *("btrfs", "exfat", "ext4", "f2fs", "hfsplus", "jfs", "nilfs2", "ntfs", "reiserfs", "ufs"),
    *("vfat", "xfs"),
)
"""What a started appliance is asked whether it knows it."""

_WITHOUT_KVM = (
    "not usable: starts take a minute, and reads are ten times slower; be in the group 'kvm',"
    " and allow nested virtualisation where this is a virtual machine"
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state of libguestfs on this machine.

    :ivar works: whether it starts; without a start, whether nothing is known to prevent it.
    :ivar reason: why it does not work.
    :ivar remedy: what to do about it.
    :ivar details: worth showing: interpreter, version, KVM, filesystems.
    """

    works: bool
    reason: str | None = None
    remedy: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


def diagnose(settings: EngineSettings, *, boot: bool) -> Diagnosis:
    """Examine the installation.

    :param boot: start an appliance as well, which takes seconds with KVM and a minute without;
        else only files are looked at, in less than a second.
    """
    try:
        binding = find_binding(settings)
    except MissingDependencyError as error:
        return Diagnosis(works=False, reason=error.message, remedy=error.hint)
    details = _details(binding)
    obstacle = find_obstacle(binding, settings)
    if obstacle is not None:
        return Diagnosis(
            works=False, reason=obstacle.reason, remedy=obstacle.remedy, details=details
        )
    if boot:
        try:
            details.update(_started(settings))
        except ConvertError as error:
            return Diagnosis(works=False, reason=error.message, remedy=error.hint, details=details)
    return Diagnosis(works=True, details=details)


def _details(binding: Binding) -> dict[str, str]:
    details = {
        "version": binding.version,
        "interpreter": binding.interpreter,
        "kvm": "/dev/kvm is there" if is_kvm_usable() else _WITHOUT_KVM,
    }
    missing = sorted(missing_tools(binding))
    if missing:
        details["not installed"] = ", ".join(missing)
    return details


def _started(settings: EngineSettings) -> dict[str, str]:
    disk = MemorySource(bytes(_DISK_BYTES), Origin(("test disk",)))
    began = time.monotonic()
    with Appliance([disk], settings) as appliance:
        seconds = time.monotonic() - began
        known = [name for name in FILESYSTEMS if appliance.knows(name)]
        kvm = _WITHOUT_KVM if appliance.is_emulated else "used"
    return {"start": f"{seconds:.0f} s", "filesystems": ", ".join(known), "kvm": kvm}
