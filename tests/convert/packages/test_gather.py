"""Tests of what comes together: given packages, named ones, what they need, and a base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from convert.opening import opened
from convert.options import ConvertOptions, validated
from convert.packages.gather import Gathered, gather_packages
from formats.core.entry import Entry, Kind
from formats.core.errors import AmbiguousError, ConvertError, UnsupportedError, UsageError
from formats.core.tree import TreeIndex
from formats.packages.tree import PackageTree
from tests.images.debs import deb
from tests.images.rpm import rpmbuild, small_spec
from tests.support.memory_tree import MemoryTree, memory_tree


def _deb(
    folder: Path,
    name: str,
    *lines: str,
    version: str = "1",
    arch: str = "amd64",
    more: Mapping[str, bytes] | None = None,
    script: str = "",
) -> Path:
    folder.mkdir(exist_ok=True)
    fields = (f"Package: {name}", f"Version: {version}", f"Architecture: {arch}", *lines)
    control = "\n".join((*fields, "Maintainer: A <a@example.org>", "Description: x", ""))
    path = folder / f"{name}_{version}_{arch}.deb"
    files = {f"usr/share/{name}/{version}": b"x", **(more or {})}
    scripts = {"postinst": f"#!/bin/sh\n{script}\n".encode()} if script else {}
    return deb(path, control=control.encode(), control_files=scripts, files=files)


def _gathered(
    given: Sequence[Path],
    pools: Sequence[Path] = (),
    names: Sequence[str] = (),
    base: TreeIndex | None = None,
    platform: str | None = None,
) -> tuple[Gathered, set[bytes]]:
    fields = {"pools": [str(pool) for pool in pools], "packages": list(names), "platform": platform}
    options: ConvertOptions = validated(fields)
    with opened(list(given), options) as artifact:
        packages = [cast("PackageTree", node.tree) for node in artifact.nodes]
        gathered = gather_packages(artifact, packages, options, base)
        return gathered, {entry.path for entry in gathered.tree.entries()}


def _evidence(gathered: Gathered, rule: str) -> list[str]:
    return [
        f"{item.path.decode()}: {item.evidence}" for item in gathered.findings if item.rule == rule
    ]


def _base(*stanzas: str) -> TreeIndex:
    status = "\n".join(stanzas).encode()
    folders = [Entry(path, Kind.FOLDER, 0o755) for path in (b"var", b"var/lib", b"var/lib/dpkg")]
    path = b"var/lib/dpkg/status"
    file = Entry(path, Kind.FILE, 0o644, size=len(status))
    return TreeIndex(MemoryTree([*folders, file], {path: status}))


def _stanza(name: str, version: str, *lines: str) -> str:
    fields = (f"Package: {name}", "Status: install ok installed", f"Version: {version}")
    return "\n".join((*fields, "Architecture: amd64", *lines, ""))


def test_without_a_pool_what_is_missing_is_told(tmp_path: Path) -> None:
    given = [
        _deb(tmp_path, "app", "Depends: lib (>= 2), other, api, lib (>= 2)", "Recommends: more"),
        _deb(tmp_path, "lib", "Provides: api"),
    ]
    gathered, _ = _gathered(given)
    assert _evidence(gathered, "dependency-missing") == [
        "app: needs lib (>= 2) (Depends), which is not among the packages",
        "app: needs other (Depends), which is not among the packages",
    ]


def test_without_a_pool_the_base_counts(tmp_path: Path) -> None:
    given = [_deb(tmp_path, "app", "Depends: lib (>= 2), api, other")]
    base = _base(_stanza("lib", "2", "Provides: api"))
    gathered, _ = _gathered(given, base=base)
    assert _evidence(gathered, "dependency-missing") == [
        "app: needs other (Depends), which is not among the packages"
    ]


def test_with_a_pool_what_is_needed_is_put_into_the_tree(tmp_path: Path) -> None:
    given = [_deb(tmp_path, "app", "Depends: lib")]
    pool = tmp_path / "pool"
    for name in ("lib", "named", "unneeded"):
        _deb(pool, name)
    _deb(pool, "init", "Essential: yes")
    gathered, paths = _gathered(given, [pool], ["named"])
    assert [item.name for item in gathered.packages] == ["app", "named", "lib"]
    assert gathered.requested == 2
    assert {b"usr/share/app/1", b"usr/share/named/1", b"usr/share/lib/1"} <= paths
    assert b"usr/share/unneeded" not in paths
    assert _evidence(gathered, "package-added") == [
        "named: 1, asked for by name",
        "lib: 1, because of app: Depends: lib",
    ]
    (told,) = _evidence(gathered, "essential-left-out")
    assert "not added: init;" in told


def test_with_a_pool_what_is_missing_is_an_error(tmp_path: Path) -> None:
    _deb(tmp_path / "pool", "lib")
    given = [_deb(tmp_path, "app", "Depends: lib, gone")]
    with pytest.raises(UnsupportedError, match="gone, needed by app") as caught:
        _gathered(given, [tmp_path / "pool"])
    assert caught.value.exit_code == 3


def test_packages_of_the_base_are_not_added_again(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    _deb(pool, "app", "Depends: lib, tool (>= 2)")
    _deb(pool, "lib", version="3")
    _deb(pool, "tool", version="2")
    base = _base(_stanza("lib", "1"), _stanza("tool", "1"))
    gathered, paths = _gathered([], [pool], ["app"], base)
    assert [item.name for item in gathered.packages] == ["app", "tool"]
    assert b"usr/share/lib" not in paths
    assert "tool: 2, because of app: Depends: tool (>= 2), in place of the base's 1" in _evidence(
        gathered, "package-added"
    )


def test_nothing_is_made_of_what_the_base_has_already(tmp_path: Path) -> None:
    _deb(tmp_path / "pool", "app")
    with pytest.raises(UnsupportedError, match="the base has everything already: app 1"):
        _gathered([], [tmp_path / "pool"], ["app"], _base(_stanza("app", "1")))


def test_given_packages_that_the_base_has_in_this_version_are_not_added_again(
    tmp_path: Path,
) -> None:
    given = [_deb(tmp_path, "app", "Depends: lib"), _deb(tmp_path, "lib")]
    base = _base(_stanza("lib", "1"))
    for pools in ([], [tmp_path]):
        gathered, paths = _gathered(given, pools, base=base)
        assert [item.name for item in gathered.packages] == ["app"]
        assert b"usr/share/lib" not in paths
        assert _evidence(gathered, "package-present") == [
            "lib: 1 is in the base already; it is not added again"
        ]
        assert not _evidence(gathered, "dependency-missing")
    with pytest.raises(UnsupportedError, match="the base has everything already: lib 1"):
        _gathered(given[1:], base=base)
    gathered, paths = _gathered(given[1:], base=_base(_stanza("lib", "2")))
    assert b"usr/share/lib/1" in paths  # who gives an older one means it


def test_what_a_named_package_needs_has_the_bases_version(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    _deb(pool, "app", "Depends: lib")
    _deb(pool, "lib")
    gathered, paths = _gathered([], [pool], ["app", "lib"], _base(_stanza("lib", "1")))
    assert [item.name for item in gathered.packages] == ["app"]
    assert gathered.requested == 1
    assert b"usr/share/lib" not in paths
    assert len(_evidence(gathered, "package-present")) == 1


def test_only_units_of_packages_that_were_named_are_enabled(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    needs = {"given": "pulled", "named": "pulled", "pulled": "named"}
    for name, need in needs.items():
        unit = b"[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
        _deb(
            tmp_path if name == "given" else pool,
            name,
            f"Depends: {need}",
            more={f"lib/systemd/system/{name}.service": unit},
            script=f"deb-systemd-helper enable {name}.service",
        )
    gathered, paths = _gathered([tmp_path / "given_1_amd64.deb"], [pool], ["named"])
    assert [item.name for item in gathered.packages] == ["given", "named", "pulled"]
    assert gathered.requested == 2
    wanted = b"etc/systemd/system/multi-user.target.wants/"
    links = {path.removeprefix(wanted) for path in paths if path.startswith(wanted)}
    assert links == {b"given.service", b"named.service"}
    (told,) = _evidence(gathered, "package-unit")
    assert "pulled.service not enabled: pulled was not asked for by name" in told


def test_files_of_a_base_and_of_given_rpms_meet_what_needs_them(tmp_path: Path) -> None:
    app = rpmbuild(tmp_path / "1", small_spec("app", "1-1", "Requires: /bin/tool"))
    user = rpmbuild(tmp_path / "2", small_spec("user", "1-1", "Requires: /usr/share/app/file"))
    base = TreeIndex(
        memory_tree("d 755 0:0 usr/bin\nl 777 0:0 bin usr/bin\nf 755 0:0 usr/bin/tool x")
    )
    assert not _evidence(_gathered([app, user], base=base)[0], "dependency-missing")
    (told,) = _evidence(_gathered([app, user])[0], "dependency-missing")
    assert told.startswith("app: needs /bin/tool")
    pool = tmp_path / "pool"
    pool.mkdir()
    app.rename(pool / app.name)
    gathered, _ = _gathered([user], [pool], base=base)
    assert [item.name for item in gathered.packages] == ["user", "app"]


def test_the_platform_says_which_packages_are_meant(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    for arch in ("amd64", "arm64"):
        _deb(pool, "app", arch=arch)
    with pytest.raises(AmbiguousError, match="amd64, arm64"):
        _gathered([], [pool], ["app"])
    gathered, _ = _gathered([], [pool], ["app"], platform="linux/arm64")
    assert gathered.packages[0].architecture == "arm64"


def _two_versions(folder: Path) -> list[Path]:
    return [_deb(folder, "app"), _deb(folder, "app", version="2")]


def _two_systems(folder: Path) -> list[Path]:
    return [_deb(folder, "app"), rpmbuild(folder / "rpm", small_spec("lib"))]


@pytest.mark.parametrize(
    ("make", "names", "error", "problem"),
    [
        (_two_versions, [], AmbiguousError, "is given twice"),
        (_two_systems, [], UnsupportedError, "is a rpm, and others are deb"),
        (lambda _: [], ["app"], UsageError, "no pool to take app from"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path,
    make: object,
    names: Sequence[str],
    error: type[ConvertError],
    problem: str,
) -> None:
    assert callable(make)
    with pytest.raises(error, match=problem):
        _gathered(make(tmp_path), names=names)
