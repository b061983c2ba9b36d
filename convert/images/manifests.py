"""From an index or a manifest to one image's documents, for images that others made.

Read are the OCI types (image-spec, media-types.md) and Docker's of "Image Manifest Version 2,
Schema 2", which registries and archives still hold. Every document is the one that its digest
names. An index is followed to the one manifest of a platform; attestations beside it
(``unknown/unknown``) are no images. ``urls`` are never followed.

Refused by name: schema 1 manifests, artifacts that are no images, encrypted layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from convert.layers.compress import Codec
from convert.oci import media
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.documents import DOCUMENT_BYTES, Document, decode
from convert.oci.image import MAXIMUM_LAYERS
from convert.oci.manifest import Manifest, parse_index
from formats.core.errors import (
    AmbiguousError,
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.origin import Origin
from formats.core.source import BytesLike

_DOCKER = "application/vnd.docker"
MANIFEST_TYPES: Final = (media.MANIFEST, f"{_DOCKER}.distribution.manifest.v2+json")
INDEX_TYPES: Final = (media.INDEX, f"{_DOCKER}.distribution.manifest.list.v2+json")
_SCHEMA_1: Final = f"{_DOCKER}.distribution.manifest.v1"
_CONFIG_TYPES: Final = (media.CONFIG, f"{_DOCKER}.container.image.v1+json")
_FOREIGN_TYPES: Final = {
    f"{_DOCKER}.image.rootfs.diff.tar": Codec.NONE,
    f"{_DOCKER}.image.rootfs.diff.tar.gzip": Codec.GZIP,
    f"{_DOCKER}.image.rootfs.diff.tar.zstd": Codec.ZSTD,
    f"{_DOCKER}.image.rootfs.foreign.diff.tar": Codec.NONE,
    f"{_DOCKER}.image.rootfs.foreign.diff.tar.gzip": Codec.GZIP,
    "application/vnd.oci.image.layer.nondistributable.v1.tar": Codec.NONE,
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": Codec.GZIP,
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": Codec.ZSTD,
}
"""Types of layers that are read and never written."""
_LAYER_CODECS: Final = {**media.LAYER_CODECS, **_FOREIGN_TYPES}

_DEEPEST_INDEX = 3
"""Indexes in indexes; nobody is known to make more than two."""
_UNKNOWN = Platform("unknown", "unknown")
_USUAL_VARIANTS: Final = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
"""What an absent variant means (containerd's platforms package documents the same)."""


class Documents(Protocol):
    """Where documents come from."""

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    def document(self, descriptor: Descriptor, what: str) -> BytesLike:
        """Return the bytes of a document, not checked yet.

        :param what: its name for messages: "the manifest".
        """
        ...


@dataclass(frozen=True, slots=True)
class FoundImage:
    """The documents of one image, with the digests that are claimed of them.

    :ivar descriptor: of the manifest.
    """

    descriptor: Descriptor
    manifest: Manifest
    config: Document


def find_image(
    documents: Documents, entry: Descriptor, platform: Platform | None = None
) -> FoundImage:
    """Follow a descriptor to an image.

    :param platform: which one, where an index has several.
    :raises AmbiguousError: if it takes a choice.
    :raises UnsupportedError: for what is no image, or none of that platform.
    :raises CorruptError: for documents that are damaged, or not those that were asked for.
    :raises LimitError: for too large ones.
    """
    for _ in range(_DEEPEST_INDEX + 1):
        if entry.media_type in MANIFEST_TYPES:
            return _image(documents, entry, platform)
        if entry.media_type not in INDEX_TYPES:
            break
        index = _read(documents, entry, "the index")
        entry = choose(parse_index(index, entry.media_type), platform, documents.origin)
    else:
        raise LimitError(
            f"indexes lie in indexes more than {_DEEPEST_INDEX} deep", origin=documents.origin
        )
    raise _not_an_image(entry.media_type, documents.origin)


def choose(entries: Sequence[Descriptor], platform: Platform | None, origin: Origin) -> Descriptor:
    """Return the image of an index that is meant.

    :raises AmbiguousError: if there are several.
    :raises UnsupportedError: if there is none for that platform, or none at all.
    """
    known = (*MANIFEST_TYPES, *INDEX_TYPES)
    images = [
        entry
        for entry in entries
        if entry.media_type in known and entry.platform != _UNKNOWN and entry.artifact_type is None
    ]
    found = images
    if platform is not None:
        # one that does not say its platform is held against it when its config is there
        found = [
            entry for entry in images if entry.platform is None or fits(entry.platform, platform)
        ]
    if len(found) == 1:
        return found[0]
    offered = ", ".join(sorted({str(entry.platform) for entry in images if entry.platform}))
    if found:
        raise AmbiguousError(
            f"holds {len(found)} images{f': {offered}' if offered else ''}",
            origin=origin,
            hint="say which, with --platform or by its tag or digest",
        )
    wanted = f"no image for {platform}" if platform is not None and images else "no image"
    raise UnsupportedError(
        f"holds {wanted}", origin=origin, hint=f"there are: {offered}" if offered else None
    )


def fits(offered: Platform, wanted: Platform) -> bool:
    """Tell whether an image of one platform is of the other; no variant is the usual one."""
    return _plain(offered) == _plain(wanted)


def _plain(platform: Platform) -> Platform:
    usual = _USUAL_VARIANTS.get(platform.architecture)
    return replace(platform, variant=platform.variant or usual, os_version=None)


def layer_codec(media_type: str, origin: Origin) -> Codec:
    """Return how a layer of this type is compressed.

    :raises EncryptedError: if it is encrypted.
    :raises UnsupportedError: if it is not read.
    """
    codec = _LAYER_CODECS.get(media_type)
    if codec is not None:
        return codec
    if media_type.endswith("+encrypted"):
        raise EncryptedError(
            "has encrypted layers",
            origin=origin,
            hint="decrypt it: skopeo copy --decryption-key KEY SOURCE oci:DIR:TAG",
        )
    raise UnsupportedError(f"layers of type {quoted(media_type)} are not read", origin=origin)


def check_layer_count(layers: int, diff_ids: int, origin: Origin) -> None:
    """Refuse an image whose config is not that of its layers, or that has too many.

    :raises CorruptError: for either.
    """
    if layers > MAXIMUM_LAYERS:
        raise CorruptError(f"has {layers:,} layers; clients take {MAXIMUM_LAYERS}", origin=origin)
    if layers != diff_ids:
        raise CorruptError(
            f"has {layers} layers, and {diff_ids} diff_ids in its config", origin=origin
        )


def _image(documents: Documents, entry: Descriptor, platform: Platform | None) -> FoundImage:
    document = _read(documents, entry, "the manifest")
    manifest = Manifest.parse(document, entry.media_type)
    if manifest.config.media_type not in _CONFIG_TYPES:
        raise UnsupportedError(
            f"is an artifact of type {quoted(manifest.config.media_type)} and no image",
            origin=documents.origin,
        )
    config = _read(documents, manifest.config, "the config")
    check_platform(Platform.parse(config), platform, documents.origin)
    return FoundImage(entry, manifest, config)


def check_platform(found: Platform, wanted: Platform | None, origin: Origin) -> None:
    """Refuse an image of another platform.

    :raises UnsupportedError: if it is.
    """
    if wanted is not None and not fits(found, wanted):
        raise UnsupportedError(f"is an image for {found}, not for {wanted}", origin=origin)


def _read(documents: Documents, descriptor: Descriptor, what: str) -> Document:
    if descriptor.size > DOCUMENT_BYTES:
        raise LimitError(
            f"{what} has {descriptor.size:,} bytes, more than {DOCUMENT_BYTES:,}",
            origin=documents.origin,
        )
    data = documents.document(descriptor, what)
    found = Digest.of(data)
    if len(data) != descriptor.size or found != descriptor.digest:
        raise CorruptError(
            f"{what} has {len(data):,} bytes and the digest {found}, not {descriptor.size:,} and"
            f" {descriptor.digest}",
            origin=documents.origin,
        )
    return decode(data, what, documents.origin)


def _not_an_image(media_type: str, origin: Origin) -> UnsupportedError:
    if media_type.startswith(_SCHEMA_1):
        return UnsupportedError(
            "has a manifest of Docker's schema 1, which nobody writes since 2017",
            origin=origin,
            hint="let Docker or skopeo convert it: skopeo copy SOURCE oci:DIR:TAG",
        )
    return UnsupportedError(f"is a {quoted(media_type)}, not an image", origin=origin)
