"""What the caller decides about the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How libguestfs is found, started and kept within bounds.

    :ivar environment: of the child process; what the user set as ``LIBGUESTFS_*`` and
        ``SUPERMIN_*`` counts, and ``PATH`` is where interpreters are looked for.
    :ivar launch_seconds: time for the start of the appliance; the first one builds it.
    :ivar call_seconds: time for any single call after that, a filesystem check included.
    :ivar memory_mib: memory of the appliance. LUKS2 may need as much as 1 GiB to open a volume.
    :ivar overlay_mib: memory for what the kernel writes: replayed journals, repairs.
    :ivar force_tcg: emulate the processor even where KVM seems to work; None: when KVM fails.
    :ivar interpreter: the Python that has the binding; None: it is searched for.
    """

    environment: Mapping[str, str]
    launch_seconds: float = 600
    call_seconds: float = 300
    memory_mib: int = 1280
    overlay_mib: int = 256
    force_tcg: bool | None = None
    interpreter: str | None = None
