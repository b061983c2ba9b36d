"""What ``split_services`` refuses, and that nothing is left behind where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.options import validated
from convert.services.split import split_services
from formats.core.errors import OutputExistsError, UsageError
from tests.support.guests import service

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01" + bytes(43)


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("--service", "service", "web"),
        ("--entrypoint", "entrypoint", "/bin/sh"),
        ("--cmd", "cmd", "-v"),
        ("--port", "ports", ["80"]),
        ("--user", "user", "web"),
        ("--workdir", "workdir", "/srv"),
        ("--stop-signal", "stop_signal", "QUIT"),
    ],
)
def test_options_for_one_service_are_refused_before_anything_is_opened(
    option: str, field: str, value: object, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{option} is for one service"):
        split_services("missing.raw", f"oci:{tmp_path}/out", validated({field: value}))


def test_no_compose_file_is_left_where_the_images_cannot_be_written(tmp_path: Path) -> None:
    root = tmp_path / "root"
    units = root / "usr/lib/systemd/system"
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True)
    (root / "sbin").mkdir()
    (root / "usr/lib/systemd/systemd").write_bytes(ELF)
    (root / "usr/lib/systemd/systemd").chmod(0o755)
    (root / "sbin/init").symlink_to("../usr/lib/systemd/systemd")
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text("ID=small\n")
    (root / "var").mkdir()
    (units / "multi-user.target").write_text("[Unit]\n")
    (units / "web.service").write_text(service("/usr/lib/systemd/systemd --port 80"))
    (wants / "web.service").symlink_to("../web.service")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "theirs").write_text("x")
    with pytest.raises(OutputExistsError):
        split_services(f"dir:{root}", f"oci:{taken}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "taken"]
