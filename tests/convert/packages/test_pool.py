"""Tests of pools: folders, repositories and media, sound ones and others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convert.packages.pool import Pools, open_candidate, open_pools
from convert.packages.pools.files import Candidate
from convert.packages.resolve import resolve
from formats.core.errors import ConvertError, CorruptError, UnsupportedError, UsageError
from formats.core.opener import Artifact, open_artifact
from tests.images.debs import deb
from tests.images.media import iso, live_root, squash
from tests.images.rpm import rpmbuild, small_spec
from tests.support.command import convert, succeed
from tests.support.images import umoci_unpacked
from tests.support.programs import need, run

_RELEASE = "dists/stable/Release"
_INDEX = "dists/stable/main/binary-amd64/Packages"


def _deb(path: Path, name: str, *lines: str, version: str = "1") -> Path:
    fields = (f"Package: {name}", f"Version: {version}", "Architecture: amd64", *lines)
    control = "\n".join((*fields, "Maintainer: A <a@example.org>", "Description: x", ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    return deb(path, control=control.encode(), files={f"usr/share/{name}": name.encode()})


@pytest.fixture
def artifact() -> Iterator[Artifact]:
    with open_artifact([]) as opened:
        yield opened


def _folder(top: Path) -> Path:
    _deb(top / "app.deb", "app", "Depends: lib")
    _deb(top / "deep/er/LIB.DEB", "lib")
    return top


def _flat(top: Path) -> Path:
    need("dpkg-scanpackages")
    _folder(top)
    (top / "deep/er/LIB.DEB").rename(top / "lib.deb")
    (top / "Packages").write_bytes(run("dpkg-scanpackages", "-m", ".", cwd=top).stdout)
    return top


def _apt(top: Path) -> Path:
    need("apt-ftparchive")
    _deb(top / "pool/main/a/app.deb", "app", "Depends: lib")
    _deb(top / "pool/main/l/lib.deb", "lib")
    (top / _INDEX).parent.mkdir(parents=True)
    (top / _INDEX).write_bytes(run("apt-ftparchive", "packages", "pool", cwd=top).stdout)
    _release(top)
    return top


def _release(top: Path) -> None:
    (top / _RELEASE).unlink(missing_ok=True)
    text = run("apt-ftparchive", "release", "dists/stable", cwd=top).stdout
    (top / _RELEASE).write_bytes(text)


def _rpms(top: Path) -> Path:
    specs = (
        small_spec("app", "1-1", "Requires: lib >= 2", "Requires: /usr/share/data/file"),
        small_spec("lib", "2-1", "Requires: (none or data)"),
        small_spec("lib", "1-1"),
        small_spec("data"),
    )
    top.mkdir(parents=True)
    for number, spec in enumerate(specs):
        built = rpmbuild(top.parent / f"build-{number}", spec)
        built.rename(top / built.name)
    return top


def _dnf(top: Path) -> Path:
    need("createrepo_c")
    _rpms(top / "Packages")
    run("createrepo_c", "-q", top, timeout=60)
    return top


def _names(pools: Pools, name: str = "app") -> list[str]:
    found = resolve([], [name], pools, architecture="amd64").additions
    return [addition.candidate.package.name for addition in found]


@pytest.mark.parametrize("make", [_folder, _flat, _apt])
def test_debs_are_found_in_folders_and_repositories(
    tmp_path: Path, artifact: Artifact, make: Callable[[Path], Path]
) -> None:
    pools = open_pools([str(make(tmp_path / "pool"))], artifact, architecture="amd64")
    found = resolve([], ["app"], pools, architecture="amd64").additions
    opened = [open_candidate(addition.candidate, artifact.lend()) for addition in found]
    assert [tree.package.name for tree in opened] == ["app", "lib"]
    assert [entry.path for entry in opened[1].entries()][-1] == b"usr/share/lib"


@pytest.mark.parametrize("make", [_rpms, _dnf])
def test_rpms_are_found_by_capability_and_by_file(
    tmp_path: Path, artifact: Artifact, make: Callable[[Path], Path]
) -> None:
    pools = open_pools([str(make(tmp_path / "pool"))], artifact)
    found = resolve([], ["app"], pools, architecture="x86_64").additions
    opened = [open_candidate(addition.candidate, artifact.lend()).package for addition in found]
    assert sorted(f"{item.name} {item.version}" for item in opened) == [
        "app 1-1",
        "data 1-1",
        "lib 2-1",
    ]


@pytest.mark.parametrize("make", [_folder, _apt, _dnf])
def test_a_pool_is_read_straight_from_a_medium(
    tmp_path: Path, artifact: Artifact, make: Callable[[Path], Path]
) -> None:
    need("xorriso")
    top, medium = make(tmp_path / "pool"), tmp_path / "medium.iso"
    options = ("-as", "mkisofs", "-quiet", "-R", "-J", "-o")
    run("xorriso", *options, medium, top, timeout=60)
    shutil.rmtree(top)
    pools = open_pools([str(medium)], artifact)
    found = resolve([], ["app"], pools, architecture="amd64" if make is not _dnf else "x86_64")
    for addition in found.additions:
        tree = open_candidate(addition.candidate, artifact.lend())
        assert "medium.iso" in str(tree.origin)
    assert len(found.additions) == (3 if make is _dnf else 2)


@pytest.mark.parametrize("is_live", [False, True], ids=["installer", "live"])
def test_an_image_is_made_from_the_pool_of_a_medium(tmp_path: Path, is_live: bool) -> None:
    top, medium = _apt(tmp_path / "files"), tmp_path / "medium.iso"
    (top / ".disk").mkdir()
    (top / ".disk/info").write_text("Debian GNU/Linux 12.9.0\n")
    if is_live:
        squash(live_root(tmp_path / "root"), top / "live/filesystem.squashfs")
    iso(top, medium)
    run_for = ("run", "-q", "--platform", "linux/amd64", "--compression", "gzip")
    found = convert(*run_for, medium, f"oci:{tmp_path / 'system'}:x")
    assert (found.code == 0) is is_live
    if not is_live:
        assert "packages are in / (2 deb packages)" in found.err

    asked = ("--pool", medium, "--with", "app")
    succeed(*run_for, *asked, "--entrypoint", "/usr/share/app", f"oci:{tmp_path / 'out'}:x")
    root = umoci_unpacked(tmp_path / "out", "x", tmp_path / "bundle")
    assert sorted(path.name for path in (root / "usr/share").iterdir()) == ["app", "lib"]
    assert (root / "usr/share/lib").read_bytes() == b"lib"


def test_a_pool_is_read_from_an_archive(tmp_path: Path, artifact: Artifact) -> None:
    _apt(tmp_path / "pool")
    run("tar", "-czf", tmp_path / "pool.tar.gz", "-C", tmp_path, "pool")
    assert _names(open_pools([str(tmp_path / "pool.tar.gz")], artifact)) == ["app", "lib"]


def test_pools_come_in_the_order_in_which_they_were_named(
    tmp_path: Path, artifact: Artifact
) -> None:
    for name in ("one", "two"):
        _deb(tmp_path / name / "app.deb", "app")
    pools = open_pools([str(tmp_path / "two"), str(tmp_path / "one")], artifact)
    addition = resolve([], ["app"], pools, architecture="amd64").additions[0]
    assert str(addition.candidate.files.origin).endswith("two")


@pytest.mark.parametrize("command", ["gzip", "xz", "bzip2", "zstd --rm -q"])
def test_indexes_may_be_compressed(tmp_path: Path, artifact: Artifact, command: str) -> None:
    top = _apt(tmp_path / "pool")
    need(command.split(maxsplit=1)[0])
    run(*command.split(), top / _INDEX)
    _release(top)
    assert _names(open_pools([str(top)], artifact)) == ["app", "lib"]


def test_indexes_of_the_installer_and_of_other_architectures_are_not_read(
    tmp_path: Path, artifact: Artifact
) -> None:
    top = _apt(tmp_path / "pool")
    main = (top / _INDEX).parent.parent
    for place in ("debian-installer/binary-amd64", "binary-arm64"):
        (main / place).mkdir(parents=True)
        (main / place / "Packages.xz").write_bytes(b"not read")
    pools = open_pools([str(top)], artifact, architecture="amd64")
    assert len(pools.candidates) == 2


def test_links_are_followed_inside_of_a_pool_only(tmp_path: Path, artifact: Artifact) -> None:
    outside = _deb(tmp_path / "outside.deb", "outside")
    top = _folder(tmp_path / "pool")
    (top / "inner.deb").symlink_to("deep/er/LIB.DEB")
    (top / "outer.deb").symlink_to(outside)
    names = [item.package.name for item in open_pools([str(top)], artifact).candidates]
    assert names == ["app", "lib", "lib"]


def test_a_package_that_cannot_be_read_is_left_out_and_told(
    tmp_path: Path, artifact: Artifact
) -> None:
    top = _folder(tmp_path / "pool")
    (top / "bad.deb").write_bytes(b"!<arch>\nnonsense")
    (top / "folder.deb").mkdir()
    assert _names(open_pools([str(top)], artifact)) == ["app", "lib"]
    (finding,) = artifact.findings
    assert finding.rule == "package-not-listed"
    assert finding.path.endswith(b"bad.deb")


def test_an_index_that_is_not_what_release_says_is_refused(
    tmp_path: Path, artifact: Artifact
) -> None:
    top = _apt(tmp_path / "pool")
    (top / _INDEX).write_bytes((top / _INDEX).read_bytes() + b"\n")
    with pytest.raises(CorruptError, match="and the Release file says"):
        open_pools([str(top)], artifact)


def test_an_index_that_release_does_not_list_is_refused(tmp_path: Path, artifact: Artifact) -> None:
    top = _apt(tmp_path / "pool")
    (top / "dists/stable/other/binary-amd64").mkdir(parents=True)
    (top / "dists/stable/other/binary-amd64/Packages").write_bytes(b"")
    with pytest.raises(CorruptError, match="does not list the index other/binary-amd64/Packages"):
        open_pools([str(top)], artifact)


def _opened(pools: Pools, artifact: Artifact, name: str) -> None:
    candidate = next(item for item in pools.candidates if item.package.name == name)
    open_candidate(candidate, artifact.lend())


def test_a_package_that_is_not_what_the_index_says_is_refused(
    tmp_path: Path, artifact: Artifact
) -> None:
    top = _apt(tmp_path / "pool")
    path = top / "pool/main/l/lib.deb"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=r"checksum .* and the index says"):
        _opened(open_pools([str(top)], artifact), artifact, "lib")
    path.write_bytes(content[:-2])
    with pytest.raises(CorruptError, match="bytes, and the index says"):
        _opened(open_pools([str(top)], artifact), artifact, "lib")


def test_a_package_under_the_name_of_another_is_refused(tmp_path: Path, artifact: Artifact) -> None:
    top = _folder(tmp_path / "pool")
    pools = open_pools([str(top)], artifact)
    (top / "deep/er/LIB.DEB").write_bytes((top / "app.deb").read_bytes())
    with pytest.raises(CorruptError, match=r"is app 1 \(amd64\), and not lib 1"):
        _opened(pools, artifact, "lib")


def test_packages_whose_files_are_not_there_are_named(tmp_path: Path, artifact: Artifact) -> None:
    top = _apt(tmp_path / "pool")
    (top / "pool/main/l/lib.deb").unlink()
    pools = open_pools([str(top)], artifact)
    with pytest.raises(
        UnsupportedError, match=r"lib \(an index lists it, and the file is not there\)"
    ):
        _names(pools)


def test_paths_of_an_index_do_not_lead_out_of_the_pool(tmp_path: Path, artifact: Artifact) -> None:
    _deb(tmp_path / "lib.deb", "lib")
    top = tmp_path / "pool"
    top.mkdir()
    (top / "Packages").write_text(
        "Package: lib\nVersion: 1\nArchitecture: amd64\nFilename: ../lib.deb\n"
    )
    with pytest.raises(UnsupportedError, match="lists 1 packages, and has the file of none"):
        open_pools([str(top)], artifact)


@pytest.mark.parametrize(
    ("make", "problem", "error"),
    [
        (lambda path: path.mkdir(), "has no packages", UnsupportedError),
        (lambda path: path.write_bytes(b"nothing"), "has no packages", UnsupportedError),
        (lambda path: path.with_name("x").touch(), "cannot open", CorruptError),
        (lambda path: _deb(path, "app"), "is a package, not a pool", UsageError),
    ],
)
def test_what_is_no_pool_is_named(
    tmp_path: Path,
    artifact: Artifact,
    make: Callable[[Path], object],
    problem: str,
    error: type[ConvertError],
) -> None:
    make(tmp_path / "pool")
    with pytest.raises(error, match=problem):
        open_pools([str(tmp_path / "pool")], artifact)


def test_files_of_many_packages_are_not_kept_open(tmp_path: Path, artifact: Artifact) -> None:
    top = tmp_path / "pool"
    for number in range(40):
        _deb(top / f"{number}.deb", f"p{number}")
    before = len(list(Path("/proc/self/fd").iterdir()))
    found: tuple[Candidate, ...] = open_pools([str(top)], artifact).candidates
    assert len(found) == 40
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4
