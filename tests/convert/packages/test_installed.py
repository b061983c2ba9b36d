"""Tests of what a root has installed, against the package managers that wrote it down."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from convert.images.folder import FolderTree
from convert.packages.installed import installed_packages
from formats.core.errors import CorruptError
from formats.core.package import Package, Relation
from formats.core.tree import TreeIndex
from tests.images.rpm import EVERYTHING, rpmbuild, small_spec
from tests.support.programs import need, run


def _installed(root: Path) -> list[Package]:
    folder = FolderTree(root)
    try:
        return list(installed_packages(TreeIndex(folder)))
    finally:
        folder.close()


def _write(root: Path, path: str, text: str | bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())


def _stanza(name: str, state: str, *lines: str) -> str:
    fields = (f"Package: {name}", f"Status: {state}", "Version: 1", "Architecture: amd64")
    return "\n".join((*fields, *lines, "", ""))


def test_packages_of_dpkg_are_those_that_it_lists(tmp_path: Path) -> None:
    need("dpkg-query")
    states = (
        "install ok installed",
        "deinstall ok config-files",
        "install ok half-configured",
        "hold ok installed",
        "install ok triggers-pending",
        "install reinstreq unpacked",
    )
    texts = []
    for number, state in enumerate(states):
        lines = ["Maintainer: A <a@example.org>", "Description: x"]
        lines += ["Triggers-Pending: ldconfig"] if state.endswith("pending") else []
        texts.append(_stanza(f"p{number}", state, *lines))
    text = "".join(texts)
    _write(tmp_path, "var/lib/dpkg/status", text)
    query = ("dpkg-query", f"--admindir={tmp_path}/var/lib/dpkg", "-W")
    listed = run(*query, "-f", "${db:Status-Status} ${Package}\n").stdout.decode().split("\n")
    expected = [line.split()[1] for line in listed if line.startswith(("installed ", "triggers-"))]
    assert [item.name for item in _installed(tmp_path)] == expected == ["p0", "p3", "p4"]


def test_this_machines_packages_are_those_that_dpkg_query_lists(tmp_path: Path) -> None:
    need("dpkg-query")
    _write(tmp_path, "var/lib/dpkg/status", Path("/var/lib/dpkg/status").read_bytes())
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${Essential}\n"
    listed = run("dpkg-query", "-W", "-f", form).stdout.decode().splitlines()
    found = [
        f"{item.name} {item.version} {item.architecture} {'yes' if item.is_essential else 'no'}"
        for item in _installed(tmp_path)
    ]
    expected = [line.partition(" ")[2] for line in listed if line.startswith("installed ")]
    assert sorted(found) == sorted(expected)


def test_packages_of_images_without_dpkg_are_found(tmp_path: Path) -> None:
    _write(tmp_path, "var/lib/dpkg/status.d/lib", "Package: lib\nVersion: 2\nArchitecture: all\n")
    _write(tmp_path, "var/lib/dpkg/status.d/lib.md5sums", "0123  usr/lib/lib\n")
    assert [str(item) for item in _installed(tmp_path)] == ["lib 2 (all)"]


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rpms")
    specs = (EVERYTHING, small_spec("lib", "2-1", "Provides: libz.so.1()(64bit)"))
    return [rpmbuild(folder / str(number), spec) for number, spec in enumerate(specs)]


@pytest.mark.parametrize("folder", ["usr/lib/sysimage/rpm", "var/lib/rpm"])
def test_packages_of_rpm_are_those_that_it_lists(
    tmp_path: Path, rpms: list[Path], folder: str
) -> None:
    need("rpm")
    options = ("--root", tmp_path, "--dbpath", f"/{folder}")
    run("rpm", *options, "-i", "--justdb", "--nodeps", "--noscripts", *rpms, timeout=60)
    listed = run("rpm", *options, "-qa", "--qf", "%{NAME} %{EPOCHNUM}:%{EVR} %{ARCH}\n").stdout
    found = _installed(tmp_path)
    names = {line.split()[0] for line in listed.decode().splitlines()}
    assert {item.name for item in found} == names == {"everything", "lib"}
    lib = next(item for item in found if item.name == "lib")
    assert (lib.version, lib.architecture) == ("2-1", "noarch")
    assert Relation("libz.so.1()(64bit)") in lib.provides


def test_packages_of_apk_are_found(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "lib/apk/db/installed",
        "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the libc\no:musl\nD:x\nF:lib\nR:ld.so\nF:\n\n"
        "P:busybox\nV:1.36.1-r5\nA:x86_64\nT:tools\no:busybox\nF:bin\nM:0:0:1777\n\n",
    )
    assert [str(item) for item in _installed(tmp_path)] == [
        "musl 1.2.4-r2 (x86_64)",
        "busybox 1.36.1-r5 (x86_64)",
    ]


def test_packages_of_pacman_are_found(tmp_path: Path) -> None:
    text = (
        "%NAME%\nbash\n\n%VERSION%\n5.2.026-2\n\n%BASE%\nbash\n\n%ARCH%\nx86_64\n\n%LICENSE%\nGPL\n"
    )
    _write(tmp_path, "var/lib/pacman/local/bash-5.2.026-2/desc", text)
    _write(tmp_path, "var/lib/pacman/local/ALPM_DB_VERSION", "9\n")
    assert [str(item) for item in _installed(tmp_path)] == ["bash 5.2.026-2 (x86_64)"]


def test_a_root_without_databases_has_no_packages(tmp_path: Path) -> None:
    assert _installed(tmp_path) == []


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "var/lib/dpkg/status", "Package: lib\nnonsense\n")
    with pytest.raises(CorruptError, match=r"var/lib/dpkg/status: .*'nonsense'"):
        _installed(tmp_path)
    _write(tmp_path, "var/lib/dpkg/status", "")
    _write(tmp_path, "var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0" + b"\1" * 2000)
    with pytest.raises(CorruptError, match=r"rpmdb\.sqlite: is no sound SQLite database"):
        _installed(tmp_path)


def test_two_thousand_packages_are_read_quickly(tmp_path: Path) -> None:
    depends = "Depends: " + ", ".join(f"lib{number} (>= {number})" for number in range(8))
    lines = (depends, "Description: one", " of many", " lines")
    text = "".join(_stanza(f"p{number}", "install ok installed", *lines) for number in range(2000))
    _write(tmp_path, "var/lib/dpkg/status", text)
    start = time.process_time()
    assert len(_installed(tmp_path)) == 2000
    assert time.process_time() - start < 1.0  # 0.2 s on a machine that does nothing else
