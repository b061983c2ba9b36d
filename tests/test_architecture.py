"""Imports go one way: convert may import formats, formats never imports convert."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN: dict[str, tuple[str, ...]] = {
    "formats": ("convert", "click", "tqdm", "pydantic"),
    "formats/core": ("formats.disks", "formats.volumes", "formats.filesystems", "formats.bundles"),
    "convert/layers": ("click", "tqdm", "convert.cli", "convert.pipeline", "convert.oci"),
    "convert/oci": ("click", "tqdm", "convert.cli", "convert.pipeline", "convert.inspect"),
    "convert/images": ("click", "tqdm", "convert.cli", "convert.pipeline", "convert.opening"),
    "convert/inspect": ("click", "tqdm", "convert.cli", "convert.pipeline", "convert.oci"),
    "convert/rules": ("click", "tqdm", "convert.cli", "convert.pipeline", "convert.oci"),
    "convert/secrets": ("click", "tqdm", "convert.cli", "convert.pipeline", "convert.plan"),
    "convert/services": ("click", "tqdm", "convert.cli"),
    "convert/dockerfile": ("click", "tqdm", "convert.cli"),
    "convert/report": ("click", "tqdm", "convert.cli"),
    "convert/pipeline.py": ("click", "tqdm", "convert.cli"),
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    place = ROOT / room
    files = [place] if place.suffix else sorted(place.rglob("*.py"))
    assert files, f"{room} is gone: change the table"
    for path in files:
        for module in imported(path):
            for forbidden in FORBIDDEN[room]:
                assert module != forbidden, f"{path} imports {module}"
                assert not module.startswith(f"{forbidden}."), f"{path} imports {module}"
