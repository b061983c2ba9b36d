"""A real Debian on a live ISO: one command, a container that serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.images.media import LAYOUTS, iso, live_root, medium_of, squash
from tests.images.recipes.debian_server import PAGE, ROOT_OFFSET, root_bytes
from tests.support.command import convert, succeed
from tests.support.containers import front_page, podman
from tests.support.listing import loop_mounted
from tests.support.programs import run


@pytest.fixture(scope="module")
def live_iso(debian_disks: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system of the Debian disk as live-build puts it on a medium."""
    folder = tmp_path_factory.mktemp("debian-live")
    medium = folder / "medium"
    size = root_bytes(debian_disks[0])
    with loop_mounted(debian_disks[0], "ext4", offset=ROOT_OFFSET, size=size) as root:
        squash(root, medium / "live/filesystem.squashfs", "-e", "boot", "lost+found")
    for name in ("vmlinuz", "initrd.img"):
        (medium / "live" / name).write_bytes(b"started by machines only")
    return iso(medium, folder / "debian-live.iso")


def test_podman_runs_a_live_iso_and_nginx_serves_its_page(live_iso: Path, tmp_path: Path) -> None:
    done = json.loads(succeed("run", "--json", live_iso, f"oci:{tmp_path}/out:live"))
    assert done["decisions"]["root"] == "debian-live.iso › live/filesystem.squashfs"
    with podman() as engine:
        engine.start(f"oci:{tmp_path}/out:live", "server")
        assert PAGE in front_page()


@pytest.mark.parametrize("layout", ["LiveOS, ext4 in squashfs", "live-boot"])
def test_a_medium_in_a_folder_or_an_archive_has_its_system_too(layout: str, tmp_path: Path) -> None:
    root = live_root(tmp_path / "root")
    medium = medium_of(LAYOUTS[layout], root, tmp_path / "work")
    run("tar", "-C", medium, "-czf", tmp_path / "medium.tgz", ".")
    for source in (medium, tmp_path / "medium.tgz", iso(medium, tmp_path / "medium.iso")):
        assert 'PRETTY_NAME="Live Linux 1"' in succeed("cat", source, "/etc/os-release")


def test_a_medium_without_a_system_is_refused_by_run_and_shown_by_ls(tmp_path: Path) -> None:
    (tmp_path / "medium/sources").mkdir(parents=True)
    (tmp_path / "medium/bootmgr").write_bytes(b"x")
    (tmp_path / "medium/sources/install.wim").write_bytes(b"MSWIM")
    image = iso(tmp_path / "medium", tmp_path / "windows.iso")
    done = convert("run", image, f"oci:{tmp_path}/out:x")
    assert done.code == 3
    assert "is a Windows installation medium" in done.err
    assert "/sources/install.wim" in succeed("ls", image, "/sources")
