"""What a machine's descriptor adds to the image: labels, and ports that it means to serve.

What the files of the guest say comes first where both name the same thing; the title and version
of a product come before those of the operating system it is built on.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.core.machine import Machine, StatedPort

LABEL_VENDOR = "org.opencontainers.image.vendor"
LABEL_MACHINE = "dev.oci-convert.machine"
LABEL_LICENCE = "dev.oci-convert.machine.licence"

_PROPERTIES_MAX = 100
_VALUE_MAX = 1024
_LICENCE_MAX = 4096
_SSH = "22/tcp"
"""Forwarded to log in to the machine; a container that serves ssh says so itself."""


def machine_labels(machine: Machine) -> Iterator[tuple[str, str]]:
    """Yield what the descriptor says besides title and version; long texts are cut."""
    yield LABEL_MACHINE, _cut(machine.name, _VALUE_MAX)
    if machine.vendor is not None:
        yield LABEL_VENDOR, _cut(machine.vendor, _VALUE_MAX)
    if machine.licence is not None:
        yield LABEL_LICENCE, _cut(machine.licence, _LICENCE_MAX)
    for name, value in sorted(machine.properties.items())[:_PROPERTIES_MAX]:
        yield f"{LABEL_MACHINE}.{name}", _cut(value, _VALUE_MAX)


def machine_ports(machine: Machine | None) -> dict[str, StatedPort]:
    """Return the ports that the descriptor means for others to reach, without that of ssh."""
    ports = machine.ports if machine is not None else ()
    return {stated.port: stated for stated in ports if stated.port != _SSH}


def _cut(text: str, length: int) -> str:
    text = text.replace("\0", "").strip()
    return text if len(text) <= length else text[: length - 1] + "…"
