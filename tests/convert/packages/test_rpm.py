"""RPM packages as rpm installs them, scriptlets and all, in a copy of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.inspect.text import encoded
from convert.packages.assemble import assemble
from convert.packages.scripts import report_triggers
from formats.core.opener import open_artifact
from formats.core.package import PackageSystem
from formats.core.tree import TreeIndex
from formats.packages.tree import PackageTree
from tests.convert.packages.machine import assembled_here, compared, installed
from tests.convert.packages.support import package as described
from tests.convert.packages.support import root
from tests.support.programs import need, run

_SPEC = r"""
Name: oc-tool
Version: 1.0
Release: 1
Summary: a test
License: none
BuildArch: noarch
%description
a test
%prep
%build
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/oc-tool %{buildroot}/var/lib/oc-tool
mkdir -p %{buildroot}/usr/lib/systemd/system
echo 1 > %{buildroot}/usr/bin/oc-one
echo c > %{buildroot}/etc/oc-tool/conf
printf '[Service]\nExecStart=/usr/bin/oc-one\n[Install]\nWantedBy=multi-user.target\n' \
    > %{buildroot}/usr/lib/systemd/system/oc-tool.service
%pre
getent group oc-group >/dev/null || groupadd -r oc-group
getent passwd oc-user >/dev/null || \
    useradd -r -g oc-group -d /var/lib/oc-tool -s /sbin/nologin -c "A tool" oc-user
exit 0
%post
if [ $1 -eq 1 ]; then
    mkdir -p /var/lib/oc-tool/first
    chown oc-user:oc-group /var/lib/oc-tool/first
    ln -sf oc-one /usr/bin/oc-link
fi
if [ $1 -gt 1 ]; then mkdir /var/lib/oc-tool/upgrade; fi
/sbin/ldconfig
%postun -p /sbin/ldconfig
%files
%attr(4755,root,adm) /usr/bin/oc-one
%dir %attr(0770,oc-user,oc-group) /var/lib/oc-tool
%config(noreplace) %attr(0640,root,oc-group) /etc/oc-tool/conf
/usr/lib/systemd/system/oc-tool.service
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    need("rpmbuild", "rpm")
    spec = tmp_path / "oc-tool.spec"
    spec.write_text(_SPEC)
    top = ("--define", f"_topdir {tmp_path}/build")
    run("rpmbuild", "-bb", *top, "--define", "_build_id_links none", spec)
    (found,) = (tmp_path / "build/RPMS").rglob("*.rpm")
    return found


def test_what_scriptlets_make_is_what_rpm_makes_of_them(package: Path, tmp_path: Path) -> None:
    theirs = installed([package], tmp_path, "rpm", "-i", "--nodeps")
    assembled, ours = assembled_here([package], ["oc-tool"])
    assert compared(theirs, ours) == []
    assert [f for f in assembled.findings if f.rule == "package-script"] == []


@pytest.mark.parametrize(
    "text",
    [
        (
            'if [ $1 -eq 1 ] && [ -x "/usr/lib/systemd/systemd-update-helper" ]; then\n'
            "/usr/lib/systemd/systemd-update-helper install-system-units tool.service || :\nfi"
        ),
        "if [ $1 -eq 1 ] ; then systemctl --no-reload preset tool.service &>/dev/null || : ; fi",
        "/sbin/chkconfig --add tool",
        "/sbin/chkconfig tool on",
    ],
)
def test_units_are_enabled_by_what_macros_of_rpm_stand_for(text: str) -> None:
    place = root()
    assert place.follow(text, "%post").is_whole
    assert list(place.system.units) == [("tool", "tool.service")]


def test_triggers_are_told() -> None:
    trigger = {"%triggerin": "mkdir /x", "%filetriggerin": "mkdir /x"}
    tree = described("tool", scripts=trigger, system=PackageSystem.RPM)
    place = root()
    report_triggers(place.system, tree.package)
    assert [f.evidence for f in place.findings] == [
        "not carried out: %triggerin, %filetriggerin",
    ]


def test_rpm_reads_the_database_of_what_was_put_together(package: Path, tmp_path: Path) -> None:
    with open_artifact([package]) as artifact:
        trees = [node.tree for node in artifact.nodes]
        found = [tree for tree in trees if isinstance(tree, PackageTree)]
        index = TreeIndex(assemble(found, requested=["oc-tool"]).tree)
        database = index.content(b"var/lib/rpm/rpmdb.sqlite", 1 << 20)
        passwd = index.content(b"etc/passwd")
    assert database is not None
    assert encoded("nobody:*:65534:65534:nobody:") in (passwd or b"")
    (tmp_path / "db").mkdir()
    (tmp_path / "db/rpmdb.sqlite").write_bytes(database)
    sqlite = ("--define", "_db_backend sqlite", "--dbpath", tmp_path / "db")
    assert run("rpm", *sqlite, "-qa").stdout == b"oc-tool-1.0-1.noarch\n"
