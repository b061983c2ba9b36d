"""Images with one filesystem: what we read of them, and what the kernel does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, UnsupportedError
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import open_artifact
from formats.core.registry import Registry
from formats.core.tree import Tree
from tests.support.listing import (
    Row,
    kernel_listing,
    loop_mounted,
    loop_mounted_writable,
    tree_listing,
)

TYPED = frozenset({"corrupt", "unsupported", "encrypted", "limit-exceeded"})
"""What :func:`outcome` may be for a damaged image, beside ``"tree"``."""


@contextmanager
def opened(
    image: Path, limits: Limits = DEFAULT_LIMITS, registry: Registry | None = None
) -> Iterator[tuple[Tree, list[Finding]]]:
    """Open an image; raise what kept it from being opened, or that nobody knew it."""
    with open_artifact([image], registry=registry, limits=limits) as artifact:
        (node,) = artifact.nodes
        if node.problem is not None:
            raise node.problem
        if node.tree is None:
            raise UnsupportedError("nobody knew the image")
        yield node.tree, artifact.findings


def listing(image: Path, limits: Limits = DEFAULT_LIMITS) -> dict[bytes, Row]:
    """Return what we read of an image."""
    with opened(image, limits) as (tree, _):
        return tree_listing(tree)


def outcome(image: Path, limits: Limits, look: Callable[[Path, Limits], object] = listing) -> str:
    """Return what reading an image comes to: ``"tree"``, or the code of the error."""
    try:
        look(image, limits)
    except ConvertError as error:
        return error.code
    return "tree"


def assert_refused_at(image: Path, path: str, reason: str) -> None:
    """Assert that an image is damaged at a path, for a reason."""
    with pytest.raises(CorruptError) as caught:
        listing(image)
    assert caught.value.message.startswith(f"'{path}': ")
    assert reason in caught.value.message


def listing_after_kernel(image: Path, filesystem: str) -> dict[bytes, Row]:
    """Let the kernel replay a copy of ``image``, and return what it shows then."""
    copy = image.with_suffix(".kernel")
    shutil.copyfile(image, copy)
    try:
        with loop_mounted_writable(copy, filesystem):
            pass  # a mount that may write is what replays
        with loop_mounted(copy, filesystem) as root:
            return kernel_listing(root)
    finally:
        copy.unlink()


def kernel_refuses(image: Path, filesystem: str) -> bool:
    """Tell whether the kernel does not mount a copy of ``image``."""
    copy = image.with_suffix(".kernel")
    shutil.copyfile(image, copy)
    try:
        with loop_mounted_writable(copy, filesystem):
            return False
    except AssertionError:
        return True
    finally:
        copy.unlink()
