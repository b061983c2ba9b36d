"""The main job: a real server's disk in any form, one command, a container that serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.images.recipes.debian_server import PAGE, ROOT_OFFSET, root_bytes
from tests.support.command import succeed
from tests.support.containers import front_page, podman
from tests.support.listing import Row, difference, kernel_listing, loop_mounted
from tests.support.programs import need, need_root, run
from tests.support.running import Image, running


@pytest.fixture(scope="module")
def converted(
    debian_disks: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, str]]]:
    """The layout, and the image documents of all three forms."""
    layout = tmp_path_factory.mktemp("converted") / "out"
    images = [
        json.loads(succeed("run", "--json", disk, f"oci:{layout}:{disk.suffix[1:]}"))["image"]
        for disk in debian_disks
    ]
    return layout, images


def test_raw_qcow2_and_vmdk_give_the_same_image(
    converted: tuple[Path, list[dict[str, str]]],
) -> None:
    _, images = converted
    assert len(images) == 3
    assert len({image["digest"] for image in images}) == 1


def test_podman_runs_it_and_nginx_serves_its_page(
    converted: tuple[Path, list[dict[str, str]]],
) -> None:
    layout, _ = converted
    with podman() as engine:
        engine.start(f"oci:{layout}:vmdk", "server")
        assert PAGE in front_page()
        processes = engine("top", "server", "args").decode()
    assert "nginx: master process /usr/sbin/nginx" in processes
    assert "systemd" not in processes


def test_podman_stop_ends_it_by_the_signal_that_nginx_ends_in_order_by(
    converted: tuple[Path, list[dict[str, str]]],
) -> None:
    image = Image.of(f"oci:{converted[0]}:raw")
    assert image.config["StopSignal"] == "SIGQUIT"
    with running(image, "stopped") as container:
        assert PAGE in container.got(80, "/")
        assert container.stop().is_in_order


def whole_seconds(listing: dict[bytes, Row]) -> dict[bytes, Row]:
    return {path: replace(row, mtime_ns=row.mtime_ns // 10**9) for path, row in listing.items()}


def test_the_untouched_tree_is_the_kernels(debian_disks: tuple[Path, ...], tmp_path: Path) -> None:
    """Compared after GNU tar unpacked it again, so that the archive is what is compared."""
    need("tar")
    need_root()
    raw, _, vmdk = debian_disks
    archive, unpacked = tmp_path / "tree.tar", tmp_path / "tree"
    succeed("export", "-q", "--raw", vmdk, f"tar:{archive}")
    unpacked.mkdir()
    flags = ("--xattrs", "--xattrs-include=*", "--same-owner", "--same-permissions")
    run("tar", "-C", unpacked, *flags, "-xf", archive)
    size = root_bytes(raw)
    with loop_mounted(raw, "ext4", offset=ROOT_OFFSET, size=size, options="noload") as mounted:
        theirs = whole_seconds(kernel_listing(mounted))
    assert difference(theirs, whole_seconds(kernel_listing(unpacked))) == []
