"""An image in a registry, fetched as far as it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from convert.images.config import read_config
from convert.images.layers import Workshop
from convert.images.manifests import find_image
from convert.images.reference import RegistryReference
from convert.images.registry.access import RegistryAccess
from convert.images.registry.client import RegistryClient
from convert.images.stored import ReadImage, claims_of
from convert.oci.descriptor import Platform


def read_registry(
    where: RegistryReference,
    platform: Platform | None,
    access: RegistryAccess,
    workshop: Workshop,
    sleep: Callable[[float], None] | None = None,
) -> ReadImage:
    """Read the documents of an image in a registry.

    :param sleep: waits for seconds, before a failed request is tried again.
    :raises RegistryError: if the registry cannot be reached, refuses, or has no such image.
    :raises AmbiguousError: if there is one for several platforms.
    :raises UnsupportedError: for what is no image, or none of that platform.
    :raises CorruptError: for documents that are damaged, or not those that were asked for.
    """
    client = RegistryClient(where.name, access, workshop, sleep)
    found = find_image(client, client.entry(where.name.tag, where.digest), platform)
    config = read_config(found.config)
    layers = claims_of(found, config, client.blob, client.origin)
    # a download that is not what its digest says is never given away
    verified = tuple(replace(layer, is_verified=True) for layer in layers)
    return ReadImage(str(where), found.descriptor.digest, config, verified)
