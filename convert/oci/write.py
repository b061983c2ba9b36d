"""Writing a whole image: layers, then config, manifest and index, then the rename that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from convert.destination import (
    DockerArchiveDestination,
    ImageDestination,
    LayoutDestination,
    OciArchiveDestination,
)
from convert.layers.compress import Codec, Compression
from convert.layers.stream import Progress, WrittenLayer, write_layer
from convert.oci import media
from convert.oci.archive import ArchiveOutput, DockerArrangement, OciArrangement
from convert.oci.config import HistoryEntry, ImageConfig
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from convert.oci.image import MAXIMUM_LAYERS, Image, ImageDocuments, Layer
from convert.oci.layout import LayoutOutput
from convert.oci.manifest import Manifest
from convert.oci.names import docker_name_of_ref
from convert.staging import opened_stream
from formats.core.errors import UsageError
from formats.core.finding import Action, Finding
from formats.core.limits import DEFAULT_LIMITS
from formats.core.source import BytesLike


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

    def commit(self, documents: ImageDocuments) -> None:
        """Make the image appear."""
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


def write_image(
    layers: Iterable[LayerInput],
    config: ImageConfig,
    destination: ImageDestination,
    *,
    compression: Compression,
    jobs: int = 1,
    progress: Progress | None = None,
    stdout: BinaryIO | None = None,
    budget_bytes: int = DEFAULT_LIMITS.total_output_bytes,
) -> Image:
    """Write an image; it is at its destination when this returns, and not before.

    The digests depend on the chunks, the config and ``compression``, and on nothing else.

    :param layers: lowest first; each is read to its end before the next is asked for.
    :param stdout: where an archive for standard output goes.
    :param budget_bytes: how many bytes one layer's tar may have.
    :raises OutputExistsError: if the destination holds something else.
    :raises OutputError: if it cannot be written; nothing is left behind.
    :raises UsageError: for no layer, or more than 127.
    """
    check_codec(destination, compression.codec)
    with ExitStack() as stack:
        output = stack.enter_context(_opened(destination, stdout))
        written: list[Layer] = []
        for layer in layers:
            if len(written) == MAXIMUM_LAYERS:
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
        image, documents = _documents(written, config, destination)
        output.commit(documents)
    return image


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
    layers: list[Layer], config: ImageConfig, destination: ImageDestination
) -> tuple[Image, ImageDocuments]:
    config_bytes = config.encode(
        [layer.diff_id for layer in layers], [layer.history for layer in layers]
    )
    config_descriptor = Descriptor.of(media.CONFIG, config_bytes)
    manifest = Manifest(config_descriptor, tuple(layer.descriptor for layer in layers)).encode()
    descriptor = Descriptor.of(media.MANIFEST, manifest)
    entry = replace(descriptor, platform=config.platform, annotations=tuple(_names(destination)))
    image = Image(config.platform, config_descriptor, descriptor, tuple(layers))
    return image, ImageDocuments(config_bytes, manifest, entry)


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
