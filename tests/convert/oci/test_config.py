"""Image configs: what is written, and what no runtime would take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convert.oci.config import HistoryEntry, ImageConfig, timestamp
from convert.oci.descriptor import Platform
from convert.oci.digest import Digest
from formats.core.errors import UsageError
from tests.support.images import config
from tests.support.programs import need, run

ROOT = Path(__file__).resolve().parents[3]
DIFF = Digest.of(b"tar")


def written(how: ImageConfig) -> Any:
    return json.loads(how.encode([DIFF], [HistoryEntry(created=0, created_by="x")]))


@pytest.mark.parametrize("seconds", [0, 1, 951_782_400, 1_700_000_000, -1, 2**31, 253_402_300_799])
def test_a_time_is_what_date_writes(seconds: int) -> None:
    need("date")
    shown = run("date", "-u", "-d", f"@{seconds}", "+%Y-%m-%dT%H:%M:%SZ").stdout
    assert timestamp(seconds) == shown.decode().strip()


def test_years_before_1000_have_four_digits_too() -> None:
    assert timestamp(-62_135_596_800) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("seconds", [-62_135_596_801, 253_402_300_800, 2**80, -(2**80)])
def test_a_time_that_rfc3339_cannot_write_is_refused(seconds: int) -> None:
    with pytest.raises(UsageError, match="years 1 to 9999"):
        timestamp(seconds)


def test_every_setting_is_where_the_specification_has_it() -> None:
    how = ImageConfig(
        Platform("arm", variant="v7"),
        entrypoint=("/usr/sbin/nginx", "-g", "daemon off;"),
        cmd=("x",),
        env=("PATH=/bin", "EMPTY=", "A=b=c"),
        user="33:33",
        working_dir="/srv",
        exposed_ports=("80/tcp", "53/udp", "8080", "9000-9010/tcp"),
        volumes=("/data",),
        stop_signal="SIGQUIT",
        labels=(("b", "2"), ("a", "é")),
        created=0,
        author="me",
    )
    assert written(how) == {
        "architecture": "arm",
        "author": "me",
        "config": {
            "Cmd": ["x"],
            "Entrypoint": ["/usr/sbin/nginx", "-g", "daemon off;"],
            "Env": ["PATH=/bin", "EMPTY=", "A=b=c"],
            "ExposedPorts": {"53/udp": {}, "80/tcp": {}, "8080": {}, "9000-9010/tcp": {}},
            "Labels": {"a": "é", "b": "2"},
            "StopSignal": "SIGQUIT",
            "User": "33:33",
            "Volumes": {"/data": {}},
            "WorkingDir": "/srv",
        },
        "created": "1970-01-01T00:00:00Z",
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "x"}],
        "os": "linux",
        "rootfs": {"diff_ids": [str(DIFF)], "type": "layers"},
        "variant": "v7",
    }


def test_what_is_not_set_is_left_out() -> None:
    assert written(ImageConfig(Platform("amd64")))["config"] == {}
    assert written(ImageConfig(Platform("amd64"))).keys() == {
        *("architecture", "config", "history", "os", "rootfs")
    }


def test_an_empty_entrypoint_is_written_to_clear_that_of_a_base() -> None:
    assert written(config(entrypoint=(), cmd=None))["config"] == {"Entrypoint": []}


_SCRIPT = """
import sys
from convert.oci.config import ImageConfig
from convert.oci.descriptor import Platform
how = ImageConfig(
    Platform("amd64"),
    labels=(("b", "1"), ("a", "2")),
    volumes=("/b", "/a"),
    exposed_ports=("80/tcp", "22/tcp"),
    created=1700000000,
)
sys.stdout.buffer.write(how.encode([], []))
"""


def test_neither_the_zone_nor_the_locale_nor_the_hash_seed_changes_a_config() -> None:
    environments = (
        {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"},
        {"TZ": "America/New_York", "PYTHONHASHSEED": "2", "LC_ALL": "C"},
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, **environment},
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout
        for environment in environments
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"env": ("NOTHING",)}, "is not NAME=value"),
        ({"env": ("=x",)}, "is not NAME=value"),
        ({"env": ("A=1", "A=2")}, "is set twice"),
        ({"env": ("A=\0",)}, "is not NAME=value"),
        ({"exposed_ports": ("http",)}, "is not a port"),
        ({"exposed_ports": ("65536/tcp",)}, "is not a port"),
        ({"exposed_ports": ("80/icmp",)}, "is not a port"),
        ({"exposed_ports": ("1-99999",)}, "is not a port"),
        ({"volumes": ("data",)}, "is not an absolute path"),
        ({"working_dir": "srv"}, "is not an absolute path"),
        ({"cmd": ("a\0b",)}, "holds a NUL"),
        ({"user": "\udcff"}, "is not Unicode"),
        ({"labels": (("a", "\ud800"),)}, "is not Unicode"),
    ],
)
def test_a_value_that_no_runtime_takes_is_refused(settings: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        config(**settings)


def test_a_history_has_an_entry_for_each_layer() -> None:
    empty = HistoryEntry(created_by="ENV A=b", comment="c", is_empty=True)
    layer = HistoryEntry(created_by="x")
    text = json.loads(config().encode([DIFF], [empty, layer, empty]))
    assert [entry.get("empty_layer") for entry in text["history"]] == [True, None, True]
    with pytest.raises(ValueError, match="do not match"):
        config().encode([DIFF], [empty])
