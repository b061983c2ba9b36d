"""Writing a whole image: layers, then config, manifest and index, then the rename that shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from convert.destination import (
    DockerArchiveDestination,
    ImageDestination,
    LayoutDestination,
    OciArchiveDestination,
)
from convert.layers.compress import MEDIA_TYPES, Codec, Compression
from convert.layers.stream import Progress, WrittenLayer, write_layer
from convert.oci import media
from convert.oci.archive import ArchiveOutput, DockerArrangement, OciArrangement
from convert.oci.base import Base
from convert.oci.config import HistoryEntry, ImageConfig
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from convert.oci.image import MAXIMUM_LAYERS, Image, ImageDocuments, Layer
from convert.oci.layout import LayoutOutput
from convert.oci.manifest import Manifest
from convert.oci.names import docker_name_of_ref
from convert.oci.referrer import Attachment, refer
from convert.staging import opened_stream
from formats.core.errors import CorruptError, UsageError
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS, MIB
from formats.core.source import BytesLike, ByteSource

_ZSTD_TYPE: Final = MEDIA_TYPES[Codec.ZSTD]
_PLAIN_TYPE: Final = MEDIA_TYPES[Codec.NONE]
_COPIED_BYTES: Final = MIB


@dataclass(frozen=True, slots=True)
class LayerInput:
    """A layer to be written.

    :ivar chunks: its tar, in pieces of any size.
    :ivar created_by: what made it, for the history; the compressor and its version are added.
    """

    chunks: Iterable[BytesLike]
    created_by: str


class ImageOutput(Protocol):
    """A destination that one image is being written to."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def new_layer(self) -> AbstractContextManager[BinaryIO]:
        """Give a file for the next layer's bytes."""
        ...

    def name_layer(self, layer: Layer) -> None:
        """Say what the layer was that was written last."""
        ...

    def commit(self, *images: ImageDocuments) -> None:
        """Make the images appear, all at once; where only one has room, there is one."""
        ...


def default_codec(destination: ImageDestination) -> Codec:
    """Return how layers are compressed where the user does not say.

    zstd in a layout; gzip in an oci-archive, since Docker before 23.0 loads no zstd; nothing in a
    docker-archive, which is plain tars by convention.
    """
    if isinstance(destination, LayoutDestination):
        return Codec.ZSTD
    return Codec.GZIP if isinstance(destination, OciArchiveDestination) else Codec.NONE


def check_codec(destination: ImageDestination, codec: Codec) -> list[Finding]:
    """Check what the user asked for against what can be loaded from this destination.

    :return: what is worth knowing about the choice.
    :raises UsageError: if it cannot be done.
    """
    if isinstance(destination, DockerArchiveDestination) and codec is not Codec.NONE:
        raise UsageError(
            f"a docker-archive holds plain layers, not {codec.value} ones",
            hint="leave --compression out, or use oci-archive:",
        )
    if isinstance(destination, OciArchiveDestination) and codec is Codec.ZSTD:
        return [
            Finding(
                "zstd-archive",
                str(destination).encode(),
                Action.REPORTED,
                "docker load takes zstd layers since Docker 23.0 only; gzip loads everywhere",
            )
        ]
    return []


def check_attachable(destination: ImageDestination) -> None:
    """Refuse a destination that a document about the image cannot be beside.

    :raises UsageError: for a docker-archive, and for an image without a name: clients that are
        given none take the only manifest there is, and there would be two.
    """
    if isinstance(destination, DockerArchiveDestination):
        raise UsageError(
            "a docker-archive has no place for what refers to an image",
            hint="write oci: or oci-archive:, or the report to a file: --report FILE",
        )
    if destination.tag is None:
        raise UsageError(
            "an image that something is attached to needs a tag, so that clients find it",
            hint=f"name one: {destination}:latest",
        )


def check_base(destination: ImageDestination, base: Base) -> list[Finding]:
    """Return what is worth knowing of a base's layers at this destination.

    They are written as they are, whatever own layers are compressed with; in a docker-archive
    unpacked, as it holds nothing else.
    """
    zstd = sum(layer.descriptor.media_type == _ZSTD_TYPE for layer in base.layers)
    if not zstd or not isinstance(destination, OciArchiveDestination):
        return []
    return [
        Finding(
            "zstd-archive",
            str(destination).encode(),
            Action.REPORTED,
            f"zstd layers of the base ({zstd} of {len(base.layers)}): docker load takes them since"
            " Docker 23.0 only",
        )
    ]


def write_image(  # noqa: PLR0913 - all but three are named
    layers: Iterable[LayerInput],
    config: ImageConfig,
    destination: ImageDestination,
    *,
    compression: Compression,
    base: Base | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    stdout: BinaryIO | None = None,
    budget_bytes: int = DEFAULT_LIMITS.total_output_bytes,
    attach: Callable[[Image], Attachment] | None = None,
) -> Image:
    """Write an image; it is at its destination when this returns, and not before.

    The digests depend on the chunks, the config, ``compression`` and ``base``, and on nothing else.

    :param layers: lowest first; each is read to its end before the next is asked for.
    :param base: what they lie on. Its layers come first, byte for byte, with its history; the
        manifest names it (image-spec annotations.md, ``org.opencontainers.image.base.*``). Its
        config counts for nothing here: ``config`` is the whole one.
    :param stdout: where an archive for standard output goes.
    :param budget_bytes: how many bytes one layer's tar may have.
    :param attach: makes a document about the image, which is stored beside it and refers to it.
    :raises OutputExistsError: if the destination holds something else.
    :raises OutputError: if it cannot be written; nothing is left behind.
    :raises UsageError: for no layer, more than 127, or where nothing can be attached.
    :raises CorruptError: if a base's layer changed since it was verified.
    """
    (image,) = write_images(
        layers,
        [(config, destination)],
        compression=compression,
        base=base,
        jobs=jobs,
        progress=progress,
        stdout=stdout,
        budget_bytes=budget_bytes,
        attach=attach,
    )
    return image


def write_images(  # noqa: PLR0913 - all but two are named
    layers: Iterable[LayerInput],
    images: Sequence[tuple[ImageConfig, ImageDestination]],
    *,
    compression: Compression,
    base: Base | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    stdout: BinaryIO | None = None,
    budget_bytes: int = DEFAULT_LIMITS.total_output_bytes,
    attach: Callable[[Image], Attachment] | None = None,
) -> tuple[Image, ...]:
    """Write images of the same layers, which are written once; see :func:`write_image`.

    :param images: the config of each, and where it goes; several go into one layout.
    :raises ValueError: for no image, or several that are not of one layout.
    """
    config, destination = images[0]
    folders = {where.folder for _, where in images if isinstance(where, LayoutDestination)}
    if len(images) > 1 and len(folders) != 1:
        raise ValueError("several images go into one layout")
    check_codec(destination, compression.codec)
    if attach is not None:
        check_attachable(destination)
    with ExitStack() as stack:
        output = stack.enter_context(_opened(destination, stdout))
        below = _copy_base(base, destination, output) if base is not None else []
        written: list[Layer] = []
        for layer in layers:
            if len(below) + len(written) == MAXIMUM_LAYERS:
                raise UsageError(f"an image can have {MAXIMUM_LAYERS} layers at the most")
            with output.new_layer() as file:
                facts = write_layer(
                    layer.chunks,
                    file,
                    compression,
                    jobs=jobs,
                    progress=progress,
                    budget_bytes=budget_bytes,
                )
            written.append(_layer(facts, layer, config))
            output.name_layer(written[-1])
        if not written:
            raise UsageError("an image needs a layer")
        made = [_documents([*below, *written], own, where, base) for own, where in images]
        if attach is not None:
            made = [_with_attached(image, documents, attach, config) for image, documents in made]
        output.commit(*(documents for _, documents in made))
    return tuple(image for image, _ in made)


def _with_attached(
    image: Image,
    documents: ImageDocuments,
    attach: Callable[[Image], Attachment],
    config: ImageConfig,
) -> tuple[Image, ImageDocuments]:
    referrer = refer(attach(image), image.manifest, config.created)
    return image, replace(documents, referrers=(referrer,))


def _copy_base(base: Base, destination: ImageDestination, output: ImageOutput) -> list[Layer]:
    """Write a base's layers as they are; unpacked where the destination holds nothing else."""
    is_plain = isinstance(destination, DockerArchiveDestination)
    entries = [entry for entry in base.history if not entry.is_empty]
    written = []
    for layer, history in zip(base.layers, entries, strict=True):
        source, descriptor = layer.blob, layer.descriptor
        if is_plain:
            source = layer.tar
            descriptor = Descriptor(_PLAIN_TYPE, layer.diff_id, source.size)
        with output.new_layer() as file:
            _copy(source, file, descriptor)
        written.append(Layer(descriptor, layer.diff_id, layer.tar.size, history))
        output.name_layer(written[-1])
    return written


def _copy(source: ByteSource, file: BinaryIO, descriptor: Descriptor) -> None:
    """Copy a blob, and verify what was written: the file may have changed since it was read."""
    sha256 = hashlib.sha256()
    for offset in range(0, source.size, _COPIED_BYTES):
        block = source.read_at(offset, _COPIED_BYTES)
        sha256.update(block)
        rest = memoryview(block)
        while rest:  # an unbuffered file is free to take less than it is given
            rest = rest[file.write(rest) :]
    if Digest(sha256.hexdigest()) != descriptor.digest:
        raise CorruptError("changed while it was copied", origin=source.origin)


def _layer(facts: WrittenLayer, source: LayerInput, config: ImageConfig) -> Layer:
    how = facts.compression
    created_by = source.created_by
    if how.codec is not Codec.NONE:
        created_by += f"; {how.library} level {how.level}"
    return Layer(
        descriptor=Descriptor(facts.media_type, Digest.parse(facts.digest), facts.size),
        diff_id=Digest.parse(facts.diff_id),
        uncompressed_size=facts.uncompressed_size,
        history=HistoryEntry(created=config.created, created_by=created_by),
    )


def _documents(
    layers: list[Layer], config: ImageConfig, destination: ImageDestination, base: Base | None
) -> tuple[Image, ImageDocuments]:
    own = layers[len(base.layers) :] if base is not None else layers
    history = [*(base.history if base is not None else ()), *(layer.history for layer in own)]
    config_bytes = config.encode([layer.diff_id for layer in layers], history)
    config_descriptor = Descriptor.of(media.CONFIG, config_bytes)
    manifest = Manifest(
        config_descriptor,
        tuple(layer.descriptor for layer in layers),
        tuple(_base_annotations(base)),
    ).encode()
    descriptor = Descriptor.of(media.MANIFEST, manifest)
    entry = replace(descriptor, platform=config.platform, annotations=tuple(_names(destination)))
    image = Image(config.platform, config_descriptor, descriptor, tuple(layers))
    return image, ImageDocuments(config_bytes, manifest, entry)


def _base_annotations(base: Base | None) -> Iterator[tuple[str, str]]:
    """Yield the annotations that name a base in a manifest, sorted."""
    if base is not None and base.digest is not None:
        yield media.BASE_DIGEST, str(base.digest)
    if base is not None and base.name is not None:
        yield media.BASE_NAME, base.name


def _names(destination: ImageDestination) -> Iterator[tuple[str, str]]:
    """Yield the annotations that name an image in an index, sorted."""
    if isinstance(destination, DockerArchiveDestination) or destination.tag is None:
        return
    if isinstance(destination, OciArchiveDestination):
        name = docker_name_of_ref(destination.tag)
        if name is not None:
            yield media.CONTAINERD_NAME, str(name)
    yield media.REF_NAME, destination.tag


@contextmanager
def _opened(destination: ImageDestination, stdout: BinaryIO | None) -> Iterator[ImageOutput]:
    if isinstance(destination, LayoutDestination):
        with LayoutOutput(destination.folder) as layout:
            yield layout
        return
    arrangement = (
        OciArrangement(docker_name_of_ref(destination.tag))
        if isinstance(destination, OciArchiveDestination)
        else DockerArrangement(destination.name)
    )
    with ExitStack() as stack:
        if destination.file is None:
            file, stream = None, stdout
        elif (pipe := opened_stream(destination.file)) is not None:
            file, stream = None, stack.enter_context(pipe)
        else:
            file, stream = destination.file, None
        yield stack.enter_context(ArchiveOutput(file, arrangement, stream))
