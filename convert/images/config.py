"""What the config of an image that others made says (image-spec, config.md).

Docker's and podman's own members (``Healthcheck``, ``OnBuild``, ``Shell`` …) are no part of an OCI
config; they are told of and not carried over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from convert.oci.config import ImageConfig, KeptHistory
from convert.oci.descriptor import Platform
from convert.oci.digest import Digest
from convert.oci.documents import Document
from formats.core.errors import CorruptError, UsageError
from formats.core.finding import Action, Finding

_KNOWN: Final = frozenset(
    {
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
    }
)
_DEPRECATED: Final = frozenset(
    {
        "ArgsEscaped",
        "AttachStderr",
        "AttachStdin",
        "AttachStdout",
        "Domainname",
        "Hostname",
        "Image",
        "OpenStdin",
        "StdinOnce",
        "Tty",
    }
)
"""Members of Docker's that say how ``docker build`` ran, or nothing."""
_FRACTION = re.compile(r"\.\d+")


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """A config, read.

    :ivar diff_ids: of the layers, lowest first.
    :ivar history: as it stands there; one entry that is not empty for each layer, made up where
        the config has another number of them.
    :ivar findings: what was left out.
    """

    config: ImageConfig
    diff_ids: tuple[Digest, ...]
    history: tuple[KeptHistory, ...]
    findings: tuple[Finding, ...]


def read_config(document: Document) -> ReadConfig:
    """Read a config.

    :raises CorruptError: if it is damaged, or says what no runtime would take.
    """
    rootfs = document.object("rootfs")
    if rootfs.text("type") != "layers":
        raise rootfs.bad("type", "is not 'layers'")
    diff_ids = [Digest.parse(text, document.origin) for text in rootfs.texts("diff_ids")]
    config, findings = _execution(document)
    return ReadConfig(config, tuple(diff_ids), _history(document, len(diff_ids)), tuple(findings))


def _execution(document: Document) -> tuple[ImageConfig, list[Finding]]:
    execution = document.optional_object("config")
    execution = execution or Document({}, document.what, document.origin)
    entrypoint = execution.texts("Entrypoint")
    cmd = execution.texts("Cmd")
    names = ("ExposedPorts", "Volumes")
    ports, volumes = (execution.optional_object(name) for name in names)
    try:
        config = ImageConfig(
            platform=Platform.parse(document),
            entrypoint=tuple(entrypoint) or None,
            cmd=tuple(cmd) or None,
            env=_environment(execution),
            user=execution.optional_text("User") or "",
            working_dir=_absolute(execution.optional_text("WorkingDir") or ""),
            exposed_ports=tuple(sorted(ports.values)) if ports else (),
            volumes=tuple(sorted(_absolute(path) for path in volumes.values)) if volumes else (),
            stop_signal=execution.optional_text("StopSignal") or "",
            labels=tuple(sorted(execution.mapping("Labels").items())),
            created=_seconds(document),
            author=document.optional_text("author") or None,
        )
    except UsageError as error:
        raise CorruptError(f"the config: {error.message}", origin=document.origin) from error
    return config, _left_out(execution)


def _left_out(execution: Document) -> list[Finding]:
    names = [
        name
        for name, value in sorted(execution.values.items())
        if value and name not in _KNOWN and name not in _DEPRECATED
    ]
    where = str(execution.origin).encode()
    return [
        Finding("image-config", where, Action.DROPPED, f"{name} is no part of an OCI config")
        for name in names
    ]


def _environment(execution: Document) -> tuple[str, ...]:
    """Return the variables; of one that is set twice the last counts, as for the kernel's exec."""
    by_name = {item.partition("=")[0]: item for item in execution.texts("Env")}
    return tuple(by_name.values())


def _absolute(path: str) -> str:
    """Return a path as runtimes take it: relative ones begin at the root."""
    return path if not path or path.startswith("/") else f"/{path}"


def _seconds(document: Document) -> int | None:
    """Return the time of creation, rounded down; None if it is missing, or says nothing."""
    text = document.optional_text("created")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(_FRACTION.sub("", text))
        return int(found.timestamp()) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _history(document: Document, layers: int) -> tuple[KeptHistory, ...]:
    found: tuple[KeptHistory, ...] = ()
    if document.values.get("history") is not None:
        entries = document.objects("history")
        found = tuple(KeptHistory(entry.values, entry.flag("empty_layer")) for entry in entries)
    if sum(not entry.is_empty for entry in found) == layers:
        return found
    return (KeptHistory({"comment": "layer of the base"}, is_empty=False),) * layers
