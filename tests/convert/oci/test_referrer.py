"""Tests of reports that are attached to images, against the specification and other tools."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import convert, succeed
from tests.support.containers import podman
from tests.support.programs import need, run
from tests.support.schemas import schema

REPORT = "application/vnd.oci-convert.report.v1+json"


def attached(disk: Path, destination: str, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        succeed("run", "--json", "--attach-report", disk, destination, *options)
    )
    return document


def index(layout: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return entries


def blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    digest: str = descriptor["digest"]
    data = (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert len(data) == descriptor["size"]
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
    return data


def reports(layout: Path) -> list[dict[str, Any]]:
    """Return the manifests of the reports in a layout."""
    found = [entry for entry in index(layout) if entry.get("artifactType") == REPORT]
    return [json.loads(blob(layout, entry)) for entry in found]


def test_the_report_refers_to_the_image_and_is_the_document_of_the_run(
    disks: Path, tmp_path: Path
) -> None:
    done = attached(disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    (manifest,) = reports(tmp_path / "out")
    image = next(entry for entry in index(tmp_path / "out") if "artifactType" not in entry)
    assert manifest["subject"] == {key: image[key] for key in ("mediaType", "digest", "size")}
    assert manifest["subject"]["digest"] == done["image"]["digest"]
    assert manifest["artifactType"] == REPORT
    assert blob(tmp_path / "out", manifest["config"]) == b"{}"
    (layer,) = manifest["layers"]
    assert layer["annotations"]["org.opencontainers.image.title"] == "report.json"
    report = json.loads(blob(tmp_path / "out", layer))
    assert report["sources"] == ["server.vmdk"]
    assert report["image"].pop("destination") == "x"
    done["image"].pop("destination")
    assert report["image"] == done["image"]
    assert report["decisions"] == done["decisions"]


def test_its_documents_are_valid_by_the_specifications_schemas(disks: Path, tmp_path: Path) -> None:
    attached(disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    schema("image-index-schema.json").validate(
        json.loads((tmp_path / "out/index.json").read_text())
    )
    (manifest,) = reports(tmp_path / "out")
    schema("image-manifest-schema.json").validate(manifest)


def test_no_folder_of_the_machine_that_made_it_is_told(disks: Path, tmp_path: Path) -> None:
    attached(disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert bytes(tmp_path) not in data
            assert bytes(disks) not in data


def test_the_image_is_the_same_with_and_without(disks: Path, tmp_path: Path) -> None:
    with_report = attached(disks / "server.vmdk", f"oci:{tmp_path}/out:a")
    without = json.loads(succeed("run", "--json", disks / "server.vmdk", f"oci:{tmp_path}/out:b"))
    assert with_report["image"]["digest"] == without["image"]["digest"]


def test_a_report_goes_when_its_image_makes_room_for_another(disks: Path, tmp_path: Path) -> None:
    layout = tmp_path / "out"
    disk = disks / "server.vmdk"
    attached(disk, f"oci:{layout}:kept", "--env", "A=1")
    attached(disk, f"oci:{layout}:x")
    before = index(layout)
    attached(disk, f"oci:{layout}:x")
    assert index(layout) == before
    new = attached(disk, f"oci:{layout}:x", "--env", "A=2")
    subjects = {manifest["subject"]["digest"] for manifest in reports(layout)}
    images = {entry["digest"] for entry in index(layout) if "artifactType" not in entry}
    assert len(reports(layout)) == 2
    assert subjects == images
    assert new["image"]["digest"] in subjects
    assert succeed("verify", f"oci:{layout}:kept")


def test_a_report_stays_while_another_name_has_its_image(disks: Path, tmp_path: Path) -> None:
    layout = tmp_path / "out"
    attached(disks / "server.vmdk", f"oci:{layout}:a")
    succeed("run", "-q", disks / "server.vmdk", f"oci:{layout}:b")
    succeed("run", "-q", disks / "server.vmdk", f"oci:{layout}:a", "--env", "A=2")
    assert len(reports(layout)) == 1


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_other_tools_take_the_image_beside_its_report(
    disks: Path, tmp_path: Path, kind: str
) -> None:
    need("skopeo")
    image = f"{kind}:{tmp_path}/out:x"
    digest = attached(disks / "server.vmdk", image)["image"]["digest"]
    assert json.loads(run("skopeo", "inspect", image).stdout)["Digest"] == digest
    command = json.dumps(["/usr/bin/busybox", "cat", "/var/www/index.html"])
    with podman() as engine:
        assert engine.run(image, "--entrypoint", command) == b"hello from a converted disk\n"
    assert succeed("verify", image, disks / "server.vmdk")
    assert succeed("verify", image.removesuffix(":x"))
    assert "Tiny Linux 1.2" in succeed("inspect", image.removesuffix(":x"))


def test_umoci_lists_the_image_alone(disks: Path, tmp_path: Path) -> None:
    need("umoci")
    attached(disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    assert run("umoci", "ls", "--layout", tmp_path / "out").stdout == b"x\n"


def wrong(layout: Path) -> set[str]:
    """Return the kinds of problems that verifying finds."""
    done = convert("verify", "--json", f"oci:{layout}:x")
    assert done.code == 8
    return {item["code"] for item in json.loads(done.out)["problems"]}


def test_a_damaged_report_is_found(disks: Path, tmp_path: Path) -> None:
    layout = tmp_path / "out"
    attached(disks / "server.vmdk", f"oci:{layout}:x")
    (manifest,) = reports(layout)
    digest = manifest["layers"][0]["digest"].removeprefix("sha256:")
    file = layout / "blobs/sha256" / digest
    data = file.read_bytes()
    file.write_bytes(data.replace(b"server", b"SERVER"))
    assert wrong(layout) == {"digest"}
    file.write_bytes(data[:-1])
    assert wrong(layout) == {"digest", "size"}
    file.unlink()
    assert wrong(layout) == {"missing-blob"}


def test_a_report_of_another_image_is_found(disks: Path, tmp_path: Path) -> None:
    layout = tmp_path / "out"
    attached(disks / "server.vmdk", f"oci:{layout}:x")
    document = json.loads((layout / "index.json").read_text())
    entry = next(item for item in document["manifests"] if "artifactType" in item)
    (manifest,) = reports(layout)
    manifest["subject"]["digest"] = "sha256:" + "0" * 64
    data = json.dumps(manifest).encode()
    entry["digest"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    entry["size"] = len(data)
    (layout / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).write_bytes(data)
    (layout / "index.json").write_text(json.dumps(document))
    assert wrong(layout) == {"disagreement"}


@pytest.mark.parametrize("destination", ["docker-archive:{}/out:a/b:1", "oci:{}/out"])
def test_where_nothing_can_be_attached_nothing_is_written(
    disks: Path, tmp_path: Path, destination: str
) -> None:
    done = convert("run", "--attach-report", disks / "server.vmdk", destination.format(tmp_path))
    assert done.code == 2
    assert list(tmp_path.iterdir()) == []
