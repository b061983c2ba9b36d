"""Media types that are written and read (image-spec, media-types.md)."""

from __future__ import annotations

from convert.layers.compress import MEDIA_TYPES

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
"""Config of an artifact that needs none: ``{}``."""
JSON = "application/json"
REPORT = "application/vnd.oci-convert.report.v1+json"
"""Artifact type of the report that ``run --attach-report`` attaches."""

LAYER_CODECS = {media_type: codec for codec, media_type in MEDIA_TYPES.items()}
"""Codec of each layer type. Docker's own ``…rootfs.diff.tar.zstd`` was never registered, and half
of the clients refuse it; it is not written and not read."""

REF_NAME = "org.opencontainers.image.ref.name"
"""On descriptors in an index only (annotations.md)."""
CONTAINERD_NAME = "io.containerd.image.name"
"""Where containerd, and Docker on its store, look for the full name of an image in an archive."""
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
"""On the manifest of an image that was put on another one (annotations.md)."""
CREATED = "org.opencontainers.image.created"
TITLE = "org.opencontainers.image.title"
SUBJECT = "dev.oci-convert.subject"
"""On the descriptor of an artifact in an index: the digest of the image that it is about."""
