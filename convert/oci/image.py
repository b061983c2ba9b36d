"""Images and layers: these objects exist only of what has been written or verified."""

from __future__ import annotations

from dataclasses import dataclass

from convert.oci.config import History
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest

MAXIMUM_LAYERS = 127
"""More are refused by containerd and by Docker's overlay driver."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in its place.

    :ivar descriptor: of the blob, compressed as it is.
    :ivar diff_id: digest of the tar (config.md, "Layer DiffID").
    :ivar uncompressed_size: bytes of the tar.
    """

    descriptor: Descriptor
    diff_id: Digest
    uncompressed_size: int
    history: History

    @property
    def digest(self) -> Digest:
        """Digest of the blob."""
        return self.descriptor.digest


@dataclass(frozen=True, slots=True)
class Image:
    """An image in its place.

    :ivar config: descriptor of the config; its digest is what engines call the image's ID.
    :ivar manifest: descriptor of the manifest, what registries call the image's digest. A
        docker-archive stores none; it is what an ``oci:`` destination would have got.
    :ivar layers: lowest first.
    """

    platform: Platform
    config: Descriptor
    manifest: Descriptor
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> Digest:
        """Digest of the manifest."""
        return self.manifest.digest

    @property
    def size(self) -> int:
        """Bytes that a client has to fetch."""
        blobs = {layer.digest: layer.descriptor.size for layer in self.layers}
        return sum(blobs.values()) + self.config.size + self.manifest.size


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """The bytes that are committed after the layers.

    :ivar entry: the manifest's descriptor as it stands in an index, with its name.
    """

    config: bytes
    manifest: bytes
    entry: Descriptor
