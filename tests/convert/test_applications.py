"""Packages, archives and scripts as a user converts them: with and without a base."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, convert, succeed
from tests.support.containers import podman
from tests.support.layers import Layout, M, layer, named
from tests.support.programs import need, run


def config_of(layout: Path) -> dict[str, Any]:
    manifest = _blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
    config: dict[str, Any] = _blob(layout, manifest["config"])
    return config


def printed(layout: Path) -> bytes:
    """Return what a container of the image prints."""
    with podman() as engine:
        image = engine("pull", "-q", f"oci:{layout}:x").decode().strip()
        return engine.run(image)


def _blob(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    algorithm, _, digest = descriptor["digest"].partition(":")
    document: dict[str, Any] = json.loads((layout / "blobs" / algorithm / digest).read_bytes())
    return document


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a system that is a static busybox, with a merged /usr and a config."""
    folder = tmp_path_factory.mktemp("base")
    root = folder / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "bin").symlink_to("usr/bin")
    need("busybox")
    shutil.copy("/bin/busybox", root / "usr/bin/busybox")
    for name in ("sh", "env", "echo"):
        (root / "usr/bin" / name).symlink_to("busybox")
    (root / "etc/os-release").write_text('ID=tiny\nPRETTY_NAME="Tiny 1"\nVERSION_ID=1\n')
    layout = folder / "base"
    options = ("--env", "PATH=/usr/bin:/bin", "--port", "81", "--label", "maker=us")
    succeed("run", "-q", root, f"oci:{layout}:1", "--cmd", "/bin/sh", *options)
    return layout


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "app-1.0/bin/app"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho it runs\n")
    program.chmod(0o755)
    path = tmp_path / "app.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "app-1.0", "app-1.0")
    return path


def test_an_archive_goes_below_a_prefix_of_its_base_and_runs(
    archive: Path, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    where = ("--strip-top", "--prefix", "/opt/app", "--base", f"oci:{base}:1")
    succeed("run", "-q", archive, f"oci:{out}:x", *where)
    config = config_of(out)["config"]
    assert config["Entrypoint"] == ["/opt/app/bin/app"]
    assert config["ExposedPorts"] == {"81/tcp": {}}
    assert config["Labels"]["maker"] == "us"
    assert config["Env"] == ["PATH=/usr/bin:/bin"]
    assert succeed("cat", f"oci:{out}:x", "/opt/app/bin/app") == "#!/bin/sh\necho it runs\n"
    succeed("verify", "-q", f"oci:{out}:x", archive, *where)
    assert printed(out) == b"it runs\n"


def test_what_an_archive_has_in_bin_goes_where_the_base_has_it(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "tool.zip"
    with zipfile.ZipFile(path, "w") as file:
        member = zipfile.ZipInfo("bin/tool")
        member.create_system, member.external_attr = 3, 0o100755 << 16
        file.writestr(member, "#!/bin/sh\n")
    out = tmp_path / "out"
    succeed("run", "-q", path, f"oci:{out}:x", "--base", f"oci:{base}:1")
    assert config_of(out)["config"]["Entrypoint"] == ["/usr/bin/tool"]
    assert succeed("ls", f"oci:{out}:x", "/bin/tool") == "/usr/bin/tool\n"


def test_a_script_is_put_on_a_base_that_has_its_interpreter(base: Path, tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_text("#!/usr/bin/env sh\necho done\n")
    alone = convert("run", script, f"oci:{tmp_path / 'out'}:x")
    assert alone.code == 3
    assert "is a script for" in alone.err
    succeed("run", "-q", script, f"oci:{tmp_path / 'out'}:x", "--base", f"oci:{base}:1")
    assert config_of(tmp_path / "out")["config"]["Entrypoint"] == ["/usr/local/bin/job"]


def test_an_interpreter_that_a_base_lacks_is_told(base: Path, tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_text("#!/usr/bin/env -S python3 -u\n")
    told = succeed("run", script, f"oci:{tmp_path / 'out'}:x", "--base", f"oci:{base}:1")
    assert "interpreter-missing" in told
    assert "the base image has no python3, which has to run it" in " ".join(told.split())


def test_a_jar_is_run_by_the_java_of_its_base(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.jar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nMain-Class: x.Main\n")
        file.writestr("x/Main.class", "")
    alone = convert("run", path, f"oci:{tmp_path / 'out'}:x")
    assert alone.code == 3
    assert "is a jar for java" in alone.err
    told = succeed("run", path, f"oci:{tmp_path / 'out'}:x", "--base", f"oci:{base}:1")
    config = config_of(tmp_path / "out")["config"]
    assert config["Entrypoint"] == ["java"]
    assert config["Cmd"] == ["-jar", "/usr/local/lib/app.jar"]
    assert "has no java" in " ".join(told.split())


def test_a_bottle_says_for_which_processor_it_is(tmp_path: Path) -> None:
    keg = tmp_path / "tool/1.0"
    (keg / "bin").mkdir(parents=True)
    (keg / "bin/tool").write_text("#!/bin/sh\n")
    (keg / "bin/tool").chmod(0o755)
    receipt = {"arch": "arm64", "built_on": {"os": "Linux"}}
    (keg / "INSTALL_RECEIPT.json").write_text(json.dumps(receipt))
    path = tmp_path / "tool.bottle.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "tool", "tool")
    succeed("run", "-q", path, f"oci:{tmp_path / 'out'}:x")
    assert config_of(tmp_path / "out")["architecture"] == "arm64"


def test_sources_are_named_as_such_and_exported(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "Makefile").write_text("all:\n")
    (folder / "main.c").write_text("int main() {}\n")
    path = tmp_path / "code.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(folder, "code-1.0")
    done = convert("run", path, f"oci:{tmp_path / 'out'}:x", "--platform", "linux/amd64")
    assert done.code == 3
    assert "source code" in done.err
    assert "make install DESTDIR" in done.err
    succeed("export", "-q", "--raw", path, f"tar:{tmp_path / 'tree.tar'}")


def test_a_bottle_for_macos_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "jq--1.7.1.arm64_sonoma.bottle.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("jq/1.7.1/INSTALL_RECEIPT.json")
        receipt = b'{"built_on": {"os": "Macintosh"}}'
        info.size = len(receipt)
        tar.addfile(info, io.BytesIO(receipt))
    done = convert("run", path, f"oci:{tmp_path / 'out'}:x", "--platform", "linux/arm64")
    assert done.code == 3
    assert "holds programs for macOS" in done.err


@pytest.fixture
def package(tmp_path: Path) -> Path:
    need("dpkg-deb")
    root = tmp_path / "pkg"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: tool\nVersion: 1:2.0-3\nArchitecture: amd64\nMaintainer: A <a@example.org>\n"
        "Depends: libc6 (>= 2.36), debconf | debconf-2.0\nDescription: a tool\n"
    )
    (root / "bin").mkdir()
    (root / "bin/tool").write_text("#!/bin/sh\necho tool\n")
    (root / "bin/tool").chmod(0o755)
    path = tmp_path / "tool.deb"
    run("dpkg-deb", "--root-owner-group", "-b", root, path)
    return path


def test_a_package_alone_is_an_image_that_says_what_it_lacks(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = json.loads(succeed("run", "--json", package, f"oci:{out}:x"))
    config = config_of(out)
    assert config["architecture"] == "amd64"
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "tool"
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "1:2.0-3"
    told = [item["evidence"] for item in report["decisions"]["findings"]]
    package_of_report = {"name": "tool", "version": "1:2.0-3", "architecture": "amd64"}
    assert report["decisions"]["packages"] == [package_of_report]
    assert "needs libc6 (>= 2.36) (Depends), which is not among the packages" in told
    assert any("debconf | debconf-2.0" in evidence for evidence in told)
    assert "Package: tool" in succeed("cat", f"oci:{out}:x", "/var/lib/dpkg/status.d/tool")


def test_what_is_set_up_for_packages_is_counted_and_what_is_missing_is_shown(
    package: Path, tmp_path: Path
) -> None:
    told = succeed("run", package, f"oci:{tmp_path / 'out'}:x")
    assert "packages    tool 1:2.0-3" in told
    (set_up,) = [line for line in told.splitlines() if line.startswith("  set up")]
    assert "package-database 1" in set_up
    assert "· dependency-missing: tool: needs libc6" in told


def test_a_package_goes_on_a_base(package: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    succeed("run", "-q", package, f"oci:{out}:x", "--base", f"oci:{base}:1")
    assert len(config_of(out)["rootfs"]["diff_ids"]) == 2
    assert printed(out) == b"tool\n"


def test_layers_of_a_base_that_docker_may_not_load_are_told_of(
    archive: Path, base: Path, tmp_path: Path
) -> None:
    out = f"oci-archive:{tmp_path / 'out.tar'}:x"
    report = json.loads(succeed("run", "--json", archive, out, "--base", f"oci:{base}:1"))
    found = {item["rule"]: item["evidence"] for item in report["decisions"]["findings"]}
    assert found["zstd-archive"].startswith("zstd layers of the base (1 of 1)")


@pytest.fixture
def base_of_a_user(tmp_path: Path) -> Path:
    """A base that is not run by root."""
    made = Layout()
    run_as = {"User": "7:8", "WorkingDir": "/srv", "StopSignal": "SIGINT", "Volumes": {"/data": {}}}
    entry = made.image(
        layer(M("d", "bin", mode=0o755), M("f", "bin/sh", mode=0o755)),
        config={"author": "us", "config": run_as},
    )
    return made.write(tmp_path / "of-a-user", named(entry, "1"))


def test_a_program_is_run_as_the_base_says_and_stopped_as_any(
    archive: Path, base_of_a_user: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    on = ("--base", f"oci:{base_of_a_user}:1")
    report = json.loads(succeed("run", "--json", archive, f"oci:{out}:x", "--strip-top", *on))
    document = config_of(out)
    config = document["config"]
    assert (config["User"], config["WorkingDir"], config["Volumes"]) == (
        "7:8",
        "/srv",
        {"/data": {}},
    )
    assert "StopSignal" not in config
    assert document["author"] == "us"
    reasons = {item["field"]: item["why"] for item in report["decisions"]["config"]}
    assert (
        reasons["user"] == reasons["workdir"] == ["the config of the image itself, or of its base"]
    )


def test_a_service_that_names_no_user_is_run_by_root_on_any_base(
    package: Path, base_of_a_user: Path, tmp_path: Path
) -> None:
    units = tmp_path / "pkg/usr/lib/systemd/system"
    units.mkdir(parents=True)
    (units / "tool.service").write_text("[Service]\nExecStart=/bin/tool --serve\n")
    wants = tmp_path / "pkg/etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "tool.service").symlink_to("/usr/lib/systemd/system/tool.service")
    run("dpkg-deb", "--root-owner-group", "-b", tmp_path / "pkg", package)
    out = tmp_path / "out"
    succeed("run", "-q", package, f"oci:{out}:x", "--base", f"oci:{base_of_a_user}:1")
    config = config_of(out)["config"]
    assert config["Cmd"] == ["--serve"]
    assert not {"User", "WorkingDir"} & set(config)


def _refused(done: Done, code: int, message: str) -> None:
    assert done.code == code, done.err
    assert message in done.err


def test_options_that_do_not_go_with_a_source_are_refused(
    package: Path, archive: Path, base: Path, tmp_path: Path
) -> None:
    out = f"oci:{tmp_path / 'out'}:x"
    _refused(convert("run", package, archive, out), 2, "is no package, and the others are")
    _refused(convert("run", package, out, "--strip-top"), 2, "are for archives")
    _refused(convert("run", f"oci:{base}:1", out, "--prefix", "/x"), 2, "this is a system")
    _refused(convert("run", archive, out, "--pool", tmp_path), 2, "--pool is for packages")
    _refused(convert("run", archive, out, "--prefix", "x"), 2, "is not an absolute path")
    _refused(convert("run", package, package, out), 3, "is given twice")
    _refused(convert("run", out), 2, "no file was named")
