"""Tests of file capabilities, against what setcap writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.packages.capabilities import XATTR, capability_xattr
from tests.support.programs import need, need_root, run


@pytest.mark.parametrize(
    "text",
    [
        "cap_net_raw=ep",
        "cap_net_raw,cap_net_admin+ep",
        "= cap_chown,cap_kill+p",
        "cap_sys_admin=p cap_setuid+i",
        "cap_audit_read,cap_wake_alarm=eip",
        "cap_net_raw=eip cap_net_raw-i",
        "CAP_CHOWN=p",
        "cap_checkpoint_restore=ep",
        "7=p",
    ],
)
def test_capabilities_are_those_that_setcap_writes(text: str, tmp_path: Path) -> None:
    need("setcap")
    need_root()
    path = tmp_path / "program"
    path.touch()
    run("setcap", text, path)
    assert capability_xattr(text) == os.getxattr(path, XATTR)


@pytest.mark.parametrize("text", ["", "=", "cap_chown=", "cap_chown=p cap_chown-p"])
def test_no_capabilities_are_no_xattr(text: str) -> None:
    assert capability_xattr(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "cap_nonsense=ep",
        "cap_chown",
        "+ep",
        "cap_chown=x",
        "cap_chown=e cap_kill=p",
        "99=p",
        f"{'9' * 5000}=p",
    ],
)
def test_what_no_file_can_have_is_an_error(text: str) -> None:
    with pytest.raises(CorruptError):
        capability_xattr(text)
