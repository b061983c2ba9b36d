"""Tests of rpm packages as trees, against what rpm2archive and rpm make of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formats.core.entry import Entry, Kind
from formats.core.errors import LimitError
from formats.core.finding import Finding
from formats.core.limits import MIB, Limits
from formats.core.package import Operator, Package, Relation
from formats.packages.tree import PackageTree
from tests.formats.packages.rpm.support import (
    CORPUS_RPMS,
    comparable,
    query,
    unpacked,
)
from tests.formats.packages.support import opened_package
from tests.images.rpm import EVERYTHING, PAYLOADS, rpmbuild, small_spec
from tests.support.listing import difference, tree_listing
from tests.support.programs import corpus


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rpmbuild(tmp_path_factory.mktemp("rpm") / "everything", EVERYTHING)


@pytest.fixture(scope="module")
def package(everything: Path) -> Package:
    with opened_package(everything) as (tree, _):
        return tree.package


def _by_path(tree: PackageTree) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in tree.entries()}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_all_files_are_as_rpm_unpacks_them(payload: str, tmp_path: Path) -> None:
    built = rpmbuild(tmp_path / "build", EVERYTHING, payload=payload)
    expected = unpacked(built, tmp_path / "unpacked")
    with opened_package(built) as (tree, _):
        assert tree.info.facts["payload"].endswith(payload)
        ours = comparable(tree_listing(tree), tree)
        theirs = comparable(expected, tree)
        assert difference(theirs, ours) == []
        assert len(ours) > 20


def test_files_can_be_read_in_any_order_and_again(everything: Path) -> None:
    with opened_package(everything) as (tree, _):
        files = [entry for entry in tree.entries() if entry.kind is Kind.FILE]
        forwards = [b"".join(tree.read(entry)) for entry in files]
    with opened_package(everything) as (tree, _):
        backwards = [b"".join(tree.read(entry)) for entry in reversed(files)]
        opened = [bytes(tree.open(entry).read_at(0, entry.size)) for entry in files]
    assert forwards == backwards[::-1] == opened


def test_a_large_payload_is_read_backwards_from_its_spool(tmp_path: Path) -> None:
    spec = small_spec("large").replace(
        "echo large >", "seq 1 3000000 > %{buildroot}/usr/share/large/a; echo large >"
    )
    built = rpmbuild(tmp_path / "build", spec, payload="zstd")
    with opened_package(built) as (tree, _):
        entries = _by_path(tree)
        last, first = entries[b"usr/share/large/file"], entries[b"usr/share/large/a"]
        assert b"".join(tree.read(last)) == b"large\n"
        expected = "".join(f"{number}\n" for number in range(1, 3_000_001)).encode()
        assert b"".join(tree.read(first)) == expected
        assert bytes(tree.open(first).read_at(20_000_000, 100)) == expected[20_000_000:20_000_100]
    with (
        opened_package(built, Limits(disk_virtual_bytes=MIB)) as (tree, _),
        pytest.raises(LimitError),  # of the spool: memory has no such limit
    ):
        tree.open(_by_path(tree)[b"usr/share/large/a"])


def test_file_capabilities_are_an_xattr(everything: Path) -> None:
    with opened_package(everything) as (tree, _):
        entry = _by_path(tree)[b"usr/bin/capable"]
    value = bytes.fromhex("0100000200300000") + bytes(12)
    assert entry.xattrs == ((b"security.capability", value),)
    assert query(everything, "[%{FILECAPS}]") == "cap_net_admin,cap_net_raw=ep"


def test_owners_are_names(everything: Path) -> None:
    with opened_package(everything) as (tree, _):
        assert tree.owners == {
            b"dev/everything-loop": ("root", "disk"),
            b"etc/everything": ("root", "everything"),
            b"etc/everything/main.conf": ("root", "everything"),
        }
        assert {(entry.uid, entry.gid) for entry in tree.entries()} == {(0, 0)}


def test_ghosts_are_told_and_no_part_of_the_tree(everything: Path) -> None:
    with opened_package(everything) as (tree, findings):
        paths = set(_by_path(tree))
    ghosts = {item.path for item in findings if item.rule == "ghost-file"}
    assert ghosts == {b"etc/everything/ghost.conf", b"var/log/everything.log"}
    assert not ghosts & paths


def test_the_description_is_that_of_the_header(package: Package, everything: Path) -> None:
    assert str(package) == "everything 2:1.5~rc1-3 (x86_64)"
    assert package.version == query(everything, "%{EPOCH}:%{VERSION}-%{RELEASE}")
    assert package.source == query(everything, "%{SOURCERPM}")
    assert package.summary == "All that a package can have"
    assert package.facts["licence"] == "MIT"
    assert package.facts["url"] == "https://example.org/everything"
    assert package.facts["build host"] == query(everything, "%{BUILDHOST}")
    assert package.configuration == (b"etc/everything/ghost.conf", b"etc/everything/main.conf")


def test_requirements_are_met_by_what_rpm_wants(package: Package) -> None:
    found = {f"{one.when}: {one}" for one in package.requirements}
    assert found == {
        "Requires: /bin/sh",
        "Requires: /usr/bin/python3",
        "Requires: /bin/bash",
        "Requires: libfoo.so.1()(64bit)",
        "Requires: other (>= 1:2.0)",
        "Requires: one | two",
        "Requires: one | three (>= 4)",
        "Requires: shadow",
        "Recommends: wished-for",
        "Suggests: a | b",
    }


def test_a_boolean_dependency_that_is_not_met_exactly_is_told(everything: Path) -> None:
    with opened_package(everything) as (_, findings):
        (finding,) = [item for item in findings if item.rule == "boolean-dependency"]
    assert finding.evidence == "Requires: (four if five)"


def test_provides_and_conflicts_are_relations(package: Package) -> None:
    assert Relation("virtual", Operator.EQUAL, "4:2.0-1") in package.provides
    assert Relation("mail-transport") in package.provides
    assert "everything" not in {one.name for one in package.provides}
    assert set(package.conflicts) == {
        Relation("enemy", Operator.LESS, "3"),
        Relation("elder", Operator.AT_MOST, "1"),
    }


def test_scripts_are_shown_with_their_interpreters(package: Package) -> None:
    shown = {script.name: (script.interpreter, script.text) for script in package.scripts}
    assert shown["%post"] == ("<lua>", b'print("installed")')
    assert shown["%pretrans"] == ("<lua>", b'print("before")')
    assert shown["%preun"] == ("/usr/bin/python3", b"pass")
    assert shown["%pre"][0] == "/bin/sh"
    assert shown["%pre"][1].startswith(b"getent group everything")
    assert shown["%triggerin -- postfix, sendmail (<< 8.14)"] == ("/bin/sh", b"echo trigger")
    assert shown["%transfiletriggerin -- /usr/share/icons"][0] == "/bin/bash"


def test_triggers_are_named(package: Package) -> None:
    assert set(package.triggers) == {
        "%triggerin -- postfix, sendmail (<< 8.14)",
        "%triggerun -- sendmail",
        "%filetriggerin -- /lib, /usr/lib",
        "%transfiletriggerin -- /usr/share/icons",
    }


def test_digests_are_those_of_the_header(package: Package, everything: Path) -> None:
    rows = query(everything, "[%{FILENAMES}\t%{FILEDIGESTS}\t%{FILEFLAGS:fflags}\n]").splitlines()
    theirs = {
        path[1:]: digest
        for path, digest, flags in (row.split("\t") for row in rows)
        if digest and "g" not in flags
    }
    ours = {
        path.decode("utf-8", "backslashreplace"): digest
        for path, (algorithm, digest) in package.digests.items()
        if algorithm == "sha256"
    }
    assert ours == theirs


def test_a_source_package_is_named_as_one(tmp_path: Path) -> None:
    spec = small_spec("sources", "1-1", "Source0: code.c", "Source1: more.c")
    (tmp_path / "build/SOURCES").mkdir(parents=True)
    for name in ("code.c", "more.c"):
        (tmp_path / "build/SOURCES" / name).write_text(name)
    built = rpmbuild(tmp_path / "build", spec, source=True)
    with opened_package(built) as (tree, _):
        assert tree.info.format == "source rpm"
        assert "source-tree" in tree.info.facts
        assert tree.package.architecture == "src"
        names = {entry.path for entry in tree.entries()}
        assert names == {b"", b"code.c", b"more.c", b"package.spec"}
        assert b"".join(tree.read(_by_path(tree)[b"more.c"])) == b"more.c"


@pytest.mark.parametrize("name", CORPUS_RPMS)
def test_packages_of_others_are_as_rpm_unpacks_them(name: str, tmp_path: Path) -> None:
    path = corpus(f"rpm/{name}")
    expected = unpacked(path, tmp_path / "unpacked")
    with opened_package(path) as (tree, _):
        ours = comparable(tree_listing(tree), tree)
        theirs = comparable(expected, tree, but=(b"",))
        assert difference(theirs, {path: row for path, row in ours.items() if path}) == []


_FORM = "%{NAME}\n%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n%{SUMMARY}\n%{LICENSE}"


@pytest.mark.parametrize("name", CORPUS_RPMS)
def test_packages_of_others_are_described_as_rpm_does(name: str) -> None:
    path = corpus(f"rpm/{name}")
    shown = query(path, _FORM)
    with opened_package(path) as (tree, _):
        package = tree.package
    ours = [package.name, package.version, package.summary, package.facts.get("licence", "")]
    theirs = [line.removeprefix("0:") for line in shown.replace("(none)", "").split("\n")]
    assert ours == theirs[:4]


def test_findings_name_the_package_by_its_file(everything: Path) -> None:
    with opened_package(everything) as (_, findings):
        assert _finding(findings, "boolean-dependency").path == os.fsencode(everything.name)


def _finding(findings: list[Finding], rule: str) -> Finding:
    return next(item for item in findings if item.rule == rule)
