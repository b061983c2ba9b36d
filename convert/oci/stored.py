"""Reading the documents of a stored image, and holding them against each other.

Nothing in them is trusted: each is bounded (:mod:`convert.oci.documents`), a blob is the file that
its digest names and no other, and addresses in ``urls`` are not visited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from convert.destination import (
    DockerArchiveDestination,
    ImageDestination,
    LayoutDestination,
    OciArchiveDestination,
)
from convert.layers.compress import Codec
from convert.oci import media
from convert.oci.archive import DOCKER_MANIFEST
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.documents import DOCUMENT_BYTES, Document, decode, decode_list
from convert.oci.image import MAXIMUM_LAYERS
from convert.oci.layout import BLOBS, INDEX_FILE, LAYOUT_FILE
from convert.oci.manifest import Manifest, parse_index
from convert.oci.names import DockerName, docker_name_of_ref
from convert.oci.problems import ClaimError, Code, Problem, Problems
from convert.oci.store import Store
from formats.core.errors import (
    AmbiguousError,
    CorruptError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, read_exact

_MAGIC = {b"\x1f\x8b": Codec.GZIP, b"\x28\xb5\x2f\xfd": Codec.ZSTD}
_Layouts: TypeAlias = LayoutDestination | OciArchiveDestination


@dataclass(frozen=True, slots=True)
class Claim:
    """A file of the store, with what the documents say of it.

    :ivar what: its name for messages: "the config", "layer 2".
    :ivar digest: None where nothing claims one.
    :ivar size: bytes; None where nothing claims it.
    """

    what: str
    name: str
    digest: Digest | None = None
    size: int | None = None

    @classmethod
    def of(cls, what: str, descriptor: Descriptor) -> Claim:
        """Return what a descriptor says of its blob."""
        return cls(what, blob_name(descriptor.digest), descriptor.digest, descriptor.size)

    def check_size(self, size: int, problems: Problems) -> None:
        """Note it if the file has another size."""
        if self.size not in {None, size}:
            problems.add(Code.SIZE, self.what, f"has {size:,} bytes, not {self.size:,}")

    def wrong_digest(self, digest: Digest) -> str | None:
        """Return what is wrong if the file has this digest."""
        if self.digest in {None, digest}:
            return None
        return f"has the digest {digest}, not {self.digest}"


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer as its image describes it.

    :ivar codec: None in a docker-archive, where nothing says it.
    :ivar diff_id: None if the config has fewer than there are layers.
    """

    claim: Claim
    codec: Codec | None
    diff_id: Digest | None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What an image's documents say. They have the digests that are claimed of them.

    :ivar digest: of the manifest; None in a docker-archive, which has none.
    """

    digest: Digest | None
    platform: Platform
    layers: tuple[StoredLayer, ...]


def blob_name(digest: Digest) -> str:
    """Return the name of the file that has to hold a blob."""
    return f"{BLOBS.as_posix()}/{digest.encoded}"


def read_image(store: Store, where: ImageDestination, problems: Problems) -> StoredImage:
    """Read the documents of the image that ``where`` names.

    :param problems: gets what they do not agree on.
    :raises ClaimError: if one is missing or has another digest: what it says is not looked at.
    :raises CorruptError: if one is damaged.
    :raises AmbiguousError: if several images could be meant.
    :raises UnsupportedError: for what is no image of layers that are read here.
    :raises LimitError: if one is too large.
    """
    if isinstance(where, DockerArchiveDestination):
        return _read_docker_image(store, str(where.name) if where.name else None, problems)
    return _read_oci_image(store, where, problems)


def codec_of(layer: StoredLayer, source: ByteSource) -> Codec:
    """Return how a layer is compressed."""
    return sniffed_codec(source) if layer.codec is None else layer.codec


def sniffed_codec(source: ByteSource) -> Codec:
    """Return how a layer is compressed by its first bytes, as clients of a docker-archive do."""
    head = bytes(source.read_at(0, 4))
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), Codec.NONE)


def _read_oci_image(store: Store, where: _Layouts, problems: Problems) -> StoredImage:
    layout = read_document(store, Claim("the layout file", LAYOUT_FILE), problems)
    if layout.text("imageLayoutVersion") != "1.0.0":
        raise layout.bad("imageLayoutVersion", "is not 1.0.0")
    index = parse_index(read_document(store, Claim("the index", INDEX_FILE), problems))
    entry = _named(index, where.tag, store.origin)
    manifest = Manifest.parse(read_document(store, Claim.of("the manifest", entry), problems))
    config = _Config.parse(read_document(store, Claim.of("the config", manifest.config), problems))
    _check_count(len(manifest.layers), store.origin)
    contradictions = list(config.contradictions(len(manifest.layers)))
    if manifest.config.media_type != media.CONFIG:
        contradictions.append(f"the manifest's config has the type {manifest.config.media_type}")
    if entry.platform is not None and entry.platform != config.platform:
        contradictions.append(f"the index says {entry.platform}, the config {config.platform}")
    if isinstance(where, OciArchiveDestination) and store.has(DOCKER_MANIFEST):
        name = docker_name_of_ref(dict(entry.annotations).get(media.REF_NAME))
        contradictions += _docker_contradictions(store, manifest, name)
    for contradiction in contradictions:
        problems.add(Code.DISAGREEMENT, str(store.origin), contradiction)
    layers = (
        StoredLayer(
            Claim.of(f"layer {number}", layer), _codec(layer, store.origin), config.diff(number)
        )
        for number, layer in enumerate(manifest.layers, start=1)
    )
    return StoredImage(entry.digest, config.platform, tuple(layers))


def _read_docker_image(store: Store, name: str | None, problems: Problems) -> StoredImage:
    found = docker_images(store)
    if name is not None:
        found = [item for item in found if name in item.texts("RepoTags")]
    if len(found) != 1:
        raise _not_one(len(found), name, store.origin)
    config_name = found[0].text("Config")
    # <digest>.json, and since Docker 25 blobs/sha256/<digest>
    stem = config_name.rpartition("/")[2].removesuffix(".json")
    digest = Digest.parse(f"sha256:{stem}", store.origin)
    config = _Config.parse(read_document(store, Claim("the config", config_name, digest), problems))
    names = found[0].texts("Layers")
    _check_count(len(names), store.origin)
    for contradiction in config.contradictions(len(names)):
        problems.add(Code.DISAGREEMENT, str(store.origin), contradiction)
    layers = (
        StoredLayer(Claim(f"layer {number}", layer), None, config.diff(number))
        for number, layer in enumerate(names, start=1)
    )
    return StoredImage(None, config.platform, tuple(layers))


def docker_images(store: Store) -> list[Document]:
    """Return what Docker's list of images in an archive has of each."""
    source = store.open(DOCKER_MANIFEST)
    return decode_list(whole(source), "Docker's list of images", source.origin)


def _docker_contradictions(
    store: Store, manifest: Manifest, name: DockerName | None
) -> Iterator[str]:
    """Yield where Docker's list in an oci-archive names another image than the index does."""
    images = docker_images(store)
    if len(images) != 1:
        yield f"{DOCKER_MANIFEST} has {len(images)} images"
        return
    if images[0].text("Config") != blob_name(manifest.config.digest):
        yield f"{DOCKER_MANIFEST} and the manifest name different configs"
    if images[0].texts("Layers") != [blob_name(layer.digest) for layer in manifest.layers]:
        yield f"{DOCKER_MANIFEST} and the manifest name different layers"
    if name is not None and images[0].texts("RepoTags") != [str(name)]:
        yield f"{DOCKER_MANIFEST} does not name the image {name}"


@dataclass(frozen=True, slots=True)
class _Config:
    """What is checked of a config.

    :ivar histories: entries of the history that a layer belongs to; None if there is no history.
    """

    platform: Platform
    diff_ids: tuple[Digest, ...]
    histories: int | None

    @classmethod
    def parse(cls, document: Document) -> _Config:
        rootfs = document.object("rootfs")
        if rootfs.text("type") != "layers":
            raise rootfs.bad("type", "is not 'layers'")
        diff_ids = [Digest.parse(text, document.origin) for text in rootfs.texts("diff_ids")]
        histories = None
        if document.values.get("history"):
            history = document.objects("history")
            histories = sum(not entry.flag("empty_layer") for entry in history)
        return cls(Platform.parse(document), tuple(diff_ids), histories)

    def diff(self, number: int) -> Digest | None:
        """Return the diff_id of a layer, counted from 1."""
        return self.diff_ids[number - 1] if number <= len(self.diff_ids) else None

    def contradictions(self, layers: int) -> Iterator[str]:
        """Yield where the config's numbers are not those of the layers."""
        if len(self.diff_ids) != layers:
            yield f"there are {layers} layers, and {len(self.diff_ids)} diff_ids in the config"
        if self.histories not in {None, layers}:
            yield f"there are {layers} layers, and the config tells of {self.histories}"


def _named(index: Sequence[Descriptor], tag: str | None, origin: Origin) -> Descriptor:
    found = [entry for entry in index if entry.artifact_type is None]
    if tag is not None:
        found = [entry for entry in index if (media.REF_NAME, tag) in entry.annotations]
    if len(found) != 1:
        raise _not_one(len(found), tag, origin)
    if found[0].media_type != media.MANIFEST:
        raise UnsupportedError(
            f"the index names a {quoted(found[0].media_type)}, not an image manifest",
            origin=origin,
            hint="copy one image out of it: skopeo copy oci:DIR:TAG oci:OTHER:TAG",
        )
    return found[0]


def _not_one(count: int, name: str | None, origin: Origin) -> ClaimError | AmbiguousError:
    named = f" named {quoted(name)}" if name else ""
    if count:
        return AmbiguousError(
            f"there are {count} images{named}", origin=origin, hint="give the tag of one"
        )
    return ClaimError(Problem(Code.MISSING, str(origin), f"there is no image{named}"))


def _check_count(layers: int, origin: Origin) -> None:
    if layers > MAXIMUM_LAYERS:
        raise CorruptError(
            f"there are {layers:,} layers; clients take {MAXIMUM_LAYERS}", origin=origin
        )


def _codec(layer: Descriptor, origin: Origin) -> Codec:
    codec = media.LAYER_CODECS.get(layer.media_type)
    if codec is None:
        raise UnsupportedError(
            f"layers of type {quoted(layer.media_type)} are not read", origin=origin
        )
    return codec


def read_document(store: Store, claim: Claim, problems: Problems) -> Document:
    """Return a document of a store.

    :raises ClaimError: if it is missing or has another digest: what it says is not looked at.
    :raises CorruptError: if it is damaged.
    :raises LimitError: if it is too large.
    """
    source = store.open(claim.name)
    data = whole(source)
    claim.check_size(source.size, problems)
    wrong = claim.wrong_digest(Digest.of(data))
    if wrong is not None:
        raise ClaimError(Problem(Code.DIGEST, claim.what, wrong))
    return decode(data, claim.what, source.origin)


def whole(source: ByteSource) -> BytesLike:
    """Return all bytes of a document.

    :raises LimitError: if it is larger than one may be.
    """
    if source.size > DOCUMENT_BYTES:
        raise LimitError(
            f"has {source.size:,} bytes, more than the {DOCUMENT_BYTES:,} of a document",
            origin=source.origin,
        )
    return read_exact(source, 0, source.size, "the document")
