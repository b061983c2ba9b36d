"""What a user's ``TRANSPORT:DETAILS`` names, as in containers-transports(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from convert.destination import ImageDestination, parse_image
from convert.oci.digest import Digest
from convert.oci.names import DockerName
from formats.core.errors import ConvertError, UsageError, quoted

_STORED: Final = ("oci:", "oci-archive:", "docker-archive:")
_REGISTRY: Final = "docker://"
_FOLDER: Final = "dir:"
_DETOURS: Final = {
    "docker-daemon:": "save it first: docker save -o FILE NAME, then docker-archive:FILE",
    "containers-storage:": "save it first: podman save -o FILE NAME, then docker-archive:FILE",
}
"""What reaches a place that is not read directly."""


@dataclass(frozen=True, slots=True)
class RegistryReference:
    """An image in a registry.

    :ivar digest: of its manifest or index; it counts, and the tag does not, where both are given.
    """

    name: DockerName
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> RegistryReference:
        """Read ``HOST/NAME[:TAG][@DIGEST]``.

        :raises UsageError: for anything else.
        """
        name, at, digest = text.partition("@")
        try:
            return cls(DockerName.parse(name), Digest.parse(digest) if at else None)
        except UsageError:
            raise
        except ConvertError as error:
            raise UsageError(f"{quoted(text)}: {error.message}") from error

    def __str__(self) -> str:
        if self.digest is None:
            return str(self.name)
        return f"{self.name.domain}/{self.name.repository}@{self.digest}"


ImageReference: TypeAlias = ImageDestination | RegistryReference


def is_image(text: str) -> bool:
    """Tell whether a source or base is spelled as a container image."""
    return text.startswith((*_STORED, "docker:", *_DETOURS))


def is_stated_folder(text: str) -> bool:
    """Tell whether a source is ``dir:PATH``."""
    return text.startswith(_FOLDER)


def folder_of(text: str) -> Path | None:
    """Return the folder of ``dir:PATH``, or of the path of one; None for anything else.

    :raises UsageError: for ``dir:`` without a path.
    """
    if not is_stated_folder(text):
        # whoever opens it says what is wrong with a path that cannot be looked at
        is_folder = os.path.isdir(text)  # noqa: PTH112 - Path's raises where this says no
        return Path(text) if is_folder else None
    path = text.removeprefix(_FOLDER)
    if not path:
        raise UsageError("dir: names no path")
    return Path(path)


def parse_reference(text: str) -> ImageReference:
    """Return the image that ``oci:``, ``oci-archive:``, ``docker-archive:`` or ``docker://`` names.

    :raises UsageError: if it names something else.
    """
    if text.startswith(_REGISTRY):
        return RegistryReference.parse(text.removeprefix(_REGISTRY))
    for transport, detour in _DETOURS.items():
        if text.startswith(transport):
            raise UsageError(f"{transport} is not read directly", hint=detour)
    if not text.startswith(_STORED):
        raise UsageError(
            f"{quoted(text)} is not an image",
            hint=f"begin with one of {', '.join((*_STORED, _REGISTRY))}",
        )
    return parse_image(text)
