"""Images of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import UnsupportedError
from formats.disks.qcow2.reader import READER
from tests.support.disks import digest, inside, opened
from tests.support.programs import corpus, run

pytestmark = pytest.mark.usefixtures("qemu")


_CORPUS_IMAGES = (
    "dfvfs__ext2.qcow2",
    "dissect_backing-chain/backing-chain-1.qcow2",
)


@pytest.mark.parametrize("name", _CORPUS_IMAGES)
def test_images_of_others_read_as_qemu_reads_them(name: str, tmp_path: Path) -> None:
    path = corpus(f"qcow2/{name}")
    target = tmp_path / "oracle"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, target)
    with opened(path, READER) as artifact:
        ours = digest(inside(artifact))
    assert ours == run("sha256sum", target).stdout.split()[0].decode()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("dissect__data-file-alone.qcow2", UnsupportedError),
        ("dissect_data-file/data-file.qcow2", UnsupportedError),
    ],
)
def test_images_of_others_are_refused_for_their_reason(name: str, error: type[Exception]) -> None:
    with opened(corpus(f"qcow2/{name}"), READER) as artifact:
        assert isinstance(artifact.nodes[0].problem, error)
