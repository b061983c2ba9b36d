"""What is in artifacts that nobody here made, hostile ones among them.

They are opened in a process of its own, with bounded memory, and bounded time for each: ``python
-m tests.support.survey FILE…`` prints one line of JSON for each.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import ConvertError
from formats.core.opener import Node, open_artifact
from formats.core.tree import Tree
from tests.support.programs import CORPUS, corpus

MEMORY_BYTES = 512 << 20
SECONDS = 120
SECONDS_A_FILE = 20
_CHUNKS_OF_A_FILE = 8
_COMPRESSED: dict[str, type[bz2.BZ2File | gzip.GzipFile | lzma.LZMAFile]] = {
    ".bz2": bz2.BZ2File,
    ".gz": gzip.GzipFile,
    ".xz": lzma.LZMAFile,
}
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the corpus' list: what others say of an artifact, and what is expected."""

    name: str
    kind: str
    is_hostile: bool
    expected: str
    oracle: str

    @property
    def path(self) -> Path:
        return CORPUS / self.name


@dataclass(frozen=True, slots=True)
class Seen:
    """One node of an opened artifact.

    :ivar counts: files, folders (but the root), symlinks and others in its tree.
    """

    reader: str | None
    code: str | None = None
    error: str = ""
    hint: str | None = None
    counts: tuple[int, int, int, int] | None = None


def rows(*kinds: str) -> list[Row]:
    """Return what the corpus has of these kinds, all without any; skip where it is not here."""
    manifest = CORPUS / "MANIFEST.tsv"
    if not manifest.exists():
        pytest.skip("the corpus is not here")
    found = []
    for line in manifest.read_text().splitlines()[1:]:
        name, _, _, kind, _, _, _, hostile, text = line.split("\t")
        expected, _, oracle = text.partition("; oracle: ")
        if not kinds or kind in kinds:
            found.append(Row(name, kind, hostile == "yes", expected, oracle))
    return found


def unpacked(name: str, folder: Path) -> Path:
    """Return an artifact without its transport compression, zeros as holes; skip without it."""
    packed = corpus(name)
    opener = _COMPRESSED.get(packed.suffix)
    if opener is None:
        return packed
    target = folder / packed.stem
    with opener(packed) as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            if chunk.strip(b"\0"):
                file.write(chunk)
            else:
                file.seek(len(chunk), 1)
        file.truncate()
    return target


def survey(files: Sequence[Path]) -> dict[Path, list[Seen]]:
    """Open each file with all readers, and read something of everything that is in it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.survey", *files],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    lines = done.stdout.splitlines()
    last = files[min(len(lines), len(files) - 1)]
    assert done.returncode == 0, f"{last}: {done.stderr.decode()}"
    return {
        file: [Seen(**node) for node in json.loads(line)]
        for file, line in zip(files, lines, strict=True)
    }


def _nodes(file: Path) -> Iterator[Seen]:
    with open_artifact([file]) as artifact:
        for node in artifact.walk():
            yield _seen(node)


def _seen(node: Node) -> Seen:
    reader = node.reader.name if node.reader is not None else None
    try:
        if node.problem is not None:
            raise node.problem
        counts = _counts(node.tree) if node.tree is not None else None
        return Seen(reader, counts=counts)
    except ConvertError as error:
        return Seen(reader, error.code, str(error), error.hint)


def _counts(tree: Tree) -> tuple[int, int, int, int]:
    kinds: Counter[Kind] = Counter()
    for entry in tree.entries():
        kinds[entry.kind] += 1
        if entry.kind is Kind.FILE:
            for _ in islice(tree.read(entry), _CHUNKS_OF_A_FILE):
                pass
    files = kinds.pop(Kind.FILE, 0) + kinds.pop(Kind.HARDLINK, 0)
    folders = kinds.pop(Kind.FOLDER) - 1
    symlinks = kinds.pop(Kind.SYMLINK, 0)
    return files, folders, symlinks, kinds.total()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for file in sys.argv[1:]:
        signal.alarm(SECONDS_A_FILE)
        print(json.dumps([asdict(node) for node in _nodes(Path(file))]), flush=True)


if __name__ == "__main__":
    main()
