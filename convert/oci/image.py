"""Images and layers: these objects exist only of what has been written or verified."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from convert.oci.config import History
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.documents import JsonValue
from convert.oci.manifest import with_entry

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
    :ivar referrers: artifacts about the image.
    """

    config: bytes
    manifest: bytes
    entry: Descriptor
    referrers: tuple[Referrer, ...] = ()

    def blobs(self) -> Iterator[bytes]:
        """Yield all of them but the layers, each a blob of its own; some may be equal."""
        yield self.config
        yield self.manifest
        for referrer in self.referrers:
            yield from (*referrer.blobs, referrer.manifest)

    def index(self, old: Mapping[str, JsonValue] | None = None) -> bytes:
        """Return an index with the image and what refers to it; see :func:`with_entry`."""
        return with_entry(old, self.entry, [referrer.entry for referrer in self.referrers])


def index_with(
    images: Iterable[ImageDocuments], old: Mapping[str, JsonValue] | None = None
) -> bytes:
    """Return an index with all of some images, added one after the other."""
    data = b""
    for documents in images:
        data = documents.index(old)
        old = json.loads(data)
    return data


@dataclass(frozen=True, slots=True)
class Referrer:
    """An artifact about an image: what is committed beside it.

    :ivar entry: the manifest's descriptor as it stands in an index.
    """

    blobs: tuple[bytes, ...]
    manifest: bytes
    entry: Descriptor
