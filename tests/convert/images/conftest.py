"""Opening images in tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from convert.images.opening import OpenedImage, open_image

Open = Callable[..., OpenedImage]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Return what opens an image that is closed at the end of the test."""
    with ExitStack() as resources:

        def open_it(reference: str, **settings: Any) -> OpenedImage:
            return open_image(reference, on_close=resources.callback, **settings)

        yield open_it
