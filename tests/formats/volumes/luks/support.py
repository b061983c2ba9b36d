"""Opening LUKS volumes in tests, with nothing but their own readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from formats.core.errors import ConvertError
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import open_artifact
from formats.core.registry import Registry
from formats.volumes.luks import READERS
from tests.images.luks import PASSPHRASE
from tests.support.disks import inside, whole


def content(
    image: Path, keys: Sequence[bytes] = (PASSPHRASE,), limits: Limits = DEFAULT_LIMITS
) -> bytes:
    """Return all bytes of the volume inside, or raise what kept it from being opened."""
    with open_artifact([image], registry=Registry(READERS), keys=keys, limits=limits) as artifact:
        return whole(inside(artifact), 100_000)


def problem(image: Path, keys: Sequence[bytes] = (PASSPHRASE,)) -> ConvertError:
    """Return what keeps a volume from being opened."""
    with open_artifact([image], registry=Registry(READERS), keys=keys) as artifact:
        (node,) = artifact.nodes
    assert node.problem is not None
    return node.problem
