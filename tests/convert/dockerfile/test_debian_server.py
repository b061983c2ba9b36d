"""A real Debian server: its disk becomes a Dockerfile, which is built and serves the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.dockerfile.wanted import EXTENDED_STATES, wanted_packages
from convert.packages.installed import installed_packages
from formats.core.opener import open_artifact
from formats.core.package import PackageSystem
from formats.core.tree import TreeIndex
from tests.convert.dockerfile.support import built, drafted
from tests.images.recipes.debian_server import PAGE
from tests.images.recipes.debian_systems import base_root
from tests.support.containers import front_page, podman
from tests.support.programs import need, run


@pytest.mark.slow
def test_nginx_of_the_dockerfile_serves_the_page_of_the_disk(
    debian_disks: tuple[Path, ...], tmp_path: Path
) -> None:
    document = drafted(debian_disks[0], tmp_path / "out")
    assert document["base"].endswith("-slim")
    assert document["packages"] == ["nginx-light"]
    with podman() as engine:
        engine("import", base_root(), "localhost/base")
        config = built(engine, tmp_path / "out")
        engine.start("localhost/built", "server")
        assert PAGE in front_page()
        installed = engine("exec", "server", "dpkg-query", "-W", "-f", "${Package}\\n").decode()
    assert config["StopSignal"] in {"SIGQUIT", "3"}
    assert "nginx" in installed.split()
    assert "openssh-server" not in installed.split()


def test_apt_mark_agrees_which_packages_were_asked_for(
    debian_disks: tuple[Path, ...], tmp_path: Path
) -> None:
    need("apt-mark")
    with open_artifact([debian_disks[0]]) as artifact:
        index = next(TreeIndex(node.tree) for node in artifact.walk() if node.tree is not None)
        wanted, problem = wanted_packages(index, installed_packages(index), PackageSystem.DEB)
        (tmp_path / "extended_states").write_bytes(index.content(EXTENDED_STATES) or b"")
        (tmp_path / "status").write_bytes(index.content(b"var/lib/dpkg/status") or b"")
    settings = {
        "Dir::State": tmp_path,
        "Dir::State::extended_states": tmp_path / "extended_states",
        "Dir::State::status": tmp_path / "status",
        "Dir::Cache": tmp_path,
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    theirs = run("apt-mark", *options, "showmanual").stdout.decode().split()
    assert problem is None
    assert "nginx-light" in theirs
    assert list(wanted.names) == sorted(theirs)
