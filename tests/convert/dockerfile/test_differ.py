"""What differs from packages: against dpkg and rpm, and what of it is copied."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from convert.dockerfile.differ import Circumstances, Differences, find_differences
from convert.dockerfile.originals import read_originals
from convert.images.folder import FolderTree
from formats.core.entry import Kind
from formats.core.tree import Tree, TreeIndex
from tests.images.debs import built
from tests.images.rpm import rpmbuild
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, need_root, run

_PLAIN = Circumstances(
    init=False,
    service=None,
    absent=frozenset(),
    treated=frozenset(),
    secrets={},
    data=(),
)


def differences(tree: Tree, around: Circumstances = _PLAIN) -> Differences:
    index = TreeIndex(tree)
    return find_differences(index, read_originals(index), around)


def copied(found: Differences) -> set[str]:
    return {
        entry.path.decode("utf-8", "replace")
        for entry in found.entries
        if entry.kind is not Kind.FOLDER
    }


def of_folder(root: Path) -> Differences:
    tree = FolderTree(root)
    try:
        return differences(tree)
    finally:
        tree.close()


def change(root: Path, changed: Iterable[str], removed: Iterable[str]) -> None:
    for path in changed:
        with (root / path).open("a") as file:
            file.write("changed\n")
    for path in removed:
        (root / path).unlink()


_CHANGED = ("etc/shop/main.conf", "usr/share/shop/page")
_REMOVED = ("etc/shop/gone.conf",)
_ALL = (*_CHANGED, *_REMOVED, "etc/shop/same.conf", "usr/share/shop/other")


def verified(printed: bytes, root: Path) -> tuple[set[str], set[str]]:
    """Return what dpkg or rpm say is changed, and what is missing."""
    changed: set[str] = set()
    missing: set[str] = set()
    for line in printed.decode().splitlines():
        path = line.rpartition(" /")[2].removeprefix(f"{root}/".lstrip("/"))
        (missing if line.startswith("missing") else changed).add(path)
    return changed, missing


def test_dpkg_sees_the_same_files_changed(tmp_path: Path) -> None:
    need("dpkg", "dpkg-deb")
    need_root()
    package, root = tmp_path / "package", tmp_path / "root"
    for path in _ALL:
        place = package / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{path}\n")
    settings = [path for path in _ALL if path.startswith("etc/")]
    (package / "DEBIAN").mkdir(mode=0o755)
    (package / "DEBIAN/conffiles").write_text("".join(f"/{path}\n" for path in settings))
    sums = [f"{_md5(path)}  {path}\n" for path in _ALL if path not in settings]
    (package / "DEBIAN/md5sums").write_text("".join(sums))
    file = built(package, tmp_path / "shop.deb")
    (root / "var/lib/dpkg/info").mkdir(parents=True)
    (root / "var/lib/dpkg/updates").mkdir()
    (root / "var/lib/dpkg/status").touch()
    options = (f"--root={root}", "--force-not-root", "--force-depends", "--log=/dev/null")
    run("dpkg", *options, "--install", file)
    change(root, _CHANGED, _REMOVED)
    changed, missing = verified(run("dpkg", f"--root={root}", "--verify", check=False).stdout, root)
    found = of_folder(root)
    assert changed == set(_CHANGED)
    assert missing == set(_REMOVED)
    assert {path.decode() for path in found.changed} == changed
    assert copied(found) == changed
    assert {path.decode() for path in found.removed} == missing


def _md5(path: str) -> str:
    return hashlib.md5(f"{path}\n".encode()).hexdigest()  # noqa: S324 - dpkg's


def test_rpm_sees_the_same_files_changed(tmp_path: Path) -> None:
    need("rpm", "rpmbuild")
    need_root()
    make = "\n".join(
        f"mkdir -p %{{buildroot}}/{os.path.dirname(path)}; echo {path} > %{{buildroot}}/{path}"
        for path in _ALL
    )
    files = "\n".join(
        f"%config(noreplace) /{path}" if path.startswith("etc/") else f"/{path}" for path in _ALL
    )
    package = rpmbuild(
        tmp_path / "build",
        "Name: shop\nVersion: 1\nRelease: 1\nSummary: shop\nLicense: MIT\nBuildArch: noarch\n"
        f"AutoReqProv: no\n%description\nshop\n%install\n{make}\n%files\n{files}\n",
    )
    root = tmp_path / "root"
    options = ("--root", root, "--dbpath", "/var/lib/rpm")
    run("rpm", *options, "-i", "--nodeps", "--noscripts", package, timeout=60)
    change(root, _CHANGED, _REMOVED)
    changed, missing = verified(
        run("rpm", *options, "-V", "shop", check=False, timeout=60).stdout, root
    )
    found = of_folder(root)
    assert changed == set(_CHANGED)
    assert missing == set(_REMOVED)
    assert {path.decode() for path in found.changed} == changed
    assert copied(found) == changed
    assert {path.decode() for path in found.removed} == missing


_TREE = r"""
f 644 0:0 var/lib/dpkg/status Package:\x20cups\n
f 644 0:0 var/lib/dpkg/info/cups.list /etc/cups/conf\n
f 644 0:0 var/lib/dpkg/info/cups.md5sums 00000000000000000000000000000000\x20\x20etc/cups/conf\n
f 644 0:0 etc/cups/conf changed
f 644 0:0 etc/app.conf setting
f 644 0:0 etc/hostname machine
f 600 0:0 etc/app.key secret
f 644 0:0 etc/app.conf.dpkg-old old
l 777 0:0 etc/alternatives/pager /bin/less
f 644 0:0 etc/skel/.profile profile
f 644 0:0 home/ann/.profile profile
f 644 0:0 home/ann/.bashrc changed-by-ann
f 644 0:0 srv/shop/data/rows rows
f 644 0:0 srv/shop/shop.log log
f 644 0:0 srv/shop/page page
f 644 0:0 usr/lib/stray stray
f 644 0:0 usr/local/bin/tool tool
p 644 0:0 srv/shop/pipe
f 644 0:0 data/own own
"""


def test_what_people_put_there_is_copied() -> None:
    found = differences(memory_tree(_TREE))
    assert {"etc/app.conf", "srv/shop/page", "usr/local/bin/tool", "data/own"} <= copied(found)
    assert {"home/ann/.bashrc", "etc/cups/conf", "srv/shop/data/rows"} <= copied(found)


def test_what_is_made_again_is_not_copied_and_not_told() -> None:
    found = differences(memory_tree(_TREE))
    paths = {finding.path for finding in found.findings}
    for path in ("etc/alternatives/pager", "home/ann/.profile"):
        assert path not in copied(found)
        assert path.encode() not in paths


def test_what_is_left_out_is_told() -> None:
    around = Circumstances(
        init=False,
        service=None,
        absent=frozenset({"cups"}),
        treated=frozenset(),
        secrets={b"etc/app.key": "private-key"},
        data=(b"srv/shop/data",),
    )
    found = differences(memory_tree(_TREE), around)
    told = {finding.path.decode(): finding.evidence for finding in found.findings}
    assert "secret" in told["etc/app.key"]
    assert "--keep secret-private-key" in told["etc/app.key"]
    assert "volume" in told["srv/shop/data"]
    assert "srv/shop/data/rows" not in copied(found)
    assert "cups, which is not installed" in told["etc/cups/conf"]
    assert "fifo" in told["srv/shop/pipe"]
    assert "machine" in told["etc/hostname"]
    assert "etc/app.conf.dpkg-old" in told
    assert "srv/shop/shop.log" in told
    assert told["usr/lib"].startswith("1 paths with 5 bytes")
    assert not copied(found) & set(told)


def test_what_rules_of_the_conversion_changed_is_not_copied() -> None:
    around = Circumstances(
        init=False,
        service=None,
        absent=frozenset(),
        treated=frozenset({b"etc/app.conf"}),
        secrets={},
        data=(),
    )
    assert "etc/app.conf" not in copied(differences(memory_tree(_TREE), around))


def test_units_are_copied_where_an_init_system_stays() -> None:
    tree = memory_tree("f 644 0:0 etc/systemd/system/shop.service unit")
    around = Circumstances(
        init=True,
        service=None,
        absent=frozenset(),
        treated=frozenset(),
        secrets={},
        data=(),
    )
    assert copied(differences(tree)) == set()
    assert copied(differences(tree, around)) == {"etc/systemd/system/shop.service"}


def test_a_full_folder_of_what_is_left_out_is_told_once() -> None:
    lines = (f"f 644 0:0 srv/logs/{number}.log log" for number in range(50))
    found = differences(memory_tree("\n".join(lines)))
    (finding,) = found.findings
    assert finding.path == b"srv/logs"
    assert "50 paths" in finding.evidence


def test_what_ucf_keeps_is_copied_only_if_it_was_changed() -> None:
    digest = _md5("etc/php.ini")
    tree = memory_tree(
        "f 644 0:0 etc/php.ini etc/php.ini\\n\n"
        "f 644 0:0 etc/ssl.cnf changed\\n\n"
        "f 644 0:0 var/lib/ucf/hashfile "
        f"{digest}\\x20\\x20/etc/php.ini\\n{digest}\\x20\\x20/etc/ssl.cnf\\n\n"
        "f 644 0:0 var/lib/ucf/registry php\\t/etc/php.ini\\nphp\\t/etc/ssl.cnf\\n\n"
    )
    assert copied(differences(tree)) == {"etc/ssl.cnf"}


def test_the_default_site_is_removed_where_somebody_removed_it() -> None:
    listed = "f 644 0:0 var/lib/dpkg/info/nginx-common.list /etc/nginx/nginx.conf\\n\n"
    site = "l 777 0:0 etc/nginx/sites-enabled/default /etc/nginx/sites-available/default\n"
    assert differences(memory_tree(listed)).removed == (b"etc/nginx/sites-enabled/default",)
    assert differences(memory_tree(listed + site)).removed == ()


def test_links_that_scripts_of_a_package_made_are_not_copied() -> None:
    tree = memory_tree(
        "l 777 0:0 etc/apache2/mods-enabled/dir.load ../mods-available/dir.load\n"
        "l 777 0:0 etc/apache2/mods-enabled/rewrite.load ../mods-available/rewrite.load\n"
        "f 644 0:0 var/lib/apache2/module/enabled_by_maint/dir x\n"
        "f 644 0:0 var/lib/apache2/module/enabled_by_admin/rewrite x\n"
    )
    assert copied(differences(tree)) == {"etc/apache2/mods-enabled/rewrite.load"}
