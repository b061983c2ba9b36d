"""The image that another one is put on, as far as it is written again."""

from __future__ import annotations

from dataclasses import dataclass

from convert.oci.config import KeptHistory
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from formats.core.source import ByteSource


@dataclass(frozen=True, slots=True)
class BaseLayer:
    """A layer of a base, verified: it was unpacked, and has the digests that are claimed of it.

    :ivar descriptor: of the blob, with the OCI media type of what it is.
    :ivar tar: the same, unpacked.
    """

    descriptor: Descriptor
    diff_id: Digest
    blob: ByteSource
    tar: ByteSource


@dataclass(frozen=True, slots=True)
class Base:
    """A base.

    :ivar name: how a registry would be asked for it (``example.org/debian:12``); None where it has
        no such name.
    :ivar digest: of its manifest; None for one that has none (docker-archive).
    :ivar layers: lowest first.
    :ivar history: with one entry that is not empty for each layer, in their order.
    """

    name: str | None
    digest: Digest | None
    layers: tuple[BaseLayer, ...]
    history: tuple[KeptHistory, ...]
