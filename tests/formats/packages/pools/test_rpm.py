"""Tests of the indexes of rpm repositories, against what createrepo_c writes."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from formats.core.errors import ConvertError, CorruptError, LimitError, UnsupportedError
from formats.core.finding import Finding
from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.origin import Origin
from formats.core.package import Package, Relation
from formats.core.source import ByteSource, FileSource, MemorySource
from formats.packages.pools import primary
from formats.packages.pools.offer import Offer
from formats.packages.pools.primary import read_filelists, read_primary
from formats.packages.pools.rpm import REPOMD, find_files, read_repomd, read_repository
from formats.packages.rpm.package import read_package
from tests.images.rpm import EVERYTHING, rpmbuild, small_spec
from tests.support.programs import need, run

_ORIGIN = Origin(("repository",))
_NAMESPACES = (
    'xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages."""
    folder = tmp_path_factory.mktemp("rpms")
    built = [
        rpmbuild(folder / "1", EVERYTHING),
        rpmbuild(folder / "2", small_spec("needs", "2-1", "Requires: everything >= 2:1.0")),
        rpmbuild(folder / "3", small_spec("needs", "3~rc1-1", "Conflicts: (a and b)")),
        rpmbuild(folder / "4", small_spec("odd+name", "1-1", "Provides: /usr/bin/virtual")),
    ]
    pool = folder / "pool"
    pool.mkdir()
    for path in built:
        path.rename(pool / path.name)
    return pool


def _repository(packages: Path, top: Path, *options: str) -> Path:
    need("createrepo_c")
    (top / "Packages").mkdir(parents=True)
    for path in packages.iterdir():
        (top / "Packages" / path.name).write_bytes(path.read_bytes())
    run("createrepo_c", "-q", "--no-database", *options, top, timeout=60)
    return top


@pytest.fixture(scope="module")
def repository(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _repository(packages, tmp_path_factory.mktemp("repository") / "top")


@pytest.fixture
def opener() -> Iterator[Callable[[Path], Callable[[str], ByteSource | None]]]:
    """Opens files of a folder, and closes them."""
    sources: list[FileSource] = []

    def of_folder(top: Path) -> Callable[[str], ByteSource | None]:
        def open_file(path: str) -> ByteSource | None:
            if not (top / path).is_file():
                return None
            sources.append(FileSource(top / path))
            return sources[-1]

        return open_file

    yield of_folder
    for source in sources:
        source.close()


_Opener = Callable[[Path], Callable[[str], ByteSource | None]]


def _from_header(path: Path) -> tuple[Package, tuple[bytes, ...]]:
    source = FileSource(path)
    found = read_package(source, DEFAULT_LIMITS)
    source.close()
    return found


@pytest.mark.parametrize("compression", ["gz", "xz", "bz2"])
def test_packages_are_described_as_by_their_headers(
    compression: str, packages: Path, tmp_path: Path, opener: _Opener
) -> None:
    top = _repository(packages, tmp_path / "top", f"--general-compress-type={compression}")
    offers = list(read_repository(opener(top), _ORIGIN, DEFAULT_LIMITS))
    assert len(offers) == 4
    for offer in offers:
        package, _ = _from_header(top / offer.path)
        for name in ("name", "version", "architecture", "summary", "source", "conflicts"):
            assert getattr(offer.package, name) == getattr(package, name)
        assert set(offer.package.requirements) == set(package.requirements)
        assert set(package.provides) <= set(offer.package.provides)
        unread = "boolean dependencies"
        assert offer.package.facts.get(unread) == package.facts.get(unread)


def test_an_index_may_be_compressed_with_zstd(repository: Path) -> None:
    """As Fedora's are; this createrepo_c does not write them."""
    text = gzip.decompress(_index(repository, "primary").read_bytes())
    plain = MemorySource(text, _ORIGIN)
    packed = MemorySource(zstandard.compress(text), _ORIGIN)
    offers = list(read_primary(packed, DEFAULT_LIMITS))
    assert offers == list(read_primary(plain, DEFAULT_LIMITS))
    assert len(offers) == 4


def test_offers_say_size_and_digest_of_their_files(repository: Path, opener: _Opener) -> None:
    for offer in read_repository(opener(repository), _ORIGIN, DEFAULT_LIMITS):
        content = (repository / offer.path).read_bytes()
        assert offer.size == len(content)
        assert offer.digest == ("sha256", hashlib.sha256(content).hexdigest())


def test_programs_are_among_what_is_provided(repository: Path, opener: _Opener) -> None:
    offers = list(read_repository(opener(repository), _ORIGIN, DEFAULT_LIMITS))
    (everything,) = [one for one in offers if one.package.name == "everything"]
    assert Relation("/usr/bin/tool") in everything.package.provides
    (odd,) = [one for one in offers if one.package.name == "odd+name"]
    assert Relation("/usr/bin/virtual") in odd.package.provides


def test_other_paths_are_found_in_the_lists_of_files(repository: Path, opener: _Opener) -> None:
    offers = list(read_repository(opener(repository), _ORIGIN, DEFAULT_LIMITS))
    digests = {str(one.package.version): _checksum(one) for one in offers}
    wanted = {"/usr/share/needs/file", "/usr/share/everything/numbers", "/not/there"}
    found = find_files(opener(repository), wanted, _ORIGIN, DEFAULT_LIMITS)
    assert found == {
        "/usr/share/needs/file": {digests["2-1"], digests["3~rc1-1"]},
        "/usr/share/everything/numbers": {digests["2:1.5~rc1-3"]},
    }


def _checksum(offer: Offer) -> str:
    assert offer.digest is not None
    return offer.digest[1]


def test_other_checksums_are_read(packages: Path, tmp_path: Path, opener: _Opener) -> None:
    top = _repository(packages, tmp_path / "top", "--checksum=sha512")
    offers = list(read_repository(opener(top), _ORIGIN, DEFAULT_LIMITS))
    assert {offer.digest[0] for offer in offers if offer.digest} == {"sha512"}


def _index(repository: Path, kind: str) -> Path:
    source = FileSource(repository / REPOMD)
    found = read_repomd(source, DEFAULT_LIMITS)[kind]
    source.close()
    return repository / found.path


@pytest.mark.parametrize("kind", ["primary", "filelists"])
def test_an_index_that_was_changed_is_refused(
    kind: str, packages: Path, tmp_path: Path, opener: _Opener
) -> None:
    top = _repository(packages, tmp_path / "top")
    path = _index(top, kind)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CorruptError, match="checksum"):
        list(read_repository(opener(top), _ORIGIN, DEFAULT_LIMITS)) + list(
            find_files(opener(top), {"/x"}, _ORIGIN, DEFAULT_LIMITS)
        )


def test_an_index_that_is_missing_is_named(packages: Path, tmp_path: Path, opener: _Opener) -> None:
    top = _repository(packages, tmp_path / "top")
    _index(top, "primary").unlink()
    with pytest.raises(CorruptError, match="lacks 'repodata/"):
        list(read_repository(opener(top), _ORIGIN, DEFAULT_LIMITS))


def test_a_folder_without_indexes_is_no_repository(tmp_path: Path, opener: _Opener) -> None:
    with pytest.raises(CorruptError, match=REPOMD):
        list(read_repository(opener(tmp_path), _ORIGIN, DEFAULT_LIMITS))


def _document(*lines: str) -> MemorySource:
    text = "".join(lines)
    return MemorySource(f"<metadata {_NAMESPACES}>{text}</metadata>".encode(), _ORIGIN)


_SOUND = (
    '<package type="rpm"><name>a</name><arch>noarch</arch><version epoch="0" ver="1" rel="2"/>'
    '<location href="a.rpm"/><format>{}</format></package>'
)


def test_a_package_that_makes_no_sense_is_left_out_and_told() -> None:
    findings: list[Finding] = []
    source = _document(
        _SOUND.format(""),
        '<package type="rpm"><name>lost</name><version ver="1"/></package>',
        '<package type="rpm"><location href="b.rpm"/></package>',
        _SOUND.format('<rpm:requires><rpm:entry name="(x or"/></rpm:requires>'),
    )
    (offer,) = read_primary(source, DEFAULT_LIMITS, findings.append)
    assert str(offer.package) == "a 1-2 (noarch)"
    assert [finding.rule for finding in findings] == ["package-not-listed"] * 3
    assert "'lost' does not say where its file is" in findings[0].evidence


def test_a_package_does_not_take_over_what_the_one_before_said() -> None:
    full = _SOUND.format("<rpm:sourcerpm>a.src.rpm</rpm:sourcerpm><file>/usr/bin/a</file>")
    first, second = read_primary(_document(full, _SOUND.format("")), DEFAULT_LIMITS)
    assert first.package.source == "a.src.rpm"
    assert first.package.provides == (Relation("/usr/bin/a"),)
    assert second.package.source == ""
    assert second.package.provides == ()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"no XML at all", CorruptError),
        (b"<metadata><package>", CorruptError),
        (b"<metadata></other>", CorruptError),
        (b"", CorruptError),
        (b"<!DOCTYPE x><metadata/>", UnsupportedError),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><metadata>&a;</metadata>', UnsupportedError),
        (b'<?xml version="1.0" encoding="nonsense"?><metadata/>', ConvertError),
        (gzip.compress(b"<metadata>", mtime=0)[:-3], CorruptError),
        (b"<metadata>" + b"x" * (2 << 20), LimitError),
        (f'<metadata {_NAMESPACES}><rpm:entry name="x"/></metadata>'.encode(), CorruptError),
    ],
)
def test_documents_that_are_damaged_or_hostile_are_refused(
    content: bytes, kind: type[ConvertError]
) -> None:
    with pytest.raises(kind) as raised:
        list(read_primary(MemorySource(content, _ORIGIN), DEFAULT_LIMITS))
    assert raised.value.origin is not None


def test_a_package_of_endless_elements_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "_MOST_ELEMENTS", 100)
    source = _document(_SOUND.format("<file>/x</file>" * 90))
    assert len(list(read_primary(source, DEFAULT_LIMITS))) == 1
    with pytest.raises(LimitError, match="more than 100 elements"):
        list(read_primary(_document(_SOUND.format("<file>/x</file>" * 100)), DEFAULT_LIMITS))


@pytest.mark.parametrize("size", ["-1", "x", "9" * 5000, ""])
def test_a_size_that_makes_no_sense_is_none(size: str) -> None:
    element = f'<size package="{size}"/>'
    (offer,) = read_primary(
        _document(_SOUND.replace("<format>", element + "<format>").format("")), DEFAULT_LIMITS
    )
    assert offer.size is None


def test_more_packages_than_a_pool_may_have_are_refused() -> None:
    limits = Limits(entries=2)
    with pytest.raises(LimitError, match="more than 2 packages"):
        list(read_primary(_document(*[_SOUND.format("")] * 3), limits))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "without its place or checksum"),
        ('<location href="x"/>', "without its place or checksum"),
        ('<location href="x"/><checksum type="sha256">zz</checksum>', "without its place"),
        ('<location href="x"/><checksum type="crc">00</checksum>', "of kind 'crc'"),
    ],
)
def test_an_index_needs_place_and_checksum(data: str, problem: str) -> None:
    text = f'<repomd><data type="primary">{data}</data></repomd>'.encode()
    with pytest.raises(ConvertError, match=problem):
        read_repomd(MemorySource(text, _ORIGIN), DEFAULT_LIMITS)


def test_a_list_of_files_that_is_damaged_is_refused() -> None:
    with pytest.raises(CorruptError):
        list(read_filelists(MemorySource(b"<filelists><package", _ORIGIN), {"/x"}, DEFAULT_LIMITS))
