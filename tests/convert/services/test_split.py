"""``run --split`` and ``--volumes`` on small machines: what is written, and what is refused."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.command import convert, succeed
from tests.support.programs import need, run

ELF_AMD64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01" + bytes(43)
UNIT = "[Unit]\nAfter={after}\n[Service]\nExecStart={command}\n{more}\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return the folder of a machine with two services and their data."""
    root = tmp_path / "root"
    wants = root / "etc/systemd/system/multi-user.target.wants"
    units = root / "usr/lib/systemd/system"
    for folder in (wants, units, root / "usr/bin", root / "sbin", root / "var/lib/store"):
        folder.mkdir(parents=True)
    for name in ("usr/bin/store", "usr/bin/web", "usr/lib/systemd/systemd", "bin/sh"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(ELF_AMD64)
        (root / name).chmod(0o755)
    (root / "sbin/init").symlink_to("../usr/lib/systemd/systemd")
    (root / "etc/os-release").write_text("ID=small\nPRETTY_NAME=Small\n")
    (root / "var/lib/store/goods").write_text("beans")
    state = "StateDirectory=store\nRuntimeDirectory=store"
    texts = {
        "store": UNIT.format(after="", command="/usr/bin/store --port 81", more=state),
        "web": UNIT.format(
            after="store.service",
            command="/usr/bin/web --port 80",
            more="Environment=MODE=x 'API_TOKEN=Zm9ydHktdHdv-beans'\nKillSignal=QUIT",
        ),
    }
    (units / "multi-user.target").write_text("[Unit]\n")
    for name, text in texts.items():
        (units / f"{name}.service").write_text(text)
        (wants / f"{name}.service").symlink_to(f"/usr/lib/systemd/system/{name}.service")
    return root


def image_config(layout: Path, tag: str) -> dict[str, Any]:
    need("skopeo")
    found: dict[str, Any] = json.loads(
        run("skopeo", "inspect", "--config", f"oci:{layout}:{tag}").stdout
    )
    return found


def test_each_service_has_an_image_and_all_have_one_layer(machine: Path, tmp_path: Path) -> None:
    layout = tmp_path / "out"
    document = json.loads(succeed("run", "--json", "--split", f"dir:{machine}", f"oci:{layout}"))
    jsonschema.validate(document, json.loads(succeed("schema", "split")))
    images = {item["service"]: item["run"]["image"] for item in document["images"]}
    assert set(images) == {"store", "web"}
    assert images["store"]["layers"] == images["web"]["layers"]
    assert len(list(layout.glob("blobs/sha256/*"))) == 1 + 2 + 2
    web, store = image_config(layout, "web"), image_config(layout, "store")
    assert web["config"]["Entrypoint"] == ["/usr/bin/web"]
    assert web["config"]["StopSignal"] == "SIGQUIT"
    assert store["config"]["Volumes"] == {"/var/lib/store": {}}
    assert "Volumes" not in web["config"]
    for tag in images:
        succeed("verify", f"oci:{layout}:{tag}")


def test_the_layer_has_what_each_needs_to_start(machine: Path, tmp_path: Path) -> None:
    succeed("run", "-q", "--split", f"dir:{machine}", f"oci:{tmp_path}/out")
    listed = succeed("ls", "-R", f"oci:{tmp_path}/out:web", "/run")
    assert "/run/store" in listed


def test_the_compose_file_tells_no_secret(machine: Path, tmp_path: Path) -> None:
    succeed("run", "-q", "--split", f"dir:{machine}", f"oci:{tmp_path}/out:v1")
    text = (tmp_path / "compose.yaml").read_text()
    assert "forty" not in text
    assert "Zm9y" not in text
    services = yaml.safe_load(text)["services"]
    assert services["web"]["environment"] == {"MODE": "x"}
    assert services["web"]["image"] == "localhost/out:web-v1"
    assert list(services) == ["store", "web"]
    assert "skopeo copy oci:out:web-v1 containers-storage:localhost/out:web-v1" in text


def test_docker_compose_takes_the_file(machine: Path, tmp_path: Path) -> None:
    need("docker-compose")
    succeed("run", "-q", "--split", f"dir:{machine}", f"oci:{tmp_path}/out")
    shown = run("docker-compose", "-f", tmp_path / "compose.yaml", "config").stdout
    services = yaml.safe_load(shown)["services"]
    assert services["web"]["depends_on"] == {"store": {"condition": "service_started"}}
    assert services["store"]["volumes"] == ["var-lib-store:/var/lib/store:rw", "run:/run:rw"]


def test_images_of_a_second_machine_go_into_the_same_layout(machine: Path, tmp_path: Path) -> None:
    for tag in ("a", "b"):
        compose = tmp_path / f"{tag}.yaml"
        succeed(
            *("run", "-q", "--split", "--compose", compose, f"dir:{machine}"),
            f"oci:{tmp_path}/out:{tag}",
        )
        assert compose.exists()
    index = json.loads((tmp_path / "out/index.json").read_text())
    names = [
        item["annotations"]["org.opencontainers.image.ref.name"] for item in index["manifests"]
    ]
    assert sorted(names) == ["store-a", "store-b", "web-a", "web-b"]


def test_a_compose_file_that_is_there_stays_and_nothing_is_written(
    machine: Path, tmp_path: Path
) -> None:
    (tmp_path / "compose.yaml").write_text("theirs")
    done = convert("run", "--split", f"dir:{machine}", f"oci:{tmp_path}/out")
    assert done.code == 7
    assert (tmp_path / "compose.yaml").read_text() == "theirs"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--split", "SOURCE", "oci-archive:OUT"], 2, "holds one image"),
        (["--split", "--service", "web", "SOURCE", "oci:OUT"], 2, "--split goes with none of"),
        (["--compose", "x.yaml", "SOURCE", "oci:OUT"], 2, "--compose is for --split"),
        (["--service", "mail", "SOURCE", "oci:OUT"], 2, "there are: store, web"),
    ],
)
def test_what_makes_no_sense_is_refused(
    machine: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    words = [
        word.replace("SOURCE", f"dir:{machine}").replace("OUT", f"{tmp_path}/out")
        for word in arguments
    ]
    done = convert("run", *words)
    assert (done.code, message in done.err) == (code, True), done.err


def test_a_machine_without_services_cannot_be_split(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("bin", "etc", "usr", "var"):
        (root / folder).mkdir(parents=True)
    (root / "bin/sh").write_bytes(ELF_AMD64)
    (root / "etc/os-release").write_text("ID=small\n")
    done = convert("run", "--split", f"dir:{root}", f"oci:{tmp_path}/out")
    assert done.code == 3
    assert "no service that could be split off" in done.err


def test_one_service_is_taken_by_its_name(machine: Path, tmp_path: Path) -> None:
    succeed("run", "-q", "--service", "web", f"dir:{machine}", f"oci:{tmp_path}/out:x")
    assert image_config(tmp_path / "out", "x")["config"]["Entrypoint"] == ["/usr/bin/web"]


@pytest.mark.parametrize(
    ("volumes", "declared", "in_layer"),
    [("declare", True, True), ("extract", True, False), ("none", False, True)],
)
def test_data_is_declared_extracted_or_left_alone(
    machine: Path, tmp_path: Path, volumes: str, declared: bool, in_layer: bool
) -> None:
    layout = tmp_path / "out"
    document = json.loads(
        succeed(
            *("run", "--json", "--service", "store", "--volumes", volumes, "--strict"),
            *(f"dir:{machine}", f"oci:{layout}:x"),
        )
    )
    config = image_config(layout, "x")["config"]
    assert config.get("Volumes") == ({"/var/lib/store": {}} if declared else None)
    listed = succeed("ls", "-R", f"oci:{layout}:x", "/var/lib")
    assert ("/var/lib/store/goods" in listed) is in_layer
    archive = tmp_path / "out.x.var-lib-store.tar"
    assert archive.exists() is not in_layer
    if volumes == "extract":
        (volume,) = document["volumes"]
        assert volume == {
            "path": "/var/lib/store",
            "file": str(archive),
            "entries": 2,
            "content_bytes": 5,
        }
        with tarfile.open(archive) as opened:
            goods = opened.extractfile("goods")
            assert goods is not None
            assert goods.read() == b"beans"


def test_no_archive_is_left_where_the_image_cannot_be_written(
    machine: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    done = convert(
        "run", "--service", "store", "--volumes", "extract", f"dir:{machine}", f"oci:{tmp_path}/out"
    )
    assert done.code == 7
    assert not list(tmp_path.glob("*.tar"))


def test_further_volumes_are_declared_with_the_option_as_the_reason(machine: Path) -> None:
    options = ("--volume", "/srv/pictures", "--volumes", "none")
    document = json.loads(succeed("inspect", "--json", *options, f"dir:{machine}"))
    volumes = [item for item in document["decisions"]["config"] if item["field"] == "volume"]
    assert [(item["value"], item["why"]) for item in volumes] == [
        ("/srv/pictures", ["given as an option"])
    ]
