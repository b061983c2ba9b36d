"""What is refused, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from formats.core.errors import EncryptedError
from formats.disks.qcow2.reader import READER
from tests.formats.disks.qcow2.support import (
    MIB,
    patch,
    problem,
)
from tests.images.luks import encrypting_qemu
from tests.support.disks import inside, opened
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("qemu")


def set_backing(image: Path, name: str, backing_format: str | None) -> None:
    """Write a backing name that qemu-img would refuse to write."""
    header_length = image.read_bytes()[103]
    position = header_length
    if backing_format is not None:
        extension = 0xE2792ACA.to_bytes(4, "big") + len(backing_format).to_bytes(4, "big")
        padded = -(-len(backing_format) // 8) * 8
        patch(image, position, extension + backing_format.encode().ljust(padded, b"\0"))
        position += 8 + padded
    patch(image, position, bytes(8))
    patch(image, position + 8, name.encode())
    patch(image, 8, (position + 8).to_bytes(8, "big") + len(name.encode()).to_bytes(4, "big"))


@pytest.mark.parametrize("kind", ["aes", "luks"])
def test_encrypted_images_are_refused_as_such(tmp_path: Path, kind: str) -> None:
    image = tmp_path / "disk.qcow2"
    options = f"encrypt.format={kind},encrypt.key-secret=key"
    if kind == "luks":
        options += ",encrypt.iter-time=10"  # as weak as a test may be
    secret = ["--object", "secret,id=key,data=word"]
    encrypting_qemu("create", *secret, "-f", "qcow2", "-o", options, image, "1M")
    with opened(image, READER) as artifact:
        error = artifact.nodes[0].problem
    assert isinstance(error, EncryptedError)
    assert kind.upper() in str(error)


def test_an_external_data_file_is_refused_by_name(tmp_path: Path) -> None:
    image, data = tmp_path / "disk.qcow2", tmp_path / "data.bin"
    run(
        "qemu-img",
        "create",
        "-f",
        "qcow2",
        "-o",
        f"data_file={data.name}",
        image,
        "1M",
        cwd=tmp_path,
    )
    assert problem(image).startswith("unsupported:")
    assert "external data file, 'data.bin'" in problem(image)


def test_an_unknown_feature_is_refused_with_its_name(image: Path) -> None:
    patch(image, 72, bytes([0x80]))
    assert "bit 63" in problem(image)
    patch(image, 72, bytes(7) + bytes([0x20]))
    table = bytes([0, 5]) + b"warp drive".ljust(46, b"\0")
    extension = 0x6803F857.to_bytes(4, "big") + len(table).to_bytes(4, "big") + table
    patch(image, image.read_bytes()[103], extension + bytes(8))
    assert "not known: warp drive" in problem(image)


def test_an_image_marked_as_corrupt_is_refused_with_the_way_out(image: Path) -> None:
    patch(image, 79, b"\x02")
    assert "qemu-img check -r all" in problem(image)


def test_qcow_version_1_is_refused_by_name(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow"
    run("qemu-img", "create", "-f", "qcow", image, "1M")
    assert "qcow version 1 disk" in problem(image)


def test_backing_images_elsewhere_are_refused_unless_allowed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = outside / "base.raw"
    base.write_bytes(b"secret" * 1000)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "link.raw").symlink_to(base)
    image = folder / "top.qcow2"
    for name in [str(base), "../outside/base.raw", "link.raw"]:
        run("qemu-img", "create", "-f", "qcow2", "-u", "-b", name, "-F", "raw", image, "1M")
        text = problem(image)
        assert text.startswith("unsupported:"), name
        assert "--allow-backing" in text
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", str(base), "-F", "raw", image, "1M")
    with opened(image, READER, allow_backing=[outside]) as artifact:
        assert bytes(inside(artifact).read_at(0, 6)) == b"secret"


@pytest.mark.parametrize(
    "name",
    [
        'json:{"driver":"raw"}',
        "nbd://localhost/export",
        "file:base.raw",
        "https://example.com/base.qcow2",
        "..",
        "sub/base.raw",
    ],
)
def test_names_that_are_no_plain_names_are_refused(tmp_path: Path, name: str) -> None:
    image = tmp_path / "top.qcow2"
    (tmp_path / "base.raw").write_bytes(b"x" * 512)
    run("qemu-img", "create", "-f", "qcow2", image, "1M")
    set_backing(image, name, "raw")
    assert problem(image).startswith("unsupported:")
    assert "--allow-backing" in problem(image)


def test_a_backing_format_that_is_not_stated_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(512))
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", image, "1M")
    set_backing(image, "base.raw", None)
    assert "does not state its format" in problem(image)


def test_a_backing_format_that_is_not_true_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.raw").write_bytes(bytes(MIB))
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "base.raw", "-F", "qcow2", image, "1M")
    assert "is not of the format 'qcow2'" in problem(image)


def test_a_backing_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "base.qed").write_bytes(bytes(MIB))
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "base.qed", "-F", "qed", image, "1M")
    assert "'base.qed' of the format 'qed', which is not read" in problem(image)


def test_a_missing_backing_image_is_named(tmp_path: Path) -> None:
    image = tmp_path / "top.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "gone.raw", "-F", "raw", image, "1M")
    assert "needs 'gone.raw', which is missing" in problem(image)


def test_an_image_that_backs_itself_meets_the_limit(tmp_path: Path) -> None:
    image = tmp_path / "loop.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-u", "-b", "loop.qcow2", "-F", "qcow2", image, "1M")
    assert problem(image).startswith("limit-exceeded:")
