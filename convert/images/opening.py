"""Opening a container image, wherever it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from convert.images.layers import Progress, Workshop, unpack
from convert.images.reference import RegistryReference, parse_reference
from convert.images.registry.access import RegistryAccess
from convert.images.stored import ReadImage, read_stored
from convert.images.tree import ImageTree
from convert.oci.base import Base, BaseLayer
from convert.oci.config import ImageConfig
from convert.oci.descriptor import Platform
from convert.oci.digest import Digest
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin, printable
from formats.core.tree import TreeInfo

_NOWHERE = RegistryAccess()


class OpenedImage:
    """An image whose documents were read. Its layers come, verified, when they are asked for.

    :ivar reference: as the user named it.
    :ivar findings: what its config says that is not carried over.
    """

    def __init__(self, reference: str, read: ReadImage, workshop: Workshop) -> None:
        self.reference = reference
        self.findings: tuple[Finding, ...] = read.config.findings
        self._read = read
        self._workshop = workshop
        self._layers: tuple[BaseLayer, ...] | None = None
        self._tree: ImageTree | None = None

    @property
    def name(self) -> str | None:
        """How a registry would be asked for it (``example.org/team/web:1``); None if unknown."""
        return self._read.name

    @property
    def digest(self) -> Digest | None:
        """Digest of its manifest; None in a docker-archive, which has none."""
        return self._read.digest

    @property
    def config(self) -> ImageConfig:
        """Its config, apart from layers and history."""
        return self._read.config.config

    def layers(self) -> tuple[BaseLayer, ...]:
        """Return its layers, lowest first, fetched, unpacked and verified at the first call.

        :raises CorruptError: if one is not what the image says, or is damaged.
        :raises RegistryError: if one cannot be fetched.
        :raises LimitError: if they are larger than the limits allow.
        """
        if self._layers is None:
            self._layers = tuple(unpack(claim, self._workshop) for claim in self._read.layers)
        return self._layers

    def tree(self) -> ImageTree:
        """Return what its layers leave when they are applied to each other; raises likewise."""
        if self._tree is None:
            facts = {"platform": str(self.config.platform), "layers": f"{len(self._read.layers)}"}
            if self.digest is not None:
                facts["digest"] = str(self.digest)
            self._tree = ImageTree(
                [layer.tar for layer in self.layers()],
                self.config,
                TreeInfo("image", facts=facts),
                Origin((printable(self.reference),)),
                self._workshop.limits,
            )
        return self._tree

    def base(self) -> Base:
        """Return what another image that is put on this one needs of it; raises likewise."""
        return Base(self.name, self.digest, self.layers(), self._read.config.history)


def open_image(
    reference: str,
    *,
    on_close: Callable[[Callable[[], None]], object],
    platform: Platform | None = None,
    limits: Limits = DEFAULT_LIMITS,
    spool: Path | None = None,
    progress: Progress | None = None,
    access: RegistryAccess = _NOWHERE,
) -> OpenedImage:
    """Open an image.

    :param reference: ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]``,
        ``docker-archive:FILE[:NAME:TAG]`` or ``docker://HOST/NAME[:TAG|@DIGEST]``.
    :param on_close: told what to call when the image, its tree and layers are done with.
    :param platform: which image, where there are several; what is there has to be of it.
    :param spool: folder for unpacked layers; default: the system's temporary folder.
    :param progress: called with a stage's name, bytes done and bytes in all.
    :param access: how registries are reached; only asked for ``docker://``.
    :raises UsageError: if it names no image, or none that is there.
    :raises InputReadError: if there is no such folder or file.
    :raises AmbiguousError: if several images could be meant.
    :raises UnsupportedError: for what is no image, or none of that platform.
    :raises CorruptError: for documents that are damaged, or not those that were asked for.
    :raises RegistryError: if a registry refuses, or cannot be reached.
    """
    where = parse_reference(reference)
    folder = spool or Path(tempfile.gettempdir())
    workshop = Workshop(limits, folder, on_close, progress or _silent)
    if isinstance(where, RegistryReference):
        from convert.images.registry.image import read_registry  # noqa: PLC0415 - files need no HTTP

        return OpenedImage(reference, read_registry(where, platform, access, workshop), workshop)
    return OpenedImage(reference, read_stored(where, platform, workshop), workshop)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
