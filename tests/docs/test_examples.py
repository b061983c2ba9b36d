"""Every example in README.md and docs/ is run, and shows what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images import tiny, tiny_packages
from tests.support.programs import need

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ANYTHING = "…"


@dataclass(frozen=True, slots=True)
class Example:
    """A command or a script, and what the page says it prints."""

    command: list[str]
    expected: str


def examples(page: Path) -> Iterator[Example]:
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            yield Example([sys.executable, "-c", text], "")
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield Example(["bash", "-c", command], expected)


def pattern(expected: str) -> re.Pattern[str]:
    """Return what output has to look like: a line of … is any number of lines, … in a line any
    text, and any run of blanks is as good as another."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == _ANYTHING:
            lines.append(r"(?:.*\n)*?")
            continue
        words = (re.escape(word).replace(re.escape(_ANYTHING), ".*") for word in line.split())
        lines.append(r" *" + r"\s+".join(words).replace(r"\s+.*", r".*") + r"[^\n]*\n")
    return re.compile("".join(lines) + r"\Z")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("mke2fs", "sfdisk", "qemu-img", "busybox")
    place = tmp_path_factory.mktemp("examples")
    tiny.build_all(place)
    tiny_packages.build_packages(place)
    return place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_do_what_it_says(page: Path, folder: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for example in examples(page):
        done = subprocess.run(
            example.command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if '"error"' not in example.expected:
            assert done.returncode == 0, (example.command[-1], done.stderr)
        if example.expected:
            assert pattern(example.expected).fullmatch(done.stdout), (
                f"{example.command[-1]} printed\n{done.stdout}"
            )


def test_all_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
