"""Which packages and people a system has, against the tools of the distributions."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from convert.images.folder import FolderTree
from convert.inspect.facts import Facts
from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.guests import SYSTEM
from tests.support.memory_tree import memory_tree
from tests.support.programs import corpus, need, need_root, run
from tests.support.systemd import units_text


def facts_of(files: dict[str, str]) -> Facts:
    return inspect_tree(TreeIndex(memory_tree(SYSTEM + units_text(files))))


def facts_of_folder(folder: Path) -> Facts:
    tree = FolderTree(folder)
    try:
        return inspect_tree(TreeIndex(tree))
    finally:
        tree.close()


def test_packages_of_a_real_alpine_are_those_that_its_own_apk_lists(tmp_path: Path) -> None:
    need_root()
    need("chroot")
    archive = corpus("tgz/lxd__alpine-v3.13-x86_64-20210218_0139.tar.gz")
    with tarfile.open(archive) as image:
        inside = [item for item in image if item.name.startswith("rootfs/") and not item.isdev()]
        image.extractall(tmp_path, inside, filter="tar")
    root = tmp_path / "rootfs"
    listed = run("chroot", root, "/sbin/apk", "info", "-v").stdout.decode().split()
    found = [f"{package.name}-{package.version}" for package in facts_of_folder(root).packages]
    assert sorted(found) == sorted(listed)
    assert len(found) > 10


def test_packages_of_pacman_are_those_that_it_lists(tmp_path: Path) -> None:
    need("pacman")
    database = tmp_path / "var" / "lib" / "pacman"
    for name, version in (("bash", "5.2.026-2"), ("linux", "6.8.9.arch1-2"), ("tz", "1:2024a-1")):
        folder = database / "local" / f"{name}-{version}"
        folder.mkdir(parents=True)
        fields = {"NAME": name, "VERSION": version, "ARCH": "x86_64", "DESC": f"the {name}"}
        text = "".join(f"%{field}%\n{value}\n\n" for field, value in fields.items())
        (folder / "desc").write_text(text)
        (folder / "files").write_text("%FILES%\netc/\n\n")
    (database / "local" / "ALPM_DB_VERSION").write_text("9\n")
    command = ("pacman", "--config", "/dev/null", "--root", tmp_path, "--dbpath", database, "-Q")
    listed = run(*command).stdout.decode().splitlines()
    found = [f"{item.name} {item.version}" for item in facts_of_folder(tmp_path).packages]
    assert sorted(found) == sorted(listed)
    assert len(found) == 3


def test_a_damaged_database_is_told_and_the_rest_is_found() -> None:
    facts = facts_of({"var/lib/dpkg/status": "Package: a\nnonsense\n", "etc/modules": "loop\n"})
    assert facts.packages == ()
    assert [item.kind for item in facts.obstacles] == ["kernel-module"]
    (finding,) = facts.findings
    assert finding.rule == "package-database"
    assert finding.path.endswith(b"var/lib/dpkg/status")
    assert "packages are not listed" in finding.evidence


USERS = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
www-data:x:33:33::/var/www:/bin/sh
deploy:x:499:499::/home/deploy:/bin/bash
ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash
bob:x:1001:1001::/srv/bob:
git:x:1002:1002::/home/git:/usr/bin/git-shell
old:x:1003:1003::/home/old:/bin/false
nobody:x:65534:65534::/nonexistent:/bin/sh
broken:x:x:1::/home/broken:/bin/sh
"""


def test_people_are_those_who_log_in() -> None:
    found = facts_of({"etc/passwd": USERS}).accounts
    assert [(item.name, item.uid, item.shell, str(item.evidence)) for item in found] == [
        ("deploy", 499, "/bin/bash", "/etc/passwd:4 (passwd)"),
        ("ann", 1000, "/bin/bash", "/etc/passwd:5 (passwd)"),
        ("bob", 1001, "/bin/sh", "/etc/passwd:6 (passwd)"),
    ]


@pytest.mark.parametrize(("first", "names"), [(500, ["a", "b"]), (1000, ["b"])])
def test_the_first_number_of_people_is_the_distributions(first: int, names: list[str]) -> None:
    files = {
        "etc/passwd": "a:x:500:500::/srv/a:/bin/sh\nb:x:1000:1000::/srv/b:/bin/sh\n",
        "etc/login.defs": f"# UID_MIN 1\nUID_MIN\t\t{first}\nUID_MAX 60000\n",
    }
    assert [item.name for item in facts_of(files).accounts] == names
