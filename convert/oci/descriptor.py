"""Descriptors (image-spec, descriptor.md): what a blob is, how large, and its digest."""

from __future__ import annotations

from dataclasses import dataclass

from convert.oci.digest import Digest
from convert.oci.documents import Document, JsonValue
from formats.core.source import BytesLike


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in the words of Go's ``GOOS`` and ``GOARCH``."""

    architecture: str
    os: str = "linux"
    variant: str | None = None
    os_version: str | None = None

    def as_json(self) -> dict[str, JsonValue]:
        """Return the platform object of an index descriptor (image-index.md)."""
        fields = {
            "architecture": self.architecture,
            "os": self.os,
            "os.version": self.os_version,
            "variant": self.variant,
        }
        return {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def parse(cls, document: Document) -> Platform:
        """Read it from a platform object or from an image config, which name things alike.

        :raises CorruptError: if the architecture or the operating system is missing.
        """
        return cls(
            architecture=document.text("architecture"),
            os=document.text("os"),
            # "" is how some tools say none
            variant=document.optional_text("variant") or None,
            os_version=document.optional_text("os.version") or None,
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob.

    ``urls`` of foreign descriptors are neither kept nor followed: content comes from the store
    that was named, or not at all.

    :ivar size: bytes.
    :ivar annotations: sorted by key.
    :ivar artifact_type: what the manifest is, where it is no image.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str | None = None

    @classmethod
    def of(cls, media_type: str, data: BytesLike) -> Descriptor:
        """Describe bytes in memory."""
        return cls(media_type, Digest.of(data), len(data))

    def as_json(self) -> dict[str, JsonValue]:
        """Return the descriptor object."""
        fields: dict[str, JsonValue] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform is not None:
            fields["platform"] = self.platform.as_json()
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        if self.artifact_type is not None:
            fields["artifactType"] = self.artifact_type
        return fields

    @classmethod
    def parse(cls, document: Document) -> Descriptor:
        """Read a descriptor object.

        :raises CorruptError: if a member is missing or the digest is not a SHA-256.
        """
        platform = document.optional_object("platform")
        return cls(
            media_type=document.text("mediaType"),
            digest=Digest.parse(document.text("digest"), document.origin),
            size=document.integer("size"),
            platform=Platform.parse(platform) if platform is not None else None,
            annotations=tuple(sorted(document.mapping("annotations").items())),
            # "" is how some tools say none
            artifact_type=document.optional_text("artifactType") or None,
        )
