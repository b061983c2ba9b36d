"""Images with some bytes changed, by fixed seeds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from formats.core.errors import ConvertError
from formats.core.limits import DEFAULT_LIMITS, MIB
from formats.core.tree import OpenableTree
from tests.support.filesystems import opened

LIMITS = replace(DEFAULT_LIMITS, file_bytes=64 * MIB, entries=20_000)
_VALUES = (0, 1, 0x80, 0xFF)

Seal = Callable[[bytearray, int], None]


def read_all(image: Path) -> str:
    """Read an image whole, and return ``"tree"`` or the code of the error that it came to."""
    try:
        with opened(image, LIMITS) as (tree, _):
            for entry in tree.entries():
                if not entry.size:
                    continue
                for _chunk in tree.read(entry):
                    pass
                assert isinstance(tree, OpenableTree)
                assert len(tree.open(entry).read_at(0, 10)) == min(10, entry.size)
    except ConvertError as error:
        return error.code
    return "tree"


def outcomes(
    image: Path, seeds: range, start: int, end: int, seal: Seal | None = None
) -> Counter[str]:
    """Return what images with changed bytes between two offsets come to.

    :param seal: puts right the checksum over a place, so that the change gets past it.
    """
    sound = image.read_bytes()
    places = [
        at for at in range(start, min(end, len(sound))) if sound[at & ~15 : at | 15].strip(b"\0")
    ]
    found: Counter[str] = Counter()
    for seed in seeds:
        choice = random.Random(seed)
        data = bytearray(sound)
        for _ in range(choice.choice((1, 1, 2, 8))):
            at = choice.choice(places)
            data[at] = choice.choice((*_VALUES, choice.randrange(256)))
            if seal is not None:
                seal(data, at)
        if choice.random() < 0.1:
            del data[choice.randrange(len(data)) :]
        changed = image.with_suffix(".changed")
        changed.write_bytes(data)
        found[read_all(changed)] += 1
    return found
