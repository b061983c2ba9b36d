"""Where a result goes, named as in containers-transports(5).

========================================  ===================================================
``oci:DIR[:TAG]``                         image layout in a folder
``oci-archive:FILE|-[:TAG]``              image layout in a tar file, loads in Docker as well
``docker-archive:FILE|-[:NAME[:TAG]]``    what ``docker save`` writes
``tar:FILE|-``                            the bare tree as a tar file
``dir:PATH``                              the bare tree as files
========================================  ===================================================

``-`` is standard output; a file of that name is ``./-``. As in skopeo and podman, a path that is
followed by a tag ends at the *first* colon: it cannot hold one itself. ``tar:`` and ``dir:`` take
no tag, so their paths can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from convert.oci.names import DockerName, check_ref_name
from formats.core.errors import UsageError, quoted

STANDARD_OUTPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class LayoutDestination:
    """An OCI layout in a folder.

    :ivar tag: ``org.opencontainers.image.ref.name`` of the image; None for no name.
    """

    folder: Path
    tag: str | None = None

    def __str__(self) -> str:
        return _spelled("oci", self.folder, self.tag)


@dataclass(frozen=True, slots=True)
class OciArchiveDestination:
    """An OCI layout in a tar file; ``file`` is None for standard output."""

    file: Path | None
    tag: str | None = None

    def __str__(self) -> str:
        return _spelled("oci-archive", self.file, self.tag)


@dataclass(frozen=True, slots=True)
class DockerArchiveDestination:
    """An archive as ``docker save`` writes it; ``file`` is None for standard output."""

    file: Path | None
    name: DockerName | None = None

    def __str__(self) -> str:
        return _spelled("docker-archive", self.file, str(self.name) if self.name else None)


@dataclass(frozen=True, slots=True)
class TarDestination:
    """The bare tree as a tar file; ``file`` is None for standard output."""

    file: Path | None

    def __str__(self) -> str:
        return _spelled("tar", self.file, None)


@dataclass(frozen=True, slots=True)
class FolderDestination:
    """The bare tree as files below a folder."""

    folder: Path

    def __str__(self) -> str:
        return _spelled("dir", self.folder, None)


ImageDestination: TypeAlias = LayoutDestination | OciArchiveDestination | DockerArchiveDestination
Destination: TypeAlias = ImageDestination | TarDestination | FolderDestination


def parse_destination(text: str) -> Destination:
    """Return what a user's ``TRANSPORT:DETAILS`` names. The filesystem is not looked at.

    :raises UsageError: if it names nothing that can be written; the hint says what to do instead.
    """
    transport, colon, details = text.partition(":")
    if not colon or (transport not in _PARSERS and transport not in _DETOURS):
        raise UsageError(
            f"{quoted(text)} is not a destination",
            hint=f"begin with one of {', '.join(f'{name}:' for name in _PARSERS)}",
        )
    if transport in _DETOURS:
        raise UsageError(f"{transport}: is not written directly", hint=_DETOURS[transport](details))
    if "\0" in details:
        raise UsageError(f"{quoted(text)} holds a NUL")
    return _PARSERS[transport](details)


def parse_image(text: str) -> ImageDestination:
    """Return the image that an existing ``oci:``, ``oci-archive:`` or ``docker-archive:`` names.

    :raises UsageError: if it names something else.
    """
    found = parse_destination(text)
    if isinstance(found, TarDestination | FolderDestination):
        raise UsageError(
            f"{quoted(text)} is not an image",
            hint="name an oci:, oci-archive: or docker-archive: one",
        )
    return found


def _spelled(transport: str, path: Path | None, reference: str | None) -> str:
    shown = STANDARD_OUTPUT if path is None else str(path)
    if path is not None and shown == STANDARD_OUTPUT:
        shown = f"./{shown}"  # a Path has forgotten how it was spelled
    return f"{transport}:{shown}" + (f":{reference}" if reference else "")


def _path(text: str, transport: str) -> Path:
    if not text:
        raise UsageError(f"{transport}: names no path")
    return Path(text)


def _file(text: str, transport: str) -> Path | None:
    if text.endswith("/"):
        raise UsageError(f"{quoted(text)} is a folder, {transport}: writes a file")
    return None if text == STANDARD_OUTPUT else _path(text, transport)


def _split(details: str) -> tuple[str, str | None]:
    """Split ``PATH[:REFERENCE]`` at the first colon."""
    path, colon, reference = details.partition(":")
    return path, reference if colon else None


def _parse_layout(details: str) -> LayoutDestination:
    path, tag = _split(details)
    if path == STANDARD_OUTPUT:
        raise UsageError(
            "a layout is a folder and cannot go to standard output", hint="use oci-archive:-"
        )
    return LayoutDestination(_path(path, "oci"), None if tag is None else check_ref_name(tag))


def _parse_oci_archive(details: str) -> OciArchiveDestination:
    path, tag = _split(details)
    return OciArchiveDestination(
        _file(path, "oci-archive"), None if tag is None else check_ref_name(tag)
    )


def _parse_docker_archive(details: str) -> DockerArchiveDestination:
    path, name = _split(details)
    return DockerArchiveDestination(
        _file(path, "docker-archive"), None if name is None else DockerName.parse(name)
    )


def _parse_tar(details: str) -> TarDestination:
    return TarDestination(_file(details, "tar"))


def _parse_folder(details: str) -> FolderDestination:
    if details == STANDARD_OUTPUT:
        raise UsageError("a folder cannot go to standard output", hint="use tar:-")
    return FolderDestination(_path(details, "dir"))


_PARSERS: Final[dict[str, Callable[[str], Destination]]] = {
    "oci": _parse_layout,
    "oci-archive": _parse_oci_archive,
    "docker-archive": _parse_docker_archive,
    "tar": _parse_tar,
    "dir": _parse_folder,
}

_DETOURS: Final[dict[str, Callable[[str], str]]] = {
    "docker": lambda details: (
        f"write oci:DIR:TAG, then run: skopeo copy oci:DIR:TAG docker:{details}"
    ),
    "docker-daemon": lambda details: (
        f"write docker-archive:FILE:{details}, then run: docker load -i FILE"
    ),
    "containers-storage": lambda details: (
        f"write oci-archive:FILE:{details}, then run: podman load -i FILE"
    ),
}
"""What reaches a place that is not written directly."""
