"""Images in layouts and archives of this machine.

Archives may be compressed as a whole, as ``docker save NAME | gzip`` makes them; they are then
unpacked into a temporary file first.

Not read: what ``docker save`` wrote before Docker 1.10 (2016), without a ``manifest.json``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from convert.destination import (
    DockerArchiveDestination,
    ImageDestination,
    LayoutDestination,
)
from convert.images.config import ReadConfig, read_config
from convert.images.layers import LayerClaim, Workshop
from convert.images.manifests import (
    FoundImage,
    check_layer_count,
    check_platform,
    choose,
    find_image,
    layer_codec,
)
from convert.oci import media
from convert.oci.archive import DOCKER_MANIFEST
from convert.oci.blobs import decoded
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.documents import Document, decode
from convert.oci.layout import INDEX_FILE, LAYOUT_FILE
from convert.oci.manifest import parse_index
from convert.oci.names import docker_name_of_ref
from convert.oci.problems import ClaimError
from convert.oci.store import ArchiveStore, FolderStore, Store
from convert.oci.stored import blob_name, docker_images, whole
from formats.bundles.streams import Decoder, bunzip2, gunzip, unxz, unzstd
from formats.core.errors import (
    AmbiguousError,
    CorruptError,
    UnsupportedError,
    UsageError,
    quoted,
)
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, FileSource

_DECODERS: Final[dict[bytes, Decoder]] = {
    b"\x1f\x8b\x08": gunzip,
    b"BZh": bunzip2,
    b"\xfd7zXZ\x00": unxz,
    b"\x28\xb5\x2f\xfd": unzstd,
}
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REPOSITORIES: Final = "repositories"


@dataclass(frozen=True, slots=True)
class ReadImage:
    """What an image's documents say, and where its layers are.

    :ivar name: how a registry would be asked for it; None where it has no such name.
    :ivar digest: of the manifest; None where there is none.
    """

    name: str | None
    digest: Digest | None
    config: ReadConfig
    layers: tuple[LayerClaim, ...]


def read_stored(
    where: ImageDestination, platform: Platform | None, workshop: Workshop
) -> ReadImage:
    """Read the documents of an image in a layout or an archive.

    :raises InputReadError: if there is nothing.
    :raises AmbiguousError: if several images could be meant.
    :raises UnsupportedError: for what is no image, or none of that platform.
    :raises CorruptError: for documents that are damaged.
    """
    store = _open(where, workshop)
    workshop.on_close(store.close)
    if isinstance(where, DockerArchiveDestination):
        return _docker_image(store, str(where.name) if where.name else None, platform)
    return _oci_image(store, where.tag, platform)


def claims_of(
    found: FoundImage, config: ReadConfig, blob: Callable[[Descriptor], ByteSource], origin: Origin
) -> tuple[LayerClaim, ...]:
    """Return what a manifest and its config say of the layers.

    :raises CorruptError: if they do not agree.
    :raises UnsupportedError: for layers that are not read.
    """
    layers = found.manifest.layers
    check_layer_count(len(layers), len(config.diff_ids), origin)
    return tuple(
        LayerClaim(
            partial(blob, layer),
            diff_id,
            layer.digest,
            layer.size,
            layer_codec(layer.media_type, origin),
        )
        for layer, diff_id in zip(layers, config.diff_ids, strict=True)
    )


def _open(where: ImageDestination, workshop: Workshop) -> Store:
    if isinstance(where, LayoutDestination):
        return FolderStore(where.folder)
    if where.file is None:
        raise UsageError("an image is not read from a pipe", hint="name a file")
    source = FileSource(where.file, Origin((str(where.file),)))
    workshop.on_close(source.close)
    head = bytes(source.read_at(0, 8))
    for magic, decoder in _DECODERS.items():
        if head.startswith(magic):
            source = _decompressed(source, decoder, workshop)
    return ArchiveStore(source, workshop.limits, follows_links=True)


def _decompressed(source: FileSource, decoder: Decoder, workshop: Workshop) -> FileSource:
    done = 0

    def tell(length: int) -> None:
        nonlocal done
        done += length
        workshop.progress("decompressing", min(done, source.size), source.size)

    return workshop.spooled(decoded(source, decoder, workshop.limits, tell), source.origin)


def _file(store: Store, name: str) -> ByteSource:
    """Return a file that the documents name.

    :raises CorruptError: if it is not there, or no file.
    """
    try:
        return store.open(name)
    except ClaimError as error:
        raise CorruptError(error.problem.message, origin=store.origin.child(name)) from error


class _Documents:
    """A store as :class:`~convert.images.manifests.Documents`."""

    def __init__(self, store: Store) -> None:
        self.origin = store.origin
        self._store = store

    def document(self, descriptor: Descriptor, what: str) -> BytesLike:
        del what
        return whole(_file(self._store, blob_name(descriptor.digest)))


def _oci_image(store: Store, tag: str | None, platform: Platform | None) -> ReadImage:
    origin = store.origin
    if not store.has(LAYOUT_FILE):
        hint = "use docker-archive:" if store.has(DOCKER_MANIFEST) else None
        raise UnsupportedError(
            f"is no image layout: it has no {LAYOUT_FILE}", origin=origin, hint=hint
        )
    layout = decode(whole(_file(store, LAYOUT_FILE)), "the layout file", origin)
    if layout.text("imageLayoutVersion") != "1.0.0":
        raise layout.bad("imageLayoutVersion", "is not 1.0.0")
    index = parse_index(decode(whole(_file(store, INDEX_FILE)), "the index", origin))
    if tag is not None:
        index = [entry for entry in index if (media.REF_NAME, tag) in entry.annotations]
        if not index:
            raise UsageError(f"{origin}: there is no image named {quoted(tag)}")
    entry = choose(index, platform, origin)
    found = find_image(_Documents(store), entry, platform)
    config = read_config(found.config)
    name = docker_name_of_ref(dict(entry.annotations).get(media.REF_NAME))
    layers = claims_of(found, config, lambda layer: _file(store, blob_name(layer.digest)), origin)
    return ReadImage(str(name) if name else None, found.descriptor.digest, config, layers)


def _docker_image(store: Store, name: str | None, platform: Platform | None) -> ReadImage:
    image = _docker_entry(store, name)
    config = read_config(_docker_config(store, image))
    check_platform(config.config.platform, platform, store.origin)
    layers = image.texts("Layers")
    check_layer_count(len(layers), len(config.diff_ids), store.origin)
    claims = (
        LayerClaim(partial(_file, store, layer), diff_id)
        for layer, diff_id in zip(layers, config.diff_ids, strict=True)
    )
    tags = image.texts("RepoTags")
    found_name = name or (_full_name(tags[0]) if len(tags) == 1 else None)
    return ReadImage(found_name, None, config, tuple(claims))


def _docker_entry(store: Store, name: str | None) -> Document:
    """Return what Docker's list has of the image that is meant."""
    origin = store.origin
    if not store.has(DOCKER_MANIFEST):
        if store.has(_REPOSITORIES):
            raise UnsupportedError(
                "was saved by a Docker before 1.10",
                origin=origin,
                hint="load and save it with a later one",
            )
        hint = "use oci-archive:" if store.has(LAYOUT_FILE) else None
        raise UnsupportedError(
            f"is no archive of Docker images: it has no {DOCKER_MANIFEST}", origin=origin, hint=hint
        )
    images = docker_images(store)
    found = images
    if name is not None:
        found = [image for image in images if name in map(_full_name, image.texts("RepoTags"))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(tag for image in images for tag in image.texts("RepoTags")))
    if found:
        raise AmbiguousError(
            f"holds {len(found)} images: {names}", origin=origin, hint="give the name of one"
        )
    raise UsageError(
        f"{origin}: there is no image{f' named {quoted(name)}' if name else ''}",
        hint=f"there are: {names}" if names else None,
    )


def _full_name(tag: str) -> str:
    """Return how Docker's short name is spelled in full; archives have both."""
    name = docker_name_of_ref(tag)
    return str(name) if name else tag


def _docker_config(store: Store, image: Document) -> Document:
    """Return a config; where its name is a digest, as nearly all are, it has to be that."""
    name = image.text("Config")
    data = whole(_file(store, name))
    stem = name.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")
    if _HEX.fullmatch(stem) and Digest.of(data) != Digest(stem):
        raise CorruptError(
            f"the config has the digest {Digest.of(data)}, not {Digest(stem)}", origin=store.origin
        )
    return decode(data, "the config", store.origin)
