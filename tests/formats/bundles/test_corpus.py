"""Compressed files of others, against what the programs decompress."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from formats.bundles.compressed import READERS
from formats.core.errors import LimitError
from formats.core.limits import DEFAULT_LIMITS, MIB
from tests.support.disks import digest, inside, opened
from tests.support.programs import need, run
from tests.support.survey import rows, survey

PROGRAMS = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


def test_compressed_files_of_others_give_what_the_programs_give() -> None:
    need(*PROGRAMS.values())
    limits = replace(DEFAULT_LIMITS, disk_virtual_bytes=32 * MIB)
    compared = 0
    for row in rows():
        if row.path.suffix in PROGRAMS:
            with opened(row.path, *READERS, limits=limits) as artifact:
                if isinstance(artifact.nodes[0].problem, LimitError):
                    continue  # it would take the test's time and tell nothing more
                ours = digest(inside(artifact))
            plain = run(PROGRAMS[row.path.suffix], "-dc", row.path, check=False).stdout
            assert ours == hashlib.sha256(plain).hexdigest(), row.name
            compared += 1
    assert compared > 60


def test_hostile_compressed_files_are_opened_within_bounds() -> None:
    files = [row.path for row in rows() if row.path.suffix in PROGRAMS and row.is_hostile]
    assert len(files) > 20
    for file, nodes in survey(files).items():
        assert nodes[0].code is None, file
        assert "internal-error" not in {node.code for node in nodes}, file
