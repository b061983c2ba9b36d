"""Artifacts about an image: a manifest whose ``subject`` is the image (image-spec, manifest.md,
"Guidelines for Artifact Usage"; distribution-spec, "Referrers").

In a layout they stand in the index beside the image, without a name; ``artifactType`` on their
descriptors tells them from images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from convert.oci import media
from convert.oci.blobs import digest_of
from convert.oci.config import timestamp
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from convert.oci.image import Referrer
from convert.oci.layout import INDEX_FILE
from convert.oci.manifest import Manifest, parse_index
from convert.oci.problems import ClaimError, Code, Problems
from convert.oci.store import Store
from convert.oci.stored import Claim, read_document
from formats.core.errors import CorruptError

_EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document about an image.

    :ivar artifact_type: what it is.
    :ivar media_type: of its bytes.
    :ivar title: what a client calls the file that it stores them in.
    """

    artifact_type: str
    media_type: str
    title: str
    data: bytes


def refer(attachment: Attachment, subject: Descriptor, created: int | None) -> Referrer:
    """Return the artifact that attaches a document to an image.

    :param subject: descriptor of the image's manifest.
    :param created: seconds since 1970, as the image has it; never from the clock.
    """
    blob = replace(
        Descriptor.of(attachment.media_type, attachment.data),
        annotations=((media.TITLE, attachment.title),),
    )
    dated = ((media.CREATED, timestamp(created)),) if created is not None else ()
    manifest = Manifest(
        Descriptor.of(media.EMPTY, _EMPTY),
        (blob,),
        dated,
        artifact_type=attachment.artifact_type,
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
    ).encode()
    entry = replace(
        Descriptor.of(media.MANIFEST, manifest),
        artifact_type=attachment.artifact_type,
        annotations=tuple(sorted((*dated, (media.SUBJECT, str(subject.digest))))),
    )
    return Referrer((_EMPTY, attachment.data), manifest, entry)


def check_referrers(
    store: Store, image: Digest, problems: Problems, tell: Callable[[int], None]
) -> None:
    """Check the artifacts of a layout that refer to an image, and their blobs.

    :param tell: told the number of bytes read since the last call.
    :raises ConvertError: if the index cannot be read; what is wrong with one is in ``problems``.
    """
    index = parse_index(read_document(store, Claim("the index", INDEX_FILE), problems))
    for entry in index:
        if entry.artifact_type is None or dict(entry.annotations).get(media.SUBJECT) != str(image):
            continue
        try:
            _check(store, entry, image, problems, tell)
        except ClaimError as error:
            problems.add(error.problem.code, error.problem.where, error.problem.message)
        except CorruptError as error:
            problems.add(Code.DOCUMENT, str(error.origin), error.message)


def _check(
    store: Store,
    entry: Descriptor,
    image: Digest,
    problems: Problems,
    tell: Callable[[int], None],
) -> None:
    what = f"the artifact {entry.digest}"
    manifest = Manifest.parse(read_document(store, Claim.of(what, entry), problems))
    if manifest.subject is None or manifest.subject.digest != image:
        problems.add(Code.DISAGREEMENT, what, "is of another image than the index says")
    if manifest.artifact_type != entry.artifact_type:
        problems.add(Code.DISAGREEMENT, what, "is of another type than the index says")
    for blob in (manifest.config, *manifest.layers):
        claim = Claim.of(f"{what}, {blob.media_type}", blob)
        source = store.open(claim.name)
        claim.check_size(source.size, problems)
        wrong = claim.wrong_digest(digest_of(source, tell))
        if wrong is not None:
            problems.add(Code.DIGEST, claim.what, wrong)
