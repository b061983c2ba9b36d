"""The texts of a box: ``metadata.json``, ``info.json`` and the Vagrantfile.

Specification: Vagrant's documentation, "Box File Format" and "Box Info Format", and
vagrant-libvirt's "Box Format" for several disks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from formats.bundles.members import Members
from formats.bundles.texts import looks_secret
from formats.bundles.vagrant.vagrantfile import FILE_NAME, Stated, read_vagrantfile
from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits

_MAX_SHOWN = 64
"""Facts that are taken of an ``info.json``."""


@dataclass(frozen=True, slots=True)
class Box:
    """What the texts say.

    :ivar provider: "virtualbox" for boxes of before there was metadata.
    :ivar disks: names of the disks, where the metadata lists them.
    :ivar info: of ``info.json``: author, homepage.
    """

    provider: str
    architecture: str | None
    disks: tuple[str, ...]
    info: Mapping[str, str]
    vagrantfile: Stated


def read_box(members: Members, limits: Limits) -> Box:
    """Read the texts of a box.

    :raises CorruptError: if the metadata is no JSON object, or names no provider.
    :raises LimitError: if a text is too large.
    """
    metadata = _json(members, b"metadata.json", limits)
    provider = metadata.get("provider", "virtualbox" if not metadata else None)
    if not isinstance(provider, str) or not provider:
        raise CorruptError("has metadata without a provider", origin=members.archive.origin)
    architecture = metadata.get("architecture")
    return Box(
        provider=provider.strip().lower(),
        architecture=architecture if isinstance(architecture, str) else None,
        disks=_disks(metadata),
        info=_info(_json(members, b"info.json", limits)),
        vagrantfile=read_vagrantfile(_text(members, FILE_NAME.encode(), limits) or ""),
    )


def _text(members: Members, path: bytes, limits: Limits) -> str | None:
    source = members.source(path)
    if source is None:
        return None
    if source.size > limits.descriptor_bytes:
        raise LimitError(
            f"has {source.size:,} bytes, more than the {limits.descriptor_bytes:,} allowed",
            origin=source.origin,
        )
    return bytes(source.read_at(0, source.size)).decode("utf-8-sig", "replace")


def _json(members: Members, path: bytes, limits: Limits) -> dict[str, object]:
    text = _text(members, path, limits)
    if text is None:
        return {}
    origin = members.archive.origin.child(path.decode())
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"is no sound JSON: {error}", origin=origin) from error
    if not isinstance(document, dict):
        raise CorruptError("is no JSON object", origin=origin)
    return document


def _disks(metadata: Mapping[str, object]) -> tuple[str, ...]:
    """Return ``disks[].path`` of a libvirt box with several disks, in their order."""
    listed = metadata.get("disks")
    if not isinstance(listed, list):
        return ()
    paths = [item.get("path") for item in listed if isinstance(item, dict)]
    return tuple(path for path in paths if isinstance(path, str) and path)


def _info(document: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in list(document.items())[:_MAX_SHOWN]:
        if looks_secret(key):
            continue
        if isinstance(value, str):
            found[key.lower()] = value
        elif isinstance(value, int | float):
            found[key.lower()] = json.dumps(value)
    return found
