"""What ``inspect`` shows of a system beyond its services: packages, applications, obstacles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import succeed
from tests.support.programs import need, run

STATUS = (
    "Package: one\nStatus: install ok installed\nVersion: 1:2.0-1\nArchitecture: amd64\n\n"
    "Package: two\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n"
)
FILES = {
    "bin/sh": "x",
    "sbin/init": "x",
    "etc/os-release": "ID=debian\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/bash\n",
    "etc/fstab": "nas:/export /srv/data nfs defaults 0 0\n",
    "etc/sysctl.conf": "".join(f"net.core.p{number} = {number}\n" for number in range(5)),
    "srv/app/package.json": '{"name": "app", "scripts": {"start": "node ."}}',
    "var/lib/dpkg/status": STATUS,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("found")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_the_summary_says_each_in_a_few_lines(root: Path) -> None:
    shown = " ".join(succeed("inspect", "--platform", "linux/amd64", f"dir:{root}").split())
    for text in (
        "installed 1 package (deb)",
        "application app: node in /srv/app",
        "people ann",
        "obstacles remote-mount: nas:/export on /srv/data (nfs), /etc/fstab:1 (fstab): mount it",
        "net.core.p2 = 2, /etc/sysctl.conf:3 (sysctl); and 2 more: set it when",
    ):
        assert text in shown


def test_the_document_has_all_of_it(root: Path) -> None:
    text = succeed("inspect", "--json", "--platform", "linux/amd64", f"dir:{root}")
    found = json.loads(text)["decisions"]["found"]
    assert found["installed"] == [
        {"system": "deb", "name": "one", "version": "1:2.0-1", "architecture": "amd64"}
    ]
    assert [item["path"] for item in found["applications"]] == ["/srv/app"]
    assert len([item for item in found["obstacles"] if item["kind"] == "sysctl"]) == 5
    assert found["folders"] == [
        {"path": "/srv/data", "service": None, "evidence": "/etc/fstab:1 (fstab)"}
    ]
    assert [item["evidence"] for item in found["accounts"]] == ["/etc/passwd:2 (passwd)"]


def test_the_packages_of_a_real_disk_are_those_that_dpkg_query_lists(
    debian_disks: tuple[Path, ...], tmp_path: Path
) -> None:
    need("dpkg-query")
    raw = debian_disks[0]
    folder = tmp_path / "dpkg"
    folder.mkdir()
    (folder / "status").write_text(succeed("cat", raw, "/var/lib/dpkg/status"))
    form = "${Package} ${Version} ${Architecture}\n"
    listed = run("dpkg-query", f"--admindir={folder}", "-W", "-f", form).stdout.decode()
    document = json.loads(succeed("inspect", "--json", raw))["decisions"]["found"]
    found = [
        f"{item['name']} {item['version']} {item['architecture']}" for item in document["installed"]
    ]
    assert sorted(found) == sorted(listed.splitlines())
    assert len(found) > 100
