"""Indexes of Debian repositories, against those that apt-ftparchive writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError
from formats.core.finding import Finding
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.package import Operator, Relation
from formats.core.source import FileSource, MemorySource
from formats.packages.pools.deb import read_packages
from formats.packages.pools.offer import Offer
from tests.images import debs
from tests.support.programs import need, run

STANZA = (
    "Package: p{0}\nVersion: {0}\nArchitecture: all\n"
    "Depends: libc6 (>= 2.36), p{1}\nFilename: p/{0}.deb\n\n"
)


def offers(text: bytes, limits: Limits | None = None) -> tuple[list[Offer], list[Finding]]:
    findings: list[Finding] = []
    source = MemorySource(text, Origin(("Packages",)))
    return list(read_packages(source, limits or Limits(), findings.append)), findings


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("apt-ftparchive")
    top = tmp_path_factory.mktemp("repository")
    (top / "pool").mkdir()
    for name, more in (("one", b"Depends: two (>= 1) | other\nMulti-Arch: same\n"), ("two", b"")):
        control = debs.CONTROL.replace(b"sample", name.encode()) + more
        debs.deb(top / f"pool/{name}.deb", control=control, files={"usr/x": b"x"})
    (top / "Packages").write_bytes(run("apt-ftparchive", "packages", "pool", cwd=top).stdout)
    return top


def test_an_index_lists_packages_as_they_are(repository: Path) -> None:
    source = FileSource(repository / "Packages")
    one, two = read_packages(source)
    source.close()
    package = repository / "pool/one.deb"
    assert (one.package.name, two.package.name) == ("one", "two")
    assert (one.path, one.size) == ("pool/one.deb", package.stat().st_size)
    assert one.digest == ("sha512", hashlib.sha512(package.read_bytes()).hexdigest())
    (depends,) = one.package.requirements
    assert depends.alternatives == (Relation("two", Operator.AT_LEAST, "1"), Relation("other"))
    assert one.package.facts["multi-arch"] == "same"


@pytest.mark.parametrize(
    "command", ["cat", "gzip -c", "bzip2 -c", "xz -c", "zstd -qc", "lz4 -qc", "lz4 -qc -BD"]
)
def test_an_index_may_be_compressed(repository: Path, command: str) -> None:
    program, *options = command.split()
    need(program)
    packed = run(program, *options, repository / "Packages").stdout
    found, findings = offers(packed)
    assert [offer.package.name for offer in found] == ["one", "two"]
    assert findings == []


def test_a_package_that_makes_no_sense_does_not_hide_the_others() -> None:
    text = "".join(STANZA.format(number, number + 1) for number in range(5))
    found, findings = offers(text.replace("Version: 2", "Version: two!").encode())
    assert [offer.package.name for offer in found] == ["p0", "p1", "p3", "p4"]
    (finding,) = findings
    assert "stanza 3 says that its version is 'two!'" in finding.evidence


def test_a_stanza_without_a_file_is_told() -> None:
    found, findings = offers(b"Package: x\nVersion: 1\nArchitecture: all\n")
    assert found == []
    assert "does not say where the file" in findings[0].evidence


def test_a_thousand_broken_stanzas_are_told_in_a_few_findings() -> None:
    found, findings = offers(b"broken\n\n" * 1000)
    assert found == []
    assert len(findings) == 21
    assert "980 more" in findings[-1].evidence


def test_more_packages_than_the_limit_are_refused() -> None:
    with pytest.raises(LimitError, match="more than 2 packages"):
        offers("".join(STANZA.format(number, 0) for number in range(3)).encode(), Limits(entries=2))


def test_an_index_that_is_cut_short_is_refused(repository: Path) -> None:
    need("xz")
    packed = run("xz", "-c", repository / "Packages").stdout
    with pytest.raises(CorruptError, match="cut short"):
        offers(packed[:-20])


def test_a_large_index_is_read_while_it_is_decompressed() -> None:
    text = "".join(STANZA.format(number, number // 2) for number in range(20_000)).encode()
    source = MemorySource(text, Origin(("Packages",)))
    names = [offer.package.name for offer in read_packages(source)]
    assert names == [f"p{number}" for number in range(20_000)]
    first = next(read_packages(source))
    assert first.package.name == "p0"
