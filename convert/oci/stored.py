"""Reading images that are stored: nothing in them is trusted.

A blob is only ever the file its digest names; symlinks are not followed (CVE-2024-3727 was of this
kind), addresses in ``urls`` are not visited, documents and decompressors are bounded.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import zstandard

from convert.destination import DockerArchiveDestination, ImageDestination, LayoutDestination
from convert.layers.compress import Codec
from convert.oci import media
from convert.oci.archive import DOCKER_MANIFEST
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.documents import DOCUMENT_BYTES, Document, decode, decode_list
from convert.oci.layout import BLOBS, INDEX_FILE, LAYOUT_FILE
from convert.oci.manifest import Manifest, parse_index
from convert.oci.tarstream import SourceInput, TarReader
from convert.staging import is_real_folder
from formats.core.entry import Kind
from formats.core.errors import (
    AmbiguousError,
    CorruptError,
    LimitError,
    UnsupportedError,
    UsageError,
    VerificationError,
    quoted,
)
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, FileSource, read_exact, slice_source

_BLOCK_BYTES = MIB
_MAGIC = {b"\x1f\x8b": Codec.GZIP, b"\x28\xb5\x2f\xfd": Codec.ZSTD}


class Store(Protocol):
    """Named files: those of a layout's folder, or the members of an archive."""

    @property
    def origin(self) -> Origin:
        """Breadcrumb for messages."""
        ...

    def open(self, name: str) -> ByteSource:
        """Return a file.

        :raises VerificationError: if there is none of this name.
        :raises CorruptError: if it is something else than a file.
        """
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class FolderStore:
    """The files of a layout in a folder."""

    def __init__(self, folder: Path) -> None:
        self.origin = Origin((str(folder),))
        self._folder = folder
        self._opened: list[FileSource] = []
        for path in (BLOBS.parent, BLOBS):
            if not is_real_folder(folder / path):
                raise CorruptError(f"has no folder {path}", origin=self.origin)

    def open(self, name: str) -> ByteSource:
        """See :class:`Store`."""
        origin = self.origin.child(name)
        if (self._folder / name).is_symlink():
            raise CorruptError("is a symlink", origin=origin)
        if not (self._folder / name).exists():
            raise VerificationError("is not there", origin=origin)
        source = FileSource(self._folder / name, origin, follow=False)
        self._opened.append(source)
        return source

    def close(self) -> None:
        """See :class:`Store`."""
        for source in self._opened:
            source.close()


class ArchiveStore:
    """The members of a tar file."""

    def __init__(self, file: Path, limits: Limits) -> None:
        self._source = FileSource(file, Origin((str(file),)))
        self.origin = self._source.origin
        self._members: dict[str, tuple[Kind, int, int]] = {}
        try:
            for member in TarReader(SourceInput(self._source), limits):
                name = member.name.decode("utf-8", "surrogateescape").removeprefix("./")
                if name in self._members:
                    raise CorruptError(f"{quoted(name)} is there twice", origin=self.origin)
                self._members[name] = (member.kind, member.content_offset, member.size)
        except BaseException:
            self.close()
            raise

    def open(self, name: str) -> ByteSource:
        """See :class:`Store`."""
        origin = self.origin.child(name)
        if name not in self._members:
            raise VerificationError("is not there", origin=origin)
        kind, offset, size = self._members[name]
        if kind is not Kind.FILE:
            raise CorruptError(f"is a {kind.value}", origin=origin)
        return slice_source(self._source, offset, size, origin)

    def close(self) -> None:
        """See :class:`Store`."""
        self._source.close()


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer as its image describes it.

    :ivar descriptor: None in a docker-archive, which has no claim about its blobs.
    """

    source: ByteSource
    codec: Codec
    diff_id: Digest | None
    descriptor: Descriptor | None


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """What is checked of a config."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    layer_histories: int | None

    @classmethod
    def parse(cls, document: Document) -> StoredConfig:
        """Read a config.

        :raises CorruptError: if it is none.
        """
        rootfs = document.object("rootfs")
        if rootfs.text("type") != "layers":
            raise rootfs.bad("type", "is not 'layers'")
        history = document.objects("history") if document.values.get("history") else None
        return cls(
            platform=Platform.parse(document),
            diff_ids=tuple(
                Digest.parse(text, document.origin) for text in rootfs.texts("diff_ids")
            ),
            layer_histories=None
            if history is None
            else sum(not entry.flag("empty_layer") for entry in history),
        )


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image's documents, read and understood, but not yet checked against anything.

    :ivar entry: what the index says of the manifest; None in a docker-archive.
    """

    config_source: ByteSource
    config: StoredConfig
    config_claim: Digest | None
    layers: tuple[StoredLayer, ...]
    manifest_source: ByteSource | None = None
    manifest: Manifest | None = None
    entry: Descriptor | None = None


def open_store(where: ImageDestination, limits: Limits) -> Store:
    """Open what an image lies in.

    :raises UsageError: for standard output.
    """
    if isinstance(where, LayoutDestination):
        return FolderStore(where.folder)
    if where.file is None:
        raise UsageError("an image is not read from a pipe", hint="name a file")
    return ArchiveStore(where.file, limits)


def read_image(store: Store, where: ImageDestination) -> StoredImage:
    """Read the documents of the image that ``where`` names.

    :raises CorruptError: if they are damaged.
    :raises VerificationError: if something is missing.
    """
    if isinstance(where, DockerArchiveDestination):
        return _read_docker_image(store, str(where.name) if where.name else None)
    layout = _document(store, store.open(LAYOUT_FILE), "the layout file")
    if layout.text("imageLayoutVersion") != "1.0.0":
        raise layout.bad("imageLayoutVersion", "is not 1.0.0")
    index = parse_index(_document(store, store.open(INDEX_FILE), "the index"))
    entry = _pick(index, where.tag, store.origin)
    manifest_source = open_blob(store, entry.digest)
    manifest = Manifest.parse(_document(store, manifest_source, "the manifest"))
    config_source = open_blob(store, manifest.config.digest)
    config = StoredConfig.parse(_document(store, config_source, "the config"))
    diff_ids = [*config.diff_ids, *([None] * len(manifest.layers))]
    layers = tuple(
        StoredLayer(open_blob(store, layer.digest), _codec(layer, store.origin), diff_id, layer)
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=False)
    )
    return StoredImage(
        config_source=config_source,
        config=config,
        config_claim=manifest.config.digest,
        layers=layers,
        manifest_source=manifest_source,
        manifest=manifest,
        entry=entry,
    )


def open_blob(store: Store, digest: Digest) -> ByteSource:
    """Return the file that has to hold a blob."""
    return store.open(f"{BLOBS.as_posix()}/{digest.encoded}")


def _read_docker_image(store: Store, name: str | None) -> StoredImage:
    source = store.open(DOCKER_MANIFEST)
    items = decode_list(_whole(source), "the list of images", source.origin)
    if name is not None:
        items = [item for item in items if name in item.texts("RepoTags")]
    if len(items) != 1:
        raise _not_one(len(items), name, store.origin)
    config_name = items[0].text("Config")
    config_source = store.open(config_name)
    config = StoredConfig.parse(_document(store, config_source, "the config"))
    names = items[0].texts("Layers")
    diff_ids = [*config.diff_ids, *([None] * len(names))]
    layers = []
    for layer_name, diff_id in zip(names, diff_ids, strict=False):
        layer = store.open(layer_name)
        layers.append(StoredLayer(layer, _sniffed(layer), diff_id, None))
    stem = config_name.rpartition("/")[2].removesuffix(".json")
    is_digest = len(stem) == 64
    return StoredImage(
        config_source=config_source,
        config=config,
        config_claim=Digest.parse(f"sha256:{stem}", store.origin) if is_digest else None,
        layers=tuple(layers),
    )


def _pick(index: list[Descriptor], tag: str | None, origin: Origin) -> Descriptor:
    found = index
    if tag is not None:
        found = [entry for entry in index if (media.REF_NAME, tag) in entry.annotations]
    if len(found) != 1:
        raise _not_one(len(found), tag, origin)
    if found[0].media_type != media.MANIFEST:
        raise UnsupportedError(
            f"the index names a {found[0].media_type}, not an image manifest", origin=origin
        )
    return found[0]


def _not_one(count: int, name: str | None, origin: Origin) -> VerificationError | AmbiguousError:
    named = f" named {quoted(name)}" if name else ""
    if count:
        return AmbiguousError(
            f"there are {count} images{named}", origin=origin, hint="give the tag of one"
        )
    return VerificationError(f"there is no image{named}", origin=origin)


def _codec(layer: Descriptor, origin: Origin) -> Codec:
    codec = media.LAYER_CODECS.get(layer.media_type)
    if codec is None:
        raise UnsupportedError(
            f"layers of type {quoted(layer.media_type)} are not read", origin=origin
        )
    return codec


def _sniffed(source: ByteSource) -> Codec:
    head = bytes(source.read_at(0, 4))
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), Codec.NONE)


def _whole(source: ByteSource) -> BytesLike:
    if source.size > DOCUMENT_BYTES:
        raise LimitError(
            f"has {source.size:,} bytes, more than the {DOCUMENT_BYTES:,} a document may have",
            origin=source.origin,
        )
    return read_exact(source, 0, source.size, "the document")


def _document(store: Store, source: ByteSource, what: str) -> Document:
    del store
    return decode(_whole(source), what, source.origin)


class BlobReader:
    """Reads a blob from front to back and hashes it on the way."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._sha256 = hashlib.sha256()
        self.position = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; nothing at the end."""
        data = bytes(self._source.read_at(self.position, _BLOCK_BYTES if size < 0 else size))
        self._sha256.update(data)
        self.position += len(data)
        return data

    def finish(self) -> Digest:
        """Read what is left and return the digest of everything."""
        while self.read():
            pass
        return Digest(self._sha256.hexdigest())


def decompressed(
    blob: BlobReader, codec: Codec, limits: Limits, origin: Origin
) -> Iterator[BytesLike]:
    """Yield the bytes of a layer's tar, a mebibyte at the most at a time.

    :raises CorruptError: if the blob is damaged.
    :raises LimitError: if it gives more than ``limits`` allow, in all or for its size.
    """
    produced = 0
    for block in _DECODERS[codec](blob, limits, origin):
        produced += len(block)
        if produced > limits.total_output_bytes:
            raise LimitError(
                f"the layer has more than {limits.total_output_bytes:,} bytes", origin=origin
            )
        if (
            produced > limits.expansion_grace_bytes
            and produced > limits.expansion_ratio * blob.position
        ):
            raise LimitError(
                f"the layer expands more than {limits.expansion_ratio:,} times", origin=origin
            )
        yield block


def _stored(blob: BlobReader, limits: Limits, origin: Origin) -> Iterator[BytesLike]:
    del limits, origin
    while block := blob.read():
        yield block


def _gunzipped(blob: BlobReader, limits: Limits, origin: Origin) -> Iterator[BytesLike]:
    """Decode gzip members one after the other (RFC 1952, 2.2)."""
    del limits
    pending = blob.read()
    while pending:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            if not pending:
                raise CorruptError("the gzip stream is cut short", origin=origin)
            try:
                block = member.decompress(pending, _BLOCK_BYTES)
            except zlib.error as error:
                raise CorruptError(f"damaged gzip stream: {error}", origin=origin) from error
            pending = member.unconsumed_tail
            if not pending and not member.eof:
                pending = blob.read()
            if block:
                yield block
        pending = member.unused_data or blob.read()


def _unzstd(blob: BlobReader, limits: Limits, origin: Origin) -> Iterator[BytesLike]:
    """Decode zstd frames one after the other (RFC 8878, 3.1)."""
    decoder = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    file = cast("IO[bytes]", blob)  # only its read() is called
    reader = decoder.stream_reader(file, read_size=_BLOCK_BYTES, read_across_frames=True)
    try:
        while block := reader.read(_BLOCK_BYTES):
            yield block
    except zstandard.ZstdError as error:
        raise CorruptError(f"damaged zstd stream: {error}", origin=origin) from error


_DECODERS = {Codec.NONE: _stored, Codec.GZIP: _gunzipped, Codec.ZSTD: _unzstd}
