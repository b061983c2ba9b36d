"""Fetching images in tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.convert.images.registry.support import (
    Puller,
)


@pytest.fixture
def pull(tmp_path: Path) -> Iterator[Puller]:
    with ExitStack() as resources:
        yield Puller(resources, tmp_path)
