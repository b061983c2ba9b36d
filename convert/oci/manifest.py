"""Manifests and indexes (image-spec, manifest.md and image-index.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convert.oci import media
from convert.oci.descriptor import Descriptor
from convert.oci.documents import Document, JsonValue, encode
from formats.core.errors import CorruptError

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: a config and its layers, lowest first.

    :ivar annotations: sorted by key.
    :ivar artifact_type: what it is, where it is no image.
    :ivar subject: the manifest that it is about.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str | None = None
    subject: Descriptor | None = None

    def encode(self) -> bytes:
        """Return the manifest's bytes."""
        fields: dict[str, JsonValue] = {
            "schemaVersion": SCHEMA_VERSION,
            "mediaType": media.MANIFEST,
            "config": self.config.as_json(),
            "layers": [layer.as_json() for layer in self.layers],
        }
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        if self.artifact_type is not None:
            fields["artifactType"] = self.artifact_type
        if self.subject is not None:
            fields["subject"] = self.subject.as_json()
        return encode(fields)

    @classmethod
    def parse(cls, document: Document, stated: str | None = None) -> Manifest:
        """Read a manifest.

        :param stated: the media type that the descriptor of it, or the registry, says it has; then
            the document may leave it out, and must not say another one.
        :raises CorruptError: if it is none. Without ``stated`` it has to say its media type itself,
            and it must not have the members of an index as well: CVE-2021-41190.
        """
        _check_head(document, stated or media.MANIFEST, is_optional=stated is not None)
        if "manifests" in document.values:
            raise document.bad("manifests", "stands in a manifest, which makes it two documents")
        subject = document.optional_object("subject")
        return cls(
            config=Descriptor.parse(document.object("config")),
            layers=tuple(Descriptor.parse(item) for item in document.objects("layers")),
            annotations=tuple(sorted(document.mapping("annotations").items())),
            artifact_type=document.optional_text("artifactType") or None,
            subject=Descriptor.parse(subject) if subject is not None else None,
        )


def parse_index(document: Document, stated: str = media.INDEX) -> list[Descriptor]:
    """Read an index.

    :param stated: the media type that it must have.
    :raises CorruptError: if it is none. ``mediaType`` may be absent here: most tools that write
        layouts leave it out.
    """
    _check_head(document, stated, is_optional=True)
    if "layers" in document.values or "config" in document.values:
        raise CorruptError(
            f"{document.what} is both an index and a manifest", origin=document.origin
        )
    return [Descriptor.parse(item) for item in document.objects("manifests")]


def _check_head(document: Document, media_type: str, *, is_optional: bool = False) -> None:
    if document.integer("schemaVersion") != SCHEMA_VERSION:
        raise document.bad("schemaVersion", "is not 2")
    found = document.optional_text("mediaType")
    if found is None and is_optional:
        return
    if found != media_type:
        raise document.bad("mediaType", f"is not {media_type}")


def ref_name(descriptor: JsonValue) -> str | None:
    """Return what an index calls this descriptor; None if it has no usable name."""
    return _annotation(descriptor, media.REF_NAME)


def _annotation(descriptor: JsonValue, key: str) -> str | None:
    annotations = descriptor.get("annotations") if isinstance(descriptor, Mapping) else None
    value = annotations.get(key) if isinstance(annotations, Mapping) else None
    return value if isinstance(value, str) else None


def with_entry(
    index: Mapping[str, JsonValue] | None,
    entry: Descriptor,
    referrers: Sequence[Descriptor] = (),
) -> bytes:
    """Return an index's bytes with one more image.

    An entry of the same name makes room for the new one, in its place, and own artifacts about an
    image that is gone by that go with it. All else stays as it is, members and annotations that are
    not known here included. An image without a name replaces nothing but itself.

    :param index: the index as it was read and checked, or None for a new one.
    :param referrers: artifacts about the image, see :mod:`convert.oci.referrer`.
    """
    fields: dict[str, JsonValue] = dict(index or {})
    fields["schemaVersion"] = SCHEMA_VERSION
    fields["mediaType"] = media.INDEX
    old = fields.get("manifests")
    entries, gone = _placed(old if isinstance(old, Sequence) else (), entry)
    entries = [item for item in entries if _annotation(item, media.SUBJECT) not in gone]
    for referrer in referrers:
        entries, _ = _placed(entries, referrer)
    fields["manifests"] = entries
    return encode(fields)


def _placed(old: Sequence[JsonValue], entry: Descriptor) -> tuple[list[JsonValue], set[str]]:
    """Return entries with one more, and the digests that none of them names any longer."""
    added = entry.as_json()
    name = ref_name(added)
    entries: list[JsonValue] = []
    replaced: set[str] = set()
    is_placed = False
    for item in old:
        if not _is_replaced(item, name, str(entry.digest)):
            entries.append(item)
            continue
        replaced.add(_digest(item))
        if not is_placed:
            entries.append(added)
            is_placed = True
    if not is_placed:
        entries.append(added)
    return entries, replaced - set(map(_digest, entries))


def _digest(item: JsonValue) -> str:
    digest = item.get("digest") if isinstance(item, Mapping) else None
    return digest if isinstance(digest, str) else ""


def _is_replaced(item: JsonValue, name: str | None, digest: str) -> bool:
    if not isinstance(item, Mapping) or ref_name(item) != name:
        return False
    return name is not None or item.get("digest") == digest
