"""Writing an image into a layout in a folder (image-spec, image-layout.md).

A new layout is made whole in a staging folder beside it and renamed into place: there is never a
folder without an image. An existing layout gets the blobs first, each by a rename, and then its
``index.json``, by a rename too and under a lock, so that several writers keep all entries
(containers/image#1028 is what happens without). Until then nothing refers to the new blobs.

Blobs that no tag refers to any more are left alone: other tools, or writers at work, may need them.
``umoci gc`` removes them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from convert.oci.digest import ALGORITHM, Digest
from convert.oci.documents import DOCUMENT_BYTES, JsonValue, decode, encode
from convert.oci.image import ImageDocuments, Layer, index_with
from convert.oci.manifest import parse_index
from convert.staging import (
    Staging,
    is_real_folder,
    is_staging,
    output_error,
    sync_folder,
)
from formats.core.errors import ConvertError, OutputError, OutputExistsError
from formats.core.origin import Origin

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
BLOBS = Path("blobs", ALGORITHM)
LAYOUT_DOCUMENT = encode({"imageLayoutVersion": "1.0.0"})
_LOCK_FILE = ".oci-convert.lock"
"""Stays in the layout: to remove a lock file is to let two processes hold two locks."""


class LayoutOutput:
    """A layout that one image is being written to; use as a context manager.

    Leaving it without :meth:`commit` leaves the destination as it was.

    :param folder: the layout. It is made if it is not there; its parent has to be. A symlink to a
        folder is followed, inside of the layout none is.
    :raises OutputExistsError: if there is something that is not a layout.
    :raises OutputError: if it cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._shown = folder
        self._layers = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._is_new = not _is_usable(self.folder, self._shown)
            beside = self.folder.parent if self._is_new else self.folder
            self._staging = stack.enter_context(Staging(beside, self._shown))
            self._image = self._staging.folder / "layout"
            try:
                (self._image / BLOBS).mkdir(parents=True)
            except OSError as error:
                raise self._staging.failure(error) from error
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
        """Open a file for a layer's bytes; :meth:`name_layer` says afterwards what they are."""
        self._layers += 1
        with self._staging.new_file(self._layer_path()) as file:
            yield file
            file.sync()

    def name_layer(self, layer: Layer) -> None:
        """File the layer that was written last under its digest."""
        self._layer_path().replace(self._image / BLOBS / layer.digest.encoded)

    def _layer_path(self) -> Path:
        return self._image / BLOBS / f"layer-{self._layers}"

    def commit(self, *images: ImageDocuments) -> None:
        """Make the images appear at the destination, all at once.

        :raises OutputError: if that fails; then no image was added.
        """
        try:
            for documents in images:
                for data in documents.blobs():
                    self._put(BLOBS / Digest.of(data).encoded, data)
            if not (self._is_new and self._publish_whole(images)):
                self._merge(images)
        except OSError as error:
            raise self._staging.failure(error) from error

    def _put(self, name: Path, data: bytes) -> None:
        """Write a small file into the staged layout."""
        path = self._image / name
        path.unlink(missing_ok=True)
        with self._staging.new_file(path) as file:
            file.write(data)
            file.sync()

    def _publish_whole(self, images: Sequence[ImageDocuments]) -> bool:
        """Rename the staged layout into place; False if there is one by now."""
        self._put(Path(LAYOUT_FILE), LAYOUT_DOCUMENT)
        self._put(Path(INDEX_FILE), index_with(images))
        for folder in (self._image / BLOBS, self._image / BLOBS.parent, self._image):
            sync_folder(folder)
        try:
            self._image.rename(self.folder)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
            _is_usable(self.folder, self._shown)
            return False
        sync_folder(self.folder.parent)
        return True

    def _merge(self, images: Sequence[ImageDocuments]) -> None:
        """Add the staged images to the layout that is there."""
        with _locked(self.folder, self._shown):
            if not (self.folder / LAYOUT_FILE).exists():
                self._put(Path(LAYOUT_FILE), LAYOUT_DOCUMENT)
                (self._image / LAYOUT_FILE).replace(self.folder / LAYOUT_FILE)
            self._move_blobs()
            index = index_with(images, _read_index(self.folder, self._shown))
            self._put(Path(INDEX_FILE), index)
            (self._image / INDEX_FILE).replace(self.folder / INDEX_FILE)
            sync_folder(self.folder)

    def _move_blobs(self) -> None:
        """Move the staged blobs over.

        One that is there already is replaced: ours was hashed a moment ago, while the other may
        have been damaged since.
        """
        for folder in (self.folder / BLOBS.parent, self.folder / BLOBS):
            folder.mkdir(exist_ok=True)
        for blob in sorted((self._image / BLOBS).iterdir()):
            blob.replace(self.folder / BLOBS / blob.name)
        sync_folder(self.folder / BLOBS)
        sync_folder(self.folder / BLOBS.parent)


def _is_usable(folder: Path, shown: Path) -> bool:
    """Tell whether there is a folder to add to; False if there is nothing.

    :raises OutputExistsError: if there is something else.
    """
    try:
        names = {path.name for path in folder.iterdir() if not is_staging(path.name)}
    except FileNotFoundError:
        if not folder.parent.is_dir():
            raise OutputError(
                "the folder to make it in does not exist",
                origin=Origin((str(shown),)),
                hint=f"mkdir -p {shown.parent}",
            ) from None
        return False
    except NotADirectoryError:
        raise _exists(shown, "there is a file of this name") from None
    except OSError as error:
        raise output_error(error, shown) from error
    if names - {_LOCK_FILE} and LAYOUT_FILE not in names:
        raise _exists(shown, "there is a folder of this name that is not an image layout")
    for path in (BLOBS.parent, BLOBS):
        if os.path.lexists(folder / path) and not is_real_folder(folder / path):
            raise _exists(shown, f"{path} in it is not a folder")
    _read_index(folder, shown)
    return True


def _exists(shown: Path, what: str) -> OutputExistsError:
    return OutputExistsError(what, origin=Origin((str(shown),)), hint="choose another name")


def _read_index(folder: Path, shown: Path) -> Mapping[str, JsonValue] | None:
    """Return a layout's index, checked; None if there is none yet.

    :raises OutputExistsError: if it cannot be understood and so cannot be added to.
    """
    origin = Origin((str(shown), INDEX_FILE))
    try:
        with open(folder / INDEX_FILE, "rb", opener=_open_own) as file:
            data = file.read(DOCUMENT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read: {error.strerror}", origin=origin) from error
    try:
        document = decode(data, "the index", origin)
        parse_index(document)
    except ConvertError as error:
        raise OutputExistsError(
            f"the layout there has an index that cannot be added to: {error.message}",
            origin=origin,
            hint="repair it, or choose another name",
        ) from error
    return document.values


def _open_own(path: str, flags: int) -> int:
    """Open a file of the layout: no symlink, and no waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


@contextmanager
def _locked(folder: Path, shown: Path) -> Iterator[None]:
    """Hold the layout's lock, waiting for other writers."""
    lock = os.open(
        folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
    )
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise OutputError(
                f"this filesystem cannot lock files ({error.strerror}), so that writers could lose"
                " each other's images",
                origin=Origin((str(shown),)),
                hint="write to a local disk and copy, or use oci-archive:",
            ) from error
        yield
    finally:
        os.close(lock)
