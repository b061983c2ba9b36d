from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.recognised import TOOLS, Recipe, blkid_type, make
from tests.images.volumes import MIB, blank, opened, patch
from tests.support.programs import need, run

_AREAS = [what for what in TOOLS if what.name == "swap"]


@pytest.mark.parametrize("what", _AREAS, ids=lambda what: " ".join(what.command))
def test_a_swap_area_holds_nothing_and_is_no_error(tmp_path: Path, what: Recipe) -> None:
    image = make(what, tmp_path)
    with opened(image) as artifact:
        node = artifact.nodes[0]
    assert node.reader is not None
    assert node.reader.name == blkid_type(image) == "swap"
    assert (node.problem, node.children) == (None, [])


def test_label_and_uuid_are_those_that_mkswap_was_given(tmp_path: Path) -> None:
    need("mkswap")
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    image = blank(tmp_path / "image", MIB)
    run("mkswap", "--label", "sw\x1bap", "--uuid", uuid, image)
    with opened(image) as artifact:
        assert artifact.nodes[0].facts == {"uuid": uuid, "label": "sw\\x1bap"}


@pytest.mark.parametrize("magic", [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0"])
def test_a_system_that_was_suspended_to_disk_is_a_finding(tmp_path: Path, magic: bytes) -> None:
    need("mkswap")
    image = blank(tmp_path / "image", MIB)
    run("mkswap", image)
    patch(image, 4086, magic)
    assert blkid_type(image) == "swsuspend"
    with opened(image) as artifact:
        node = artifact.nodes[0]
        (finding,) = artifact.findings
    assert (node.problem, node.children) == (None, [])
    assert finding.rule == "hibernated"
    assert "shut it down and image it again" in finding.evidence
