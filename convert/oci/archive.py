"""Writing an image into one tar file: ``oci-archive:`` and ``docker-archive:``.

Layers are compressed straight into the archive. Their size, and with it their header, is known
only afterwards; room for the header is left and filled in then, so that no layer is written twice.
That needs a file that can seek: for standard output the archive is made in a temporary file first.

Both archives are the same bytes for the same image: members have no time, no owner and one order.

``docker load`` reads ``manifest.json``, since Docker 1.10 (2016). It takes layers that are plain or
gzip tars; zstd only since Docker 23.0. An ``oci-archive`` has it beside the layout, as archives of
BuildKit and of Docker 25 do. Images on the containerd store get their name from an annotation of
the index instead, which is set as well.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from convert.oci.digest import Digest
from convert.oci.documents import encode
from convert.oci.image import ImageDocuments, Layer
from convert.oci.layout import BLOBS, INDEX_FILE, LAYOUT_DOCUMENT, LAYOUT_FILE
from convert.oci.names import DockerName
from convert.staging import Staging, free_place, widen

DOCKER_MANIFEST = "manifest.json"
_BLOCK_BYTES = 512
_END = bytes(2 * _BLOCK_BYTES)
_USTAR_SIZE_LIMIT = 8 << 30
"""Sizes from here on do not fit into eleven octal digits."""


class Arrangement(Protocol):
    """Where things are in an archive."""

    def head(self) -> list[tuple[str, bytes | None]]:
        """Return the members that come before the layers; None for a folder."""
        ...

    def layer_name(self, layer: Layer) -> str:
        """Return the name of a layer's member."""
        ...

    def tail(self, documents: ImageDocuments, layers: list[str]) -> list[tuple[str, bytes]]:
        """Return the members that come after the layers."""
        ...


class OciArrangement:
    """A layout, and Docker's list of images pointing into it."""

    def __init__(self, name: DockerName | None) -> None:
        self._name = name

    def head(self) -> list[tuple[str, bytes | None]]:
        """See :class:`Arrangement`."""
        folders = [f"{folder.as_posix()}/" for folder in (BLOBS.parent, BLOBS)]
        return [(LAYOUT_FILE, LAYOUT_DOCUMENT), *((folder, None) for folder in folders)]

    def layer_name(self, layer: Layer) -> str:
        """See :class:`Arrangement`."""
        return _blob_name(layer.digest)

    def tail(self, documents: ImageDocuments, layers: list[str]) -> list[tuple[str, bytes]]:
        """See :class:`Arrangement`."""
        config_name = _blob_name(Digest.of(documents.config))
        # by name: two members of one name are two answers to one question
        blobs = {_blob_name(Digest.of(data)): data for data in documents.blobs()}
        return [
            *blobs.items(),
            (INDEX_FILE, documents.index()),
            (DOCKER_MANIFEST, _docker_manifest(config_name, self._name, layers)),
        ]


class DockerArrangement:
    """What ``docker save`` of Docker 1.10 to 24 and ``skopeo copy … docker-archive:`` write.

    The folders with ``VERSION`` and ``json`` that Docker before 1.10 reads are left out.
    """

    def __init__(self, name: DockerName | None) -> None:
        self._name = name

    def head(self) -> list[tuple[str, bytes | None]]:
        """See :class:`Arrangement`."""
        return []

    def layer_name(self, layer: Layer) -> str:
        """See :class:`Arrangement`."""
        return f"{layer.diff_id.encoded}.tar"

    def tail(self, documents: ImageDocuments, layers: list[str]) -> list[tuple[str, bytes]]:
        """See :class:`Arrangement`."""
        config_name = f"{Digest.of(documents.config).encoded}.json"
        return [
            (config_name, documents.config),
            (DOCKER_MANIFEST, _docker_manifest(config_name, self._name, layers)),
        ]


def _docker_manifest(config_name: str, name: DockerName | None, layers: list[str]) -> bytes:
    """Return Docker's list of images (moby/docker-image-spec, v1.2, "Combined Image JSON")."""
    tags = [str(name)] if name is not None else None
    return encode([{"Config": config_name, "RepoTags": tags, "Layers": layers}])


def _blob_name(digest: Digest) -> str:
    return f"{BLOBS.as_posix()}/{digest.encoded}"


class ArchiveOutput:
    """An archive that one image is being written to; use as a context manager.

    Leaving it without :meth:`commit` leaves no file.

    :param file: the archive, which must not exist; None for ``stdout``.
    :raises OutputExistsError: if it is there.
    :raises OutputError: if it cannot be written to.
    """

    def __init__(
        self, file: Path | None, arrangement: Arrangement, stdout: BinaryIO | None = None
    ) -> None:
        if (file is None) == (stdout is None):
            raise ValueError("either a file or a stream")
        self.file = file
        self._stdout = stdout
        self._arrangement = arrangement
        self._layers: list[str] = []
        self._layer_start = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.file is None:
                self._shown, beside = Path("standard output"), Path(tempfile.gettempdir())
            else:
                self._shown, beside = self.file, free_place(self.file)
            self._staging = stack.enter_context(Staging(beside, self._shown))
            self._staged = self._staging.folder / "archive"
            self._tar = stack.enter_context(self._staging.new_file(self._staged))
            for name, content in self._arrangement.head():
                self._add(name, content)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @contextmanager
    def new_layer(self) -> Iterator[BinaryIO]:
        """Give a file that takes a layer's bytes; :meth:`name_layer` says what they are."""
        self._layer_start = self._tar.tell()
        self._tar.write(bytes(_BLOCK_BYTES))
        yield self._tar

    def name_layer(self, layer: Layer) -> None:
        """Finish the layer that was written last."""
        name = self._arrangement.layer_name(layer)
        end = self._tar.tell()
        self._tar.seek(self._layer_start)
        if name in self._layers:  # two members of one name are two answers to one question
            self._tar.truncate()
        else:
            self._tar.write(_header(name, end - self._layer_start - _BLOCK_BYTES))
            self._tar.seek(end)
            self._pad()
        self._layers.append(name)

    def commit(self, *images: ImageDocuments) -> None:
        """Make the archive appear at the destination; it holds one image.

        :raises OutputError: if that fails; then there is no file.
        """
        (documents,) = images
        for name, content in self._arrangement.tail(documents, self._layers):
            self._add(name, content)
        self._tar.write(_END)
        if self.file is not None:
            self._tar.sync()
            self._staging.publish(self._staged)
            return
        try:
            self._copy_out()
        except OSError as error:
            raise self._staging.failure(error) from error

    def _copy_out(self) -> None:
        if self._stdout is not None:
            self._tar.seek(0)
            widen(self._stdout)
            shutil.copyfileobj(self._tar, self._stdout, 1 << 20)
            self._stdout.flush()

    def _add(self, name: str, content: bytes | None) -> None:
        self._tar.write(_header(name, None if content is None else len(content)))
        if content:
            self._tar.write(content)
            self._pad()

    def _pad(self) -> None:
        self._tar.write(bytes(-self._tar.tell() % _BLOCK_BYTES))


def _header(name: str, size: int | None) -> bytes:
    """Return one header block; ``size`` is None for a folder."""
    member = tarfile.TarInfo(name)
    if size is None:
        member.type = tarfile.DIRTYPE
        member.mode = 0o755
    else:
        member.size = size
    # GNU's binary sizes need no second header, for which there would be no room.
    is_large = member.size >= _USTAR_SIZE_LIMIT
    return member.tobuf(tarfile.GNU_FORMAT if is_large else tarfile.USTAR_FORMAT, "ascii", "strict")
