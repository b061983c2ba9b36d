"""Verifying a stored image: recompute every claim, believe none.

- every digest and size: index → manifest → config → layers; ``diff_id`` of the unpacked bytes
- documents against each other: platform, number of layers, of ``diff_ids`` and of history entries,
  Docker's list in an oci-archive (:mod:`convert.oci.stored`)
- each layer's tar: unique clean paths, folders first, hard links after their target
  (:mod:`convert.oci.contents`)
- artifacts that refer to the image: their documents and blobs (:mod:`convert.oci.referrer`)
- with a tree: every path, kind, mode, owner, time (whole seconds), size, content, link target,
  device and extended attribute, both ways

The tar is read by :mod:`convert.oci.tarstream`, which shares no code with the encoder. Memory is
bounded by what paths may take, whatever the image is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from convert.destination import ImageDestination
from convert.layers.walk import announced, content
from convert.oci.blobs import digest_of, layer_tar
from convert.oci.contents import ImageContents
from convert.oci.descriptor import Platform
from convert.oci.digest import Digest
from convert.oci.problems import ClaimError, Code, Problem, Problems
from convert.oci.referrer import check_referrers
from convert.oci.store import Store, open_store
from convert.oci.stored import Claim, StoredLayer, codec_of, read_image
from convert.oci.tarstream import StreamInput, TarMember, TarReader
from formats.core.entry import Entry, Kind
from formats.core.errors import (
    CorruptError,
    InputReadError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import printable
from formats.core.source import BytesLike, ByteSource
from formats.core.tree import Tree

_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found when an image was verified.

    :ivar digest: of the manifest, recomputed; None in a docker-archive, and where no manifest
        could be read.
    :ivar layers: how many were read to their end.
    :ivar entries: how many paths they hold, counted in each layer.
    :ivar size: bytes of all layers' blobs.
    :ivar is_compared: it was held against a tree; never so if a layer could not be read.
    :ivar problems: what is wrong, the first thousand; empty for a sound image.
    :ivar problem_count: how many there are in all.
    """

    digest: Digest | None
    platform: Platform | None
    layers: int
    entries: int
    size: int
    is_compared: bool
    problems: tuple[Problem, ...]
    problem_count: int


def verify_image(
    where: ImageDestination,
    tree: Tree | None = None,
    *,
    mtime_limit: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Verify an image; with ``tree``, hold it against that as well.

    :param mtime_limit: as it was given to :func:`~convert.layers.tar.encode_tar`.
    :param progress: told the number of blob bytes read since the last call.
    :raises InputReadError: if what the image lies in cannot be opened or read.
    :raises LimitError: if it is larger than ``limits`` allow.
    :raises AmbiguousError: if several images could be meant.
    :raises UnsupportedError: if its documents name something that is not read here.
    :raises CorruptError: if the tree is damaged.
    """
    run = _Run(limits, progress)
    contents = run.read(where, with_digests=tree is not None)
    if tree is not None and contents is not None:
        _compare(contents, tree, mtime_limit, limits, run.problems)
    return run.result(is_compared=tree is not None and contents is not None)


class _Run:
    """The state of one verification."""

    def __init__(self, limits: Limits, progress: Callable[[int], None] | None) -> None:
        self.problems = Problems()
        self._limits = limits
        self._progress = progress
        self._digest: Digest | None = None
        self._platform: Platform | None = None
        self._layers = 0
        self._entries = 0
        self._size = 0
        self._unpacked = 0

    def result(self, *, is_compared: bool) -> Verification:
        """Return what was found."""
        return Verification(
            digest=self._digest,
            platform=self._platform,
            layers=self._layers,
            entries=self._entries,
            size=self._size,
            is_compared=is_compared,
            problems=self.problems.kept,
            problem_count=self.problems.total,
        )

    def read(self, where: ImageDestination, *, with_digests: bool) -> ImageContents | None:
        """Check an image by itself; return what it holds, None if it cannot be read to its end."""
        try:
            with closing(open_store(where, self._limits)) as store:
                return self._read(store, where, with_digests=with_digests)
        except InputReadError:
            raise
        except ClaimError as error:
            self.problems.add(error.problem.code, error.problem.where, error.problem.message)
        except CorruptError as error:
            self.problems.add(Code.DOCUMENT, str(error.origin), error.message)
        return None

    def _read(
        self, store: Store, where: ImageDestination, *, with_digests: bool
    ) -> ImageContents | None:
        image = read_image(store, where, self.problems)
        self._digest, self._platform = image.digest, image.platform
        contents = ImageContents(self.problems, self._limits, with_digests=with_digests)
        for layer in image.layers:
            self._check_layer(store, layer, contents)
        if image.digest is not None:
            check_referrers(store, image.digest, self.problems, self._tell)
        self._entries = contents.entry_count
        return contents if self._layers == len(image.layers) else None

    def _tell(self, length: int) -> None:
        if self._progress is not None:
            self._progress(length)

    def _check_layer(self, store: Store, layer: StoredLayer, contents: ImageContents) -> None:
        what = layer.claim.what
        diff_id = hashlib.sha256()
        try:
            source = store.open(layer.claim.name)
            self._check_blob(layer.claim, source)
            tar = StreamInput(self._unpack(source, layer, diff_id.update), source.origin)
            contents.add_layer(what, TarReader(tar, self._limits))
        except InputReadError:
            raise
        except ClaimError as error:
            self.problems.add(error.problem.code, what, error.problem.message)
        except (CorruptError, UnsupportedError) as error:
            where = "" if error.offset is None else f" (at byte {error.offset:,})"
            self.problems.add(Code.LAYER, what, error.message + where)
        else:
            self._layers += 1
            found = Digest(diff_id.hexdigest())
            if layer.diff_id not in {None, found}:
                self.problems.add(
                    Code.DIFF_ID, what, f"has the diff_id {found}, not {layer.diff_id}"
                )

    def _check_blob(self, claim: Claim, source: ByteSource) -> None:
        self._size += source.size
        claim.check_size(source.size, self.problems)
        wrong = claim.wrong_digest(digest_of(source, self._tell))
        if wrong is not None:
            self.problems.add(Code.DIGEST, claim.what, wrong)

    def _unpack(
        self, source: ByteSource, layer: StoredLayer, tap: Callable[[BytesLike], object]
    ) -> Iterator[BytesLike]:
        """Yield a layer's tar, held to the limits and shown to ``tap`` on its way."""
        for block in layer_tar(source, codec_of(layer, source), self._limits, self._tell):
            self._unpacked += len(block)
            if self._unpacked > self._limits.total_output_bytes:
                raise LimitError(
                    f"the layers have more than {self._limits.total_output_bytes:,} bytes",
                    origin=source.origin,
                    hint="raise the limit on total output if the image is trusted",
                )
            tap(block)
            yield block


def _compare(
    contents: ImageContents,
    tree: Tree,
    mtime_limit: int | None,
    limits: Limits,
    problems: Problems,
) -> None:
    """Hold an image's paths against a tree's, both ways."""
    left = contents.paths
    for entry in announced(tree, limits):
        where = printable(entry.path) or "/"
        found = left.pop(entry.path, None)
        if found is None:
            problems.add(Code.LOST_PATH, where, "is not in the image")
            continue
        differences = list(_differences(entry, found, mtime_limit))
        if not differences and entry.kind is Kind.FILE:
            differences += _content_difference(tree, entry, contents.digests[entry.path])
        if differences:
            problems.add(Code.DIFFERENT_PATH, where, ", ".join(differences))
    for path in sorted(left):
        problems.add(Code.EXTRA_PATH, printable(path) or "/", "is in the image only")


def _differences(wanted: Entry, found: TarMember, mtime_limit: int | None) -> Iterator[str]:
    if wanted.kind is not found.kind:
        yield f"is a {found.kind.value}, not a {wanted.kind.value}"
        return
    if wanted.target != found.target:
        yield f"leads to {quoted(found.target or b'')}, not {quoted(wanted.target or b'')}"
    if wanted.kind is Kind.HARDLINK:  # all else is the target's, and each layer is checked for that
        return
    mtime = wanted.mtime_ns // _SECOND_NS
    if mtime_limit is not None:
        mtime = min(mtime, mtime_limit)
    for name, ours, theirs in (
        ("mode", oct(wanted.mode), oct(found.mode)),
        ("owner", f"{wanted.uid}:{wanted.gid}", f"{found.uid}:{found.gid}"),
        ("time", mtime, found.mtime),
        ("size", wanted.size, found.size),
        ("device", wanted.device, found.device),
    ):
        if ours != theirs:
            yield f"has {name} {theirs}, not {ours}"
    names = {name for name, _ in set(wanted.xattrs) ^ set(found.xattrs)}
    if names:
        yield f"has other xattrs: {', '.join(map(printable, sorted(names)))}"


def _content_difference(tree: Tree, entry: Entry, found: bytes) -> list[str]:
    sha256 = hashlib.sha256()
    for chunk in content(tree, entry):
        sha256.update(chunk)
    return [] if sha256.digest() == found else ["has other content"]
