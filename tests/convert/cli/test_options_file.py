"""``--config FILE`` and ``convert schema``: options from a file, and what such a file may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from convert.options import ConvertOptions
from tests.support.command import convert, succeed

OPTIONS = {
    "$schema": "./options.schema.json",
    "entrypoint": ["/bin/app", "--quiet mode"],
    "cmd": "-v 'two words'",
    "env": {"MODE": "fast", "LEVEL": "3"},
    "ports": ["8443"],
    "labels": ["team=shop"],
    "user": "1000",
    "stop_signal": "quit",
    "volume_paths": ["/srv/data"],
    "profile": "strict",
    "platform": "linux/arm/v7",
    "limits": {"entries": 100_000},
}
TOML = """
entrypoint = ["/bin/app", "--quiet mode"]
cmd = "-v 'two words'"
ports = ["8443"]
labels = ["team=shop"]
user = "1000"
stop_signal = "quit"
volume_paths = ["/srv/data"]
profile = "strict"
platform = "linux/arm/v7"
limits.entries = 100_000
env.MODE = "fast"
env.LEVEL = "3"
"""

ELF_AMD64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01" + bytes(43)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of a small root filesystem."""
    place = tmp_path / "root"
    for folder in ("bin", "etc", "srv/data", "usr", "var"):
        (place / folder).mkdir(parents=True)
    (place / "bin/app").write_bytes(b"#!/bin/sh\n")
    (place / "bin/sh").write_bytes(ELF_AMD64)
    for program in ("bin/app", "bin/sh"):
        (place / program).chmod(0o755)
    (place / "etc/os-release").write_text("ID=small\nPRETTY_NAME=Small\n")
    return place


def decided(root: Path, *arguments: str | Path) -> dict[str, list[str]]:
    document = json.loads(succeed("inspect", "--json", f"dir:{root}", *arguments))
    found: dict[str, list[str]] = {}
    for item in document["decisions"]["config"]:
        found.setdefault(item["field"], []).append(item["value"])
    return found


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("options.json", json.dumps(OPTIONS)),
        ("options.toml", TOML),
        ("options.yaml", yaml.safe_dump(OPTIONS)),
    ],
)
def test_a_file_sets_what_the_command_line_can(
    root: Path, tmp_path: Path, name: str, text: str
) -> None:
    found = decided(root, "--config", written(tmp_path, name, text))
    assert found["entrypoint"] == ["/bin/app '--quiet mode'"]
    assert found["cmd"] == ["-v 'two words'"]
    assert found["port"] == ["8443/tcp"]
    assert found["user"] == ["1000"]
    assert found["stop-signal"] == ["SIGQUIT"]
    assert found["platform"] == ["linux/arm/v7"]
    assert {"LEVEL=3", "MODE=fast"} <= set(found["env"])


def test_the_command_line_goes_before_the_file(root: Path, tmp_path: Path) -> None:
    file = written(tmp_path, "options.json", json.dumps(OPTIONS))
    found = decided(root, "--config", file, "--user", "7", "--port", "1", "--platform", "linux/386")
    assert found["user"] == ["7"]
    assert found["port"] == ["1/tcp"]
    assert found["platform"] == ["linux/386"]
    assert found["entrypoint"] == ["/bin/app '--quiet mode'"]


def test_an_option_with_a_default_leaves_the_file_its_say(root: Path, tmp_path: Path) -> None:
    (root / "var/log").mkdir()
    (root / "var/log/syslog").write_text("x")
    file = written(tmp_path, "options.json", '{"profile": "none", "platform": "linux/amd64"}')
    document = json.loads(succeed("inspect", "--json", f"dir:{root}", "--config", file))
    assert document["decisions"]["applied"] == {}
    document = json.loads(
        succeed("inspect", "--json", f"dir:{root}", "--config", file, "--profile", "container")
    )
    assert document["decisions"]["applied"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("o.json", '{"prots": ["80"]}', "sets 'prots', which is no option; did you mean 'ports'?"),
        ("o.json", '{"zzzzzz": 1}', "sets 'zzzzzz', which is no option; 'convert schema' has all"),
        ("o.json", '{"ports": ["x"]}', "ports: 'x' is not a port from 1 to 65535"),
        ("o.json", '{"limits": {"entires": 5}}', "limits.entires: "),
        ("o.json", '{"jobs": "many"}', "jobs: "),
        ("o.json", "{", "is malformed: "),
        ("o.json", "[" * 100_000, "is malformed: "),
        ("o.json", "[]", "holds no object of options"),
        ("o.toml", "user = ", "is malformed: "),
        ("o.json", "\udcff", "is malformed: "),
        ("o.json", " " * (1 << 20) + "{}", "is too large for an options file"),
        ("o.yaml", "user: [", "is malformed: "),
        ("o.yaml", "user: !!python/object/apply:os.getcwd []", "is malformed: "),
        ("o.ini", "", "is no options file; its name has to end in .json or .toml"),
    ],
)
def test_a_wrong_file_ends_with_one_line(
    root: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = convert("inspect", f"dir:{root}", "--config", file)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_file_that_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    done = convert("inspect", f"dir:{root}", "--config", tmp_path / "none.json")
    assert done.code == 2
    assert "none.json': No such file or directory" in done.err


def test_the_schema_takes_what_the_command_takes() -> None:
    schema = json.loads(succeed("schema"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    validator.validate(OPTIONS)
    assert not validator.is_valid({"prot": ["80"]})
    assert not validator.is_valid({"profile": "half"})
    assert set(schema["properties"]) == {"$schema", *ConvertOptions.model_fields}


def test_each_field_of_the_schema_is_explained() -> None:
    schema = json.loads(succeed("schema"))
    assert [
        name for name, field in schema["properties"].items() if "description" not in field
    ] == []


@pytest.mark.parametrize("command", ["inspect", "export"])
def test_what_a_command_prints_is_as_its_schema_says(
    root: Path, tmp_path: Path, command: str
) -> None:
    more = [f"tar:{tmp_path}/out.tar"] if command == "export" else []
    document: dict[str, Any] = json.loads(succeed(command, "--json", f"dir:{root}", *more))
    jsonschema.validate(document, json.loads(succeed("schema", command)))


def test_an_unknown_schema_is_refused_with_those_there_are() -> None:
    done = convert("schema", "everything")
    assert done.code == 2
    assert "there are: options, run, inspect" in done.err
