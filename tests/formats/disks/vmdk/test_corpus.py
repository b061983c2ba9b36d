"""Disks of others: VirtualBox, VMware, qemu, and what fuzzers made of them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, CorruptError, UnsupportedError
from formats.core.source import ByteSource
from tests.formats.disks.vmdk.support import opened
from tests.support.programs import CORPUS, corpus, need, run

READ_AS_QEMU_DOES = (
    "ovf/cot_input/input.vmdk",
    "vmdk/cot__blank.vmdk",
    "vmdk/derived__alpine-monolithicSparse.vmdk.gz",
    "vmdk/osv-scalibr__valid-ext-exfat-fat32-ntfs.vmdk.gz",
    "vmdk/qemu__iotest-version3.vmdk",
    "vmdk/vmdk-forensic__compressed_stream_opt.vmdk",
    "vmdk/vmdk-forensic__dfvfs_ext2.vmdk",
    "vmdk/vmdk-forensic__minimal.vmdk",
    "vmdk/vmdk-forensic__stream_opt.vmdk",
    "vmdk/vmdk-forensic_mono_flat/mono_flat.vmdk",
    "vmdk/vmdk-rs__streamOptimized.vmdk",
    "vmdk/vmdk-rs_twoGbMaxExtentSparse/twoGbMaxExtentSparse.vmdk",
)
REFUSED: dict[str, tuple[type[ConvertError], str]] = {
    "vmdk/qemu__afl9.vmdk": (CorruptError, "damaged header"),
    "vmdk/vmdk-forensic__tw_sparse_data.vmdk": (CorruptError, r"s001\.vmdk', which is missing"),
    "vmdk/vmdk-rs__monolithicFlat.vmdk": (CorruptError, r"-flat\.vmdk', which is missing"),
    "vmdk/vmdk-rs__vmfs_thick-000001.vmdk": (
        CorruptError,
        r"snapshot of 'vmfs_thick\.vmdk', which is missing",
    ),
    "vmdk/vmdk-rs_twoGbMaxExtentSparse/twoGbMaxExtentSparse-s001.vmdk": (
        UnsupportedError,
        r"give 'twoGbMaxExtentSparse\.vmdk' instead",
    ),
}
RAW_BYTES = ("vmdk/vmdk-forensic_mono_flat/mono_flat-flat.vmdk",)
"""Flat extents, which look like what is in them and not like a VMDK."""


def data_of(file: Path) -> list[tuple[int, int]]:
    """Return (offset, end) of what is no hole, as the host's filesystem has it."""
    found = []
    with file.open("rb") as opened_file:
        end = 0
        while end < file.stat().st_size:
            try:
                start = os.lseek(opened_file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(opened_file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))
    return found


def same_bytes(source: ByteSource, oracle: Path) -> bool:
    """Compare what is no hole on either side; a disk may be much larger than its data."""
    ours = [(e.offset, e.offset + e.length) for e in source.extents() if not e.is_hole]
    with oracle.open("rb") as file:
        for start, end in [*ours, *data_of(oracle)]:
            file.seek(start)
            if source.read_at(start, end - start) != file.read(end - start):
                return False
    return source.size == oracle.stat().st_size


@pytest.mark.parametrize("name", READ_AS_QEMU_DOES)
def test_a_disk_of_others_reads_as_qemu_reads_it(name: str, tmp_path: Path) -> None:
    need("qemu-img")
    path = corpus(name)
    if path.suffix == ".gz":
        plain = tmp_path / path.stem
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        path = plain
    oracle = tmp_path / "oracle"
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, oracle)
    with opened(path) as disk:
        assert same_bytes(disk.source, oracle)


@pytest.mark.parametrize("name", REFUSED)
def test_a_disk_of_others_is_refused_for_its_reason(name: str) -> None:
    error, message = REFUSED[name]
    with pytest.raises(error, match=message), opened(corpus(name)):
        pass


def test_every_disk_of_others_has_its_test() -> None:
    corpus("vmdk")
    found = {path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("vmdk/**/*.vmdk*")}
    assert found <= {*READ_AS_QEMU_DOES, *REFUSED, *RAW_BYTES}
