"""Images and folders wherever a file can be named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from convert.browse import listed
from convert.oci.descriptor import Platform
from convert.opening import open_base, opened, source_config
from convert.options import ConvertOptions, OpenOptions
from formats.core.errors import AmbiguousError, InputReadError, UsageError
from tests.support.images import busybox, config, write
from tests.support.layers import Layout, M, layer, write_image_of
from tests.support.programs import run

TAR = layer(M("d", "etc", mode=0o755), M("f", "etc/a", "a"), M("f", "etc/a", "again"))
OPTIONS = ConvertOptions()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that looks like a root."""
    place = tmp_path / "place"
    for name in ("etc", "bin", "usr/lib"):
        (place / name).mkdir(parents=True)
    (place / "etc/os-release").write_text("ID=test\n")
    (place / "bin/sh").write_text("#!")
    return place


def paths(source: str | Path, path: str = "/etc") -> list[bytes]:
    return [entry.path for entry in listed([source], path, OPTIONS)]


def test_a_folder_is_named_by_its_path_or_with_dir(folder: Path) -> None:
    for source in (folder, str(folder), f"{folder}/", f"dir:{folder}", f"dir:{folder}/"):
        assert paths(source) == [b"etc/os-release"]


def test_a_relative_path_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert paths("place") == paths("dir:place") == [b"etc/os-release"]


def test_an_image_is_a_source(tmp_path: Path) -> None:
    write_image_of(tmp_path / "layout", TAR)
    assert paths(f"oci:{tmp_path / 'layout'}:x") == [b"etc/a"]


def test_a_layout_takes_oci_or_dir(tmp_path: Path) -> None:
    layout = write_image_of(tmp_path / "layout", TAR)
    for source in (str(layout), f"{layout}/"):
        with pytest.raises(AmbiguousError, match=r"oci:.* is the image, dir:.* the files"):
            paths(source)
    assert b"index.json" in paths(f"dir:{layout}", "/")


def test_findings_of_an_image_are_those_of_the_artifact(tmp_path: Path) -> None:
    write_image_of(tmp_path / "layout", TAR)
    with opened(f"oci:{tmp_path / 'layout'}:x", OPTIONS) as artifact:
        assert [finding.rule for finding in artifact.findings] == ["duplicate-member"]


def test_the_config_of_an_image_is_known(tmp_path: Path, folder: Path) -> None:
    write(f"oci:{tmp_path / 'out'}:x", busybox(), how=config(user="7"))
    with opened(f"oci:{tmp_path / 'out'}:x", OPTIONS) as artifact:
        found = source_config(artifact)
        assert found is not None
        assert found.user == "7"
    with opened(folder, OPTIONS) as artifact:
        assert source_config(artifact) is None


def test_the_platform_of_the_options_counts(tmp_path: Path) -> None:
    made = Layout()
    images = [
        made.image(TAR, platform={"architecture": name, "os": "linux"})
        for name in ("amd64", "arm64")
    ]
    where = f"oci:{made.write(tmp_path / 'layout', *images)}"
    options = ConvertOptions(platform="linux/arm64")  # type: ignore[arg-type]  # as users give it
    image = open_base(where, options, lambda _: None)
    assert image.config.platform == Platform("arm64")
    image = open_base(where, options, lambda _: None, platform=Platform("amd64"))
    assert image.config.platform == Platform("amd64")
    with pytest.raises(AmbiguousError):
        open_base(where, OpenOptions(), lambda _: None)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dir:", "names no path"),
        ("docker-daemon:x:1", "docker save -o FILE NAME"),
        ("containers-storage:x:1", "podman save -o FILE NAME"),
        ("docker:x", "is not an image"),
        ("oci:", "names no path"),
    ],
)
def test_what_cannot_be_read_is_said_to_be_so(source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        paths(source)


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for transport in ("", "dir:", "oci:", "oci-archive:", "docker-archive:"):
        for name in ("nothing", "n" * 300):
            with pytest.raises(InputReadError):
                paths(f"{transport}{tmp_path}/{name}")


def test_nothing_is_left_open(folder: Path, tmp_path: Path) -> None:
    write_image_of(tmp_path / "layout", TAR)
    before = len(os.listdir("/proc/self/fd"))
    for source in (folder, f"oci:{tmp_path / 'layout'}:x"):
        paths(source)
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_of_http_is_imported_for_files() -> None:
    code = "import sys, convert.opening, convert.images.opening; print('urllib3' in sys.modules)"
    assert run(sys.executable, "-c", code).stdout == b"False\n"
