from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable

import pytest

from formats.core.glance import may_be_tar, may_be_text, may_have_md_superblock
from formats.core.origin import Origin
from formats.core.registry import BUILTIN_READERS, Builtin, _load_builtin, default_registry
from formats.core.source import ByteSource, MemorySource

WAITING = [builtin for builtin in BUILTIN_READERS if builtin.waits]
SIGNED = [builtin for builtin in BUILTIN_READERS if builtin.signatures]


@pytest.mark.parametrize("builtin", SIGNED, ids=lambda builtin: builtin.reference)
def test_a_reader_waits_for_no_less_than_its_own_signatures(builtin: Builtin) -> None:
    readers = _load_builtin(builtin.reference)
    assert tuple(reader.name for reader in readers) == builtin.names
    for reader in readers:
        assert reader.signatures
        for signature in reader.signatures:
            assert any(
                signature.offset == waited.offset and signature.magic.startswith(waited.magic)
                for waited in builtin.signatures
            )


def test_a_source_imports_only_the_readers_that_it_may_be_of() -> None:
    script = (
        "import sys\n"
        "from formats.core.origin import Origin\n"
        "from formats.core.registry import default_registry\n"
        "from formats.core.source import MemorySource\n"
        "found = default_registry().match(MemorySource(b'hsqs' + bytes(4092), Origin(('x',))))\n"
        "print(found.name, 'formats.filesystems.xfs.reader' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "squashfs False\n"


@pytest.mark.parametrize(
    ("glance", "head"),
    [
        (may_be_text, b"\n<Envelope"),
        (may_be_text, "<Envelope".encode("utf-16")),
        (may_be_text, "<Envelope".encode("utf-16-be")),
        (may_be_tar, tarfile.TarInfo("x").tobuf()),
        (may_have_md_superblock, bytes(4096) + b"\xfc\x4e\x2b\xa9"),
        (may_have_md_superblock, (b"\xa9\x2b\x4e\xfc" + bytes(65532))),
    ],
)
def test_a_glance_sees_what_may_be_meant(glance: Callable[[ByteSource], bool], head: bytes) -> None:
    assert glance(MemorySource(head, Origin(("x",))))
    assert not glance(MemorySource(b"hsqs" + bytes(1 << 17), Origin(("x",))))


def test_a_reader_that_waits_is_found_by_its_name_and_among_all() -> None:
    registry = default_registry()
    assert registry.get("xfs").name == "xfs"
    assert {name for builtin in WAITING for name in builtin.names} <= {
        reader.name for reader in registry
    }


def test_nothing_known_stays_nothing_known() -> None:
    assert default_registry().match(MemorySource(bytes(4096), Origin(("x",)))) is None
