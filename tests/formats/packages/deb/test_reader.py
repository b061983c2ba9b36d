"""Debian packages, against what dpkg-deb and GNU tar make of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from formats.core.entry import Kind
from formats.core.errors import CorruptError
from formats.core.package import Operator, PackageSystem, Relation, Requirement
from formats.packages import payload
from tests.formats.archives.support import everything, files, listing, problem, told
from tests.formats.packages.deb.support import unpacked
from tests.formats.packages.support import opened_package
from tests.images import debs
from tests.images.volumes import reader_name
from tests.support.listing import difference, tree_listing
from tests.support.programs import CORPUS, corpus, run

SOUND = sorted(
    path.name
    for path in (CORPUS / "deb").glob("*")
    if not any(word in path.name for word in ("quine", "broken", "amanda"))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a package can hold; dpkg-deb takes no newlines in names."""
    top = everything(tmp_path_factory.mktemp("deb") / "top")
    next(top.glob("new*line*")).rename(top / "no new line")
    return top


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_a_package_gives_what_dpkg_deb_unpacks(
    folder: Path, tmp_path: Path, compression: str
) -> None:
    package = debs.built(folder, tmp_path / "x.deb", f"-Z{compression}")
    assert difference(unpacked(package, tmp_path / "there"), listing(package)) == []
    with opened_package(package) as (tree, _):
        assert tree.info.facts["compression"] == compression


@pytest.mark.parametrize("ending", debs.COMPRESSIONS)
def test_every_compression_is_read(tmp_path: Path, ending: str) -> None:
    content = bytes(range(256)) * 1000
    package = debs.deb(tmp_path / "x.deb", files={"usr/share/data": content}, ending=ending)
    assert difference(unpacked(package, tmp_path / "there"), listing(package)) == []


@pytest.mark.parametrize("name", SOUND)
def test_a_real_package_gives_what_dpkg_deb_unpacks(tmp_path: Path, name: str) -> None:
    package = corpus(f"deb/{name}")
    assert difference(unpacked(package, tmp_path / "there"), listing(package)) == []
    with opened_package(package) as (tree, _):
        said = run("dpkg-deb", "-W", "--showformat=${Package} ${Version} ${Architecture}", package)
        found = f"{tree.package.name} {tree.package.version} {tree.package.architecture}"
        assert found == said.stdout.decode()
        assert (
            tree.package.record.strip() == run("dpkg-deb", "-I", package, "control").stdout.strip()
        )


def test_a_package_describes_itself(tmp_path: Path) -> None:
    control = (
        b"Package: web\nVersion: 2:1.0-3+b1\nArchitecture: all\nSource: webs (2:1.0-3)\n"
        b"Essential: yes\nMulti-Arch: foreign\nSection: httpd\n"
        b"Pre-Depends: dpkg (>= 1.17)\nDepends: libc6, mta | mail (<< 3),\n perl:any\n"
        b"Provides: httpd, api (= 5)\nBreaks: old (<= 1)\nConflicts: other\n"
        b"Description: serves\n pages\n"
    )
    with opened_package(debs.deb(tmp_path / "x.deb", control=control)) as (tree, _):
        package = tree.package
    assert package.system is PackageSystem.DEB
    assert (package.name, package.version, package.architecture) == ("web", "2:1.0-3+b1", "all")
    assert (package.summary, package.source, package.is_essential) == ("serves", "webs", True)
    assert package.requirements == (
        Requirement((Relation("dpkg", Operator.AT_LEAST, "1.17"),), "Pre-Depends"),
        Requirement((Relation("libc6"),)),
        Requirement((Relation("mta"), Relation("mail", Operator.LESS, "3"))),
        Requirement((Relation("perl", architecture="any"),)),
    )
    assert package.provides == (Relation("httpd"), Relation("api", Operator.EQUAL, "5"))
    assert package.conflicts == (Relation("other"), Relation("old", Operator.AT_MOST, "1"))
    assert package.facts["multi-arch"] == "foreign"
    assert package.facts["source-version"] == "2:1.0-3"
    assert package.record == control
    assert tree.info.package is package


def test_control_files_are_understood(tmp_path: Path) -> None:
    package = debs.deb(
        tmp_path / "x.deb",
        control_files={
            "conffiles": b"/etc/x.conf\nremove-on-upgrade /etc/old.conf\n/etc/with blank \n",
            "triggers": b"# about\ninterest-noawait /usr/lib # why\n\nactivate-noawait ldconfig\n",
            "postinst": b"#! /usr/bin/perl -w\nexit\n",
            "preinst": b"\x7fELF program",
            "config": b"#!/bin/sh\n",
            "templates": b"Template: x/y\n",
            "md5sums": b"D41D8CD98F00B204E9800998ECF8427E  usr/empty\n",
        },
        files={"usr/empty": b""},
    )
    with opened_package(package) as (tree, _):
        assert tree.package.configuration == (b"etc/x.conf", b"etc/with blank")
        assert tree.package.triggers == ("interest-noawait /usr/lib", "activate-noawait ldconfig")
        assert [(script.name, script.interpreter) for script in tree.package.scripts] == [
            ("config", "/bin/sh"),
            ("preinst", ""),
            ("postinst", "/usr/bin/perl"),
        ]
        assert tree.package.scripts[2].text == b"#! /usr/bin/perl -w\nexit\n"
        digest = ("md5", "d41d8cd98f00b204e9800998ecf8427e")
        assert tree.package.digests == {b"usr/empty": digest}
        assert tree.package.facts["control-files"] == "conffiles md5sums templates triggers"


def test_owners_are_kept_by_name_where_numbers_do_not_say_them(tmp_path: Path) -> None:
    ours, adm = (
        debs.odd("./var/ours/", tarfile.DIRTYPE, uid=998, gid=0),
        debs.odd("./var/adm/", tarfile.DIRTYPE, gid=4),
    )
    ours.uname, ours.gname, adm.uname, adm.gname = "ours", "root", "root", "adm"
    strange = debs.odd("./var/strange/", tarfile.DIRTYPE, uid=7)
    strange.uname = "root"
    package = debs.deb(tmp_path / "x.deb", odd=[ours, adm, strange])
    with opened_package(package) as (tree, _):
        assert tree.owners == {
            b"var/ours": ("ours", ""),
            b"var/adm": ("", "adm"),
            b"var/strange": ("root", ""),
        }
        (entry,) = [entry for entry in tree.entries() if entry.path == b"var/ours"]
        assert (entry.uid, entry.gid) == (998, 0)


def test_content_is_held_against_md5sums_while_it_is_read(tmp_path: Path) -> None:
    sums = (
        b"b1946ac92492d2347c6235b4d2611184  usr/good\nb1946ac92492d2347c6235b4d2611184  usr/bad\n"
    )
    package = debs.deb(
        tmp_path / "x.deb",
        control_files={"md5sums": sums},
        files={"usr/good": b"hello\n", "usr/bad": b"hellO\n", "usr/unlisted": b"any"},
    )
    with opened_package(package) as (tree, _):
        by_path = {entry.path: entry for entry in tree.entries()}
        assert b"".join(tree.read(by_path[b"usr/good"])) == b"hello\n"
        assert b"".join(tree.read(by_path[b"usr/unlisted"])) == b"any"
        assert bytes(tree.open(by_path[b"usr/good"]).read_at(1, 3)) == b"ell"
        for read in (lambda entry: list(tree.read(entry)), tree.open):
            with pytest.raises(CorruptError, match="'usr/bad' has the md5 digest"):
                read(by_path[b"usr/bad"])


def test_a_hard_link_is_held_against_the_digest_of_its_file(tmp_path: Path) -> None:
    package = debs.deb(
        tmp_path / "x.deb",
        control_files={"md5sums": b"0" * 32 + b"  usr/a\n"},
        files={"usr/a": b"content"},
        odd=[debs.odd("./usr/b", tarfile.LNKTYPE, "./usr/a")],
    )
    with opened_package(package) as (tree, _):
        (link,) = [entry for entry in tree.entries() if entry.kind is Kind.HARDLINK]
        with pytest.raises(CorruptError, match="'usr/b' has the md5 digest"):
            list(tree.read(link))


def test_names_in_md5sums_may_be_written_as_md5sum_does(tmp_path: Path) -> None:
    sums = (
        b"\\b1946ac92492d2347c6235b4d2611184  usr/new\\nline\\\\\n"
        b"b1946ac92492d2347c6235b4d2611184 *./usr/binary\nno digest\n\n"
    )
    package = debs.deb(
        tmp_path / "x.deb",
        control_files={"md5sums": sums},
        files={"usr/new\nline\\": b"hello\n", "usr/binary": b"hello\n"},
    )
    with opened_package(package) as (tree, findings):
        assert set(tree.package.digests) == {b"usr/new\nline\\", b"usr/binary"}
        assert tree_listing(tree)
        assert "md5sums has 1 lines that make no sense" in str(findings[0])


def test_digests_of_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    sums = b"".join(b"0" * 32 + b"  usr/gone%d\n" % number for number in range(5))
    package = debs.deb(tmp_path / "x.deb", control_files={"md5sums": sums}, files={"usr/x": b""})
    (finding,) = told(package)
    assert finding.startswith("digest-without-file: usr/gone0: md5sums has its digest")
    assert "4 more" in finding


def test_other_members_are_told(tmp_path: Path) -> None:
    package = debs.deb(
        tmp_path / "x.deb",
        files={"usr/x": b""},
        before=[(b"_meta", b"any")],
        behind=[(b"_gpgorigin", b"signature"), (b"later", b"")],
    )
    assert [finding.partition(": ")[0] for finding in told(package)] == [
        "extra-member",
        "package-signature",
        "extra-member",
    ]
    with opened_package(package) as (tree, _):
        assert tree.package.facts["signatures"] == "_gpgorigin (not verified)"
    assert run("dpkg-deb", "-W", package).stdout.startswith(b"sample")


def test_what_follows_the_payload_does_no_harm(tmp_path: Path) -> None:
    package = debs.deb(tmp_path / "x.deb", files={"usr/x": b"content"})
    with package.open("ab") as file:
        file.write(b"garbage " * 20)
    assert files(package) == {b"usr/x": b"content"}
    assert [finding.partition(":")[0] for finding in told(package)] == ["trailing-data"]
    assert run("dpkg-deb", "-W", package).stdout.startswith(b"sample")


def test_a_large_payload_goes_to_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "_MEMORY_BYTES", 1 << 20)
    content = {f"usr/{number}": bytes([number]) * (1 << 20) for number in range(4)}
    package = debs.deb(tmp_path / "x.deb", files=content)
    assert files(package) == {name.encode(): data for name, data in content.items()}
    assert "spooled: x.deb › data.tar.gz: decompressed to a temporary file" in told(package)[0]


@pytest.mark.parametrize("ending", [".deb", ".udeb", ".ddeb", ".zip"])
def test_a_package_is_known_by_what_is_in_it(tmp_path: Path, ending: str) -> None:
    assert reader_name(debs.deb(tmp_path / f"x{ending}")) == "deb"


def test_damage_names_its_member(tmp_path: Path) -> None:
    package = debs.deb(tmp_path / "x.deb", files={"usr/x": b"x" * 1000})
    data = bytearray(package.read_bytes())
    data[data.index(b"data.tar.gz") + 60 + 30] ^= 0xFF
    package.write_bytes(data)
    error = problem(package)
    assert isinstance(error, CorruptError)
    assert "x.deb › data.tar.gz" in str(error)
