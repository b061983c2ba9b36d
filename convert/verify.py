"""Verifying a stored image: recompute every claim, believe none.

- every digest and size: index → manifest → config → layers; ``diff_id`` of the decompressed bytes
- documents against each other: platform, number of layers, of ``diff_ids`` and of history entries
- each layer's tar: unique clean paths, folders first, hard links after their target
  (:mod:`convert.oci.contents`)
- with a tree: every path, kind, mode, owner, time (whole seconds), size, content, link target,
  device and extended attribute, both ways

The tar is read by :mod:`convert.oci.tarstream`, which shares no code with the encoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from convert.destination import ImageDestination
from convert.layers.walk import announced, content
from convert.oci import media
from convert.oci.contents import Found, ImageContents, Problems
from convert.oci.descriptor import Descriptor, Platform
from convert.oci.digest import Digest
from convert.oci.stored import (
    BlobReader,
    Store,
    StoredImage,
    StoredLayer,
    decompressed,
    open_store,
    read_image,
)
from convert.oci.tarstream import StreamInput, TarReader
from formats.core.entry import Entry, Kind
from formats.core.errors import CorruptError, UnsupportedError, VerificationError, quoted
from formats.core.limits import DEFAULT_LIMITS, Limits
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
    :ivar size: bytes of all blobs that were hashed.
    :ivar is_compared: it was held against a tree.
    :ivar problems: what is wrong, one sentence each, the first thousand; empty for a sound image.
    :ivar problem_count: how many there are in all.
    """

    digest: Digest | None
    platform: Platform | None
    layers: int
    entries: int
    size: int
    is_compared: bool
    problems: tuple[str, ...]
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
    :raises InputReadError: if what the image lies in cannot be opened.
    :raises LimitError: if it is larger than ``limits`` allow.
    :raises AmbiguousError: if several images could be meant.
    """
    run = _Run(limits, progress)
    with closing(open_store(where, limits)) as store:
        try:
            run.verify(store, where, tree, mtime_limit)
        except (CorruptError, VerificationError, UnsupportedError) as error:
            run.problems.add(str(error))
    return run.result(is_compared=tree is not None)


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

    def result(self, *, is_compared: bool) -> Verification:
        return Verification(
            digest=self._digest,
            platform=self._platform,
            layers=self._layers,
            entries=self._entries,
            size=self._size,
            is_compared=is_compared,
            problems=tuple(self.problems.shown),
            problem_count=self.problems.total,
        )

    def verify(
        self, store: Store, where: ImageDestination, tree: Tree | None, mtime_limit: int | None
    ) -> None:
        """Check one thing after the other; what makes the next one senseless is raised."""
        image = read_image(store, where)
        self._check_documents(image)
        contents = ImageContents(self.problems, with_digests=tree is not None)
        for number, layer in enumerate(image.layers, start=1):
            self._check_layer(number, layer, contents)
        self._entries = contents.entry_count
        if tree is not None:
            _compare(contents.paths, tree, mtime_limit, self._limits, self.problems)

    def _check_documents(self, image: StoredImage) -> None:
        self._platform = image.config.platform
        if image.manifest_source is not None and image.manifest is not None:
            self._digest = self._check_blob("the manifest", image.manifest_source, image.entry)
            config = image.manifest.config
            self._check_blob("the config", image.config_source, config)
            if config.media_type != media.CONFIG:
                self.problems.add(f"the config has the type {quoted(config.media_type)}")
            named = image.entry.platform if image.entry is not None else None
            if named is not None and named != image.config.platform:
                self.problems.add(
                    f"the index says {named}, the config says {image.config.platform}"
                )
        else:
            found = self._hashed(image.config_source)
            if image.config_claim is not None and found != image.config_claim:
                self.problems.add(f"the config has the digest {found}, not that of its name")
        counts = {"layers": len(image.layers), "diff_ids": len(image.config.diff_ids)}
        if image.config.layer_histories is not None:
            counts["history entries"] = image.config.layer_histories
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} {name}" for name, count in counts.items())
            self.problems.add(f"the numbers do not agree: {told}")

    def _check_blob(self, what: str, source: ByteSource, claim: Descriptor | None) -> Digest:
        found = self._hashed(source)
        if claim is not None:
            self._check_claim(what, claim, found, source.size)
        return found

    def _check_claim(self, what: str, claim: Descriptor, digest: Digest, size: int) -> None:
        if digest != claim.digest:
            self.problems.add(f"{what} has the digest {digest}, not {claim.digest}")
        if size != claim.size:
            self.problems.add(f"{what} has {size:,} bytes, not {claim.size:,}")

    def _hashed(self, source: ByteSource) -> Digest:
        reader = BlobReader(source)
        digest = reader.finish()
        self._count(reader.position)
        return digest

    def _count(self, length: int) -> None:
        self._size += length
        if self._progress is not None:
            self._progress(length)

    def _check_layer(self, number: int, layer: StoredLayer, contents: ImageContents) -> None:
        what = f"layer {number}"
        blob = BlobReader(layer.source)
        diff = hashlib.sha256()
        try:
            chunks = self._told(blob, layer, diff.update)
            contents.add_layer(TarReader(StreamInput(chunks, layer.source.origin), self._limits))
        except (CorruptError, UnsupportedError) as error:
            self.problems.add(f"{what}: {error}")
        else:
            self._layers += 1
            found = Digest(diff.hexdigest())
            if layer.diff_id is not None and found != layer.diff_id:
                self.problems.add(f"{what} has the diff_id {found}, not {layer.diff_id}")
        counted = blob.position
        digest = blob.finish()
        self._count(blob.position - counted)
        if layer.descriptor is not None:
            self._check_claim(what, layer.descriptor, digest, layer.source.size)

    def _told(
        self, blob: BlobReader, layer: StoredLayer, tell: Callable[[BytesLike], object]
    ) -> Iterator[BytesLike]:
        """Yield the layer's tar, hashed and counted on its way."""
        before = 0
        for block in decompressed(blob, layer.codec, self._limits, layer.source.origin):
            tell(block)
            yield block
            self._count(blob.position - before)
            before = blob.position


def _compare(
    paths: dict[bytes, Found],
    tree: Tree,
    mtime_limit: int | None,
    limits: Limits,
    problems: Problems,
) -> None:
    """Hold an image's paths against a tree's, both ways."""
    missing_from_tree = set(paths)
    for entry in announced(tree, limits):
        found = paths.get(entry.path)
        if found is None:
            problems.add(f"{quoted(entry.path)} is not in the image")
            continue
        missing_from_tree.discard(entry.path)
        differences = list(_differences(entry, found.entry, mtime_limit))
        if entry.kind is Kind.FILE and not differences and _digest(tree, entry) != found.sha256:
            differences.append("its content differs")
        if differences:
            problems.add(f"{quoted(entry.path)}: {', '.join(differences)}")
    for path in sorted(missing_from_tree):
        problems.add(f"{quoted(path)} is in the image only")


def _differences(wanted: Entry, found: Entry, mtime_limit: int | None) -> Iterator[str]:
    if wanted.kind is not found.kind:
        yield f"is a {found.kind.value}, not a {wanted.kind.value}"
        return
    if wanted.target != found.target:
        yield f"leads to {quoted(found.target or b'')}, not {quoted(wanted.target or b'')}"
    if wanted.kind is Kind.HARDLINK:  # all else is the target's
        return
    mtime = wanted.mtime_ns // _SECOND_NS
    if mtime_limit is not None:
        mtime = min(mtime, mtime_limit)
    for name, ours, theirs in (
        ("mode", oct(wanted.mode), oct(found.mode)),
        ("owner", f"{wanted.uid}:{wanted.gid}", f"{found.uid}:{found.gid}"),
        ("time", mtime, found.mtime_ns // _SECOND_NS),
        ("size", wanted.size, found.size),
        ("device", wanted.device, found.device),
        ("xattrs", wanted.xattrs, found.xattrs),
    ):
        if ours != theirs:
            yield f"has {name} {theirs}, not {ours}"


def _digest(tree: Tree, entry: Entry) -> bytes:
    sha256 = hashlib.sha256()
    for chunk in content(tree, entry):
        sha256.update(chunk)
    return sha256.digest()
