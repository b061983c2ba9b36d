"""What libguestfs needs of this machine, looked at without starting anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from formats.guestfs.binding import Binding
from formats.guestfs.settings import EngineSettings

_ROOT = Path("/")
_KERNELS = (
    "boot/vmlinuz-*",
    "boot/vmlinux-*",
    "usr/lib/modules/*/vmlinuz",
    "lib/modules/*/vmlinuz",
)
"""Where distributions keep kernels, as supermin(1) looks for them."""
_APPLIANCE_BYTES = 1 << 30
"""What a built appliance may take; its file is sparse."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why libguestfs cannot start here.

    :ivar remedy: the exact command, where there is one.
    """

    reason: str
    remedy: str


def find_obstacle(
    binding: Binding, settings: EngineSettings, root: Path = _ROOT
) -> Obstacle | None:
    """Return the first thing that keeps the appliance from starting; None if nothing is found.

    :param root: folder that stands for the machine's root.
    """
    return (
        _hypervisor(binding, settings)
        or _appliance(binding, settings)
        or (_kernel(settings, root) if _is_built_here(binding) else None)
        or _cache(binding)
    )


def _hypervisor(binding: Binding, settings: EngineSettings) -> Obstacle | None:
    wanted = binding.hypervisor
    if shutil.which(wanted, path=settings.environment.get("PATH")) is not None:
        return None
    return Obstacle(
        f"qemu is not there: {wanted}",
        "install it: 'apt install qemu-system-x86' (or -arm, …), 'dnf install qemu-kvm-core'",
    )


def _is_built_here(binding: Binding) -> bool:
    """Tell whether the appliance is built by supermin, and not a fixed one that needs no kernel."""
    return any((folder / "supermin.d").is_dir() for folder in _folders(binding))


def _folders(binding: Binding) -> list[Path]:
    return [Path(folder) for folder in binding.appliance_path.split(":") if folder]


def _appliance(binding: Binding, settings: EngineSettings) -> Obstacle | None:
    if not _is_built_here(binding):
        if any((folder / "README.fixed").is_file() for folder in _folders(binding)):
            return None
        return Obstacle(
            f"libguestfs has no appliance in {binding.appliance_path}",
            "install the whole of libguestfs: 'apt install libguestfs0', 'dnf install libguestfs'",
        )
    if shutil.which("supermin", path=settings.environment.get("PATH")) is None:
        return Obstacle(
            "supermin, which builds the appliance, is not there",
            "install it: 'apt install supermin', 'dnf install supermin'",
        )
    return None


def _kernel(settings: EngineSettings, root: Path) -> Obstacle | None:
    if "SUPERMIN_KERNEL" in settings.environment:
        return None
    kernels = sorted({path.resolve() for pattern in _KERNELS for path in root.glob(pattern)})
    if not kernels:
        return Obstacle(
            "there is no Linux kernel here to start the appliance with; containers have none",
            "install one: 'apt install linux-image-amd64' (Ubuntu: linux-image-virtual),"
            " 'dnf install kernel-core'",
        )
    if not any(os.access(kernel, os.R_OK) for kernel in kernels):
        return Obstacle(
            f"only root may read the kernel {kernels[-1]}, as Ubuntu has it",
            f"make it readable: 'sudo chmod 0644 {kernels[-1]}', or so that upgrades leave it so:"
            f" 'sudo dpkg-statoverride --update --add root root 0644 {kernels[-1]}'",
        )
    return None


def _cache(binding: Binding) -> Obstacle | None:
    folder = Path(binding.cache_folder)
    built = folder / f".guestfs-{os.geteuid()}"
    if built.is_dir() and not os.access(built, os.W_OK | os.X_OK):
        return Obstacle(
            f"the folder of the built appliance, {built}, belongs to somebody else",
            "remove it, or name another folder in the environment variable LIBGUESTFS_CACHEDIR",
        )
    if not built.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        return Obstacle(
            f"the appliance cannot be kept in {folder}",
            "name a folder that can be written in the environment variable LIBGUESTFS_CACHEDIR",
        )
    if not (built / "appliance.d" / "root").exists():
        free = shutil.disk_usage(folder).free
        if free < _APPLIANCE_BYTES:
            return Obstacle(
                f"the appliance needs 1 GiB in {folder}, which has {free >> 20:,} MiB",
                "make room, or name another folder in the environment variable LIBGUESTFS_CACHEDIR",
            )
    return None


_FILESYSTEM_PACKAGES = ("xfs", "jfs", "reiserfs", "hfsplus", "nilfs")


def missing_tools(binding: Binding) -> Iterator[str]:
    """Yield the packages of the distribution that would give the appliance more tools."""
    for folder in _folders(binding):
        supermin = folder / "supermin.d"
        if not supermin.is_dir():
            continue
        for name in _FILESYSTEM_PACKAGES:
            if not any(supermin.glob(f"*packages-{name}")):
                yield f"libguestfs-{name}"
