"""Manifests are verified before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.opener import open_artifact
from tests.images.ovf import manifest, package
from tests.images.volumes import opened, patch
from tests.support.programs import need, run

ALGORITHMS = ("sha1", "sha256", "sha512")


def _package(folder: Path) -> Path:
    (folder / "a.vmdk").write_bytes(b"a" * 5_000_000)
    (folder / "b.vmdk").write_bytes(b"b" * 10)
    path = folder / "server.ovf"
    path.write_text(package("a.vmdk", "b.vmdk").text())
    return path


def _problem(path: Path, limits: Limits | None = None) -> Exception | None:
    with opened(path, limits=limits or Limits()) as artifact:
        return artifact.nodes[0].problem


def _openssl(folder: Path, algorithm: str) -> bytes:
    need("openssl")
    return run("openssl", "dgst", f"-{algorithm}", "a.vmdk", "b.vmdk", cwd=folder).stdout


def _coreutils(folder: Path, algorithm: str) -> bytes:
    return run(f"{algorithm}sum", "--tag", "a.vmdk", "b.vmdk", cwd=folder).stdout


@pytest.mark.parametrize("write", [_openssl, _coreutils])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_other_programs_sum_up_is_verified(
    tmp_path: Path, write: Callable[[Path, str], bytes], algorithm: str
) -> None:
    path = _package(tmp_path)
    text = write(tmp_path, algorithm).replace(b"SHA2-", b"SHA")
    (tmp_path / "server.mf").write_bytes(text)
    with opened(path) as artifact:
        assert artifact.nodes[0].problem is None
        facts = artifact.nodes[0].facts
    assert facts["manifest"] == f"2 files verified ({algorithm.upper()})"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["server.ovf", "a.vmdk", "b.vmdk"])
def test_one_changed_byte_is_found_and_its_file_named(
    tmp_path: Path, algorithm: str, name: str
) -> None:
    path = _package(tmp_path)
    text = manifest(tmp_path, ["server.ovf", "a.vmdk", "b.vmdk"], algorithm)
    (tmp_path / "server.mf").write_text(text)
    assert _problem(path) is None
    if name == "server.ovf":
        path.write_text(path.read_text().replace("VM Network", "VM network"))
    else:
        patch(tmp_path / name, -1, b"x")
    problem = _problem(path)
    assert isinstance(problem, CorruptError)
    assert f"{name}: is not what the manifest says" in str(problem)


def test_lines_may_end_as_on_windows_and_digests_be_upper_case(tmp_path: Path) -> None:
    path = _package(tmp_path)
    text = manifest(tmp_path, ["a.vmdk"]).replace("\n", "\r\n")
    name, _, digest = text.partition("= ")
    (tmp_path / "server.mf").write_bytes(f"\ufeff{name} = {digest.upper()}\r\n".encode())
    assert _problem(path) is None


def test_names_may_be_written_as_paths_in_the_same_folder(tmp_path: Path) -> None:
    path = _package(tmp_path)
    names = ["./server.ovf", "./a.vmdk", "./b.vmdk"]
    (tmp_path / "server.mf").write_text(manifest(tmp_path, names))
    with opened(path) as artifact:
        assert artifact.nodes[0].facts["manifest"] == "3 files verified (SHA256)"
        assert artifact.findings == []


def test_a_listed_file_that_is_missing_is_reported(tmp_path: Path) -> None:
    path = _package(tmp_path)
    names = ["server.ovf", "a.vmdk", "b.vmdk"]
    (tmp_path / "server.mf").write_text(manifest(tmp_path, names))
    (tmp_path / "b.vmdk").unlink()
    with opened(path) as artifact:
        assert artifact.nodes[0].facts["manifest"] == "2 files verified (SHA256)"
        assert [finding.rule for finding in artifact.findings] == ["manifest-file-missing"]
        assert artifact.nodes[0].children[1].problem is not None


def test_files_that_a_manifest_leaves_out_are_reported(tmp_path: Path) -> None:
    path = _package(tmp_path)
    (tmp_path / "server.mf").write_text(manifest(tmp_path, ["server.ovf", "a.vmdk"]))
    with opened(path) as artifact:
        (finding,) = artifact.findings
    assert finding.rule == "manifest-incomplete"
    assert "'b.vmdk'" in finding.evidence


def test_chunks_are_verified_one_by_one(tmp_path: Path) -> None:
    what = package("a.vmdk")
    path = tmp_path / "server.ovf"
    path.write_text(replace(what, files=({**what.files[0], "chunkSize": "10"},)).text())
    names = ["a.vmdk.000000000", "a.vmdk.000000001"]
    for name in names:
        (tmp_path / name).write_bytes(b"0123456789")
    (tmp_path / "server.mf").write_text(manifest(tmp_path, ["server.ovf", names[0]]))
    with opened(path) as artifact:
        (finding,) = artifact.findings
        assert "does not list 'a.vmdk.000000001'" in finding.evidence
    (tmp_path / "server.mf").write_text(manifest(tmp_path, ["server.ovf", *names]))
    with opened(path) as artifact:
        assert artifact.nodes[0].problem is None
        assert artifact.findings == []
    patch(tmp_path / names[1], 0, b"x")
    assert isinstance(_problem(path), CorruptError)


def test_a_certificate_is_reported_as_not_verified(tmp_path: Path) -> None:
    path = _package(tmp_path)
    names = ["server.ovf", "a.vmdk", "b.vmdk"]
    (tmp_path / "server.mf").write_text(manifest(tmp_path, names))
    (tmp_path / "server.cert").write_text("SHA256(server.mf)= 00\n-----BEGIN CERTIFICATE-----\n")
    with opened(path) as artifact:
        (finding,) = artifact.findings
    assert finding.rule == "signature-not-verified"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no manifest\n", CorruptError),
        ("SHA256(a.vmdk)= xyz\n", CorruptError),
        ("SHA256(a.vmdk)=\n", CorruptError),
        ("WHIRLPOOL(a.vmdk)= 00\n", UnsupportedError),
        ("SHA256(a.vmdk)= 00\n", CorruptError),
    ],
)
def test_manifests_that_make_no_sense_are_errors(
    tmp_path: Path, text: str, error: type[Exception]
) -> None:
    path = _package(tmp_path)
    (tmp_path / "server.mf").write_text(text)
    assert isinstance(_problem(path), error)


def test_manifests_are_bounded(tmp_path: Path) -> None:
    path = _package(tmp_path)
    (tmp_path / "server.mf").write_text(manifest(tmp_path, ["b.vmdk"]) * 1000)
    assert isinstance(_problem(path, Limits(descriptor_bytes=10_000)), LimitError)


def test_a_manifest_cannot_make_other_files_be_read(tmp_path: Path) -> None:
    path = _package(tmp_path)
    (tmp_path / "server.mf").write_text("SHA256(/etc/hostname)= 00\nSHA256(../x)= 00\n")
    with opened(path) as artifact:
        assert artifact.nodes[0].facts["manifest"].startswith("0 files verified")


def test_a_file_of_holes_is_not_summed_up_for_days(tmp_path: Path) -> None:
    path = _package(tmp_path)
    with (tmp_path / "a.vmdk").open("wb") as file:
        file.write(b"x")
        file.truncate(1 << 40)
    (tmp_path / "server.mf").write_text("SHA256(a.vmdk)= 00\n")
    problem = _problem(path)
    assert isinstance(problem, LimitError)
    assert "a.vmdk: has 1,099,511,627,776 bytes" in str(problem)


def test_progress_goes_up_to_all_that_is_verified(tmp_path: Path) -> None:
    path = _package(tmp_path)
    (tmp_path / "server.mf").write_text(manifest(tmp_path, ["a.vmdk", "b.vmdk"]))
    seen: list[tuple[str, int, int]] = []
    with open_artifact([path], progress=lambda *step: seen.append(step)):
        pass
    assert [step for step in seen if step[0] == "verifying"][-1] == (
        "verifying",
        5_000_010,
        5_000_010,
    )
    assert len(seen) > 2
