"""Arrays that the kernel made: what it wrote to them is what is read, or they are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from formats.core.errors import UnsupportedError
from formats.core.opener import Artifact, Node, open_artifact
from formats.core.registry import Registry
from formats.volumes.mdraid import READER
from tests.images.kernel_made import numbered
from tests.images.md import ARRAYS, members
from tests.support.disks import check_extents, whole
from tests.support.programs import need, run

_REFUSED = {
    "raid0-unknown": "does not say in which of two layouts it is",
    "raid1-bad-blocks": "has bad blocks in its log",
    "raid5-journal": "has a write journal",
    "raid5-one-failed": "a raid5 array of 3 members that needs its members 1, which are missing",
    "raid5-one-missing": "a raid5 array of 3 members that needs its members 1, which are missing",
    "raid5-reshaping": "is being reshaped",
    "raid6-one-failed": "a raid6 array of 4 members that needs its members 0, which are missing",
}
_REWRITTEN = frozenset(
    {
        "raid1-one-failed",
        "raid1-one-removed",
        "raid1-re-added",
        "raid10-far2-one-failed",
        "raid10-near2-one-failed",
    }
)
"""Filled once more after a member was gone."""

_READ = [name for name in ARRAYS if name not in _REFUSED]

_FINDINGS = {
    "raid1-one-failed": ["read without the members 0 of 2", "0 is not used: it failed or"],
    "raid1-one-missing": ["read without the members 1 of 2"],
    "raid1-one-rebuilding": ["read without the members 1 of 2", "1 is not used: it was being reb"],
    "raid1-one-removed": ["read without the members 0 of 3", "0 is not used: it failed or was rem"],
    "raid1-replacing": ["2 is not used: it is to replace another one"],
    "raid10-far2-one-failed": ["read without the members 1 of 2", "1 is not used: it failed or"],
    "raid10-near2-one-failed": ["read without the members 0 of 4", "0 is not used: it failed or"],
    "raid10-near2-one-missing": ["read without the members 2 of 4"],
}


@contextmanager
def _opened(paths: Sequence[Path]) -> Iterator[tuple[Artifact, Node]]:
    """Open members with nothing but the reader of md; give the array's node as well."""
    with open_artifact(list(paths), registry=Registry([READER])) as artifact:
        (array,) = [node for node in artifact.nodes if node.members]
        assert array.problem is None
        (volume,) = array.children
        yield artifact, volume


@pytest.mark.parametrize("name", _READ)
def test_what_the_kernel_wrote_is_read(tmp_path: Path, name: str) -> None:
    with _opened(members(name, tmp_path)) as (_, volume):
        source = volume.volume.source
        assert volume.problem is None
        assert source.size > 1 << 19
        letter = "B" if name in _REWRITTEN else "A"
        assert whole(source, 100_000) == numbered(source.size, letter)
        check_extents(source)


@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with _opened(members(name, tmp_path)) as (_, volume):
        assert isinstance(volume.problem, UnsupportedError)
        assert _REFUSED[name] in volume.problem.message
        assert volume.problem.hint
        assert volume.volume.source.size == 0


@pytest.mark.parametrize("name", _READ)
def test_what_the_array_lacks_is_reported_and_nothing_else(tmp_path: Path, name: str) -> None:
    with _opened(members(name, tmp_path)) as (artifact, _):
        evidence = [finding.evidence for finding in artifact.findings]
    expected = _FINDINGS.get(name, [])
    assert len(evidence) == len(expected)
    for ours, start in zip(evidence, expected, strict=True):
        assert ours.startswith(start)


@pytest.mark.parametrize("name", ["linear-1.2", "raid0-original", "raid5-left-symmetric"])
def test_the_order_of_the_members_makes_no_difference(tmp_path: Path, name: str) -> None:
    with _opened(members(name, tmp_path)[::-1]) as (_, volume):
        source = volume.volume.source
        assert whole(source) == numbered(source.size, "A")


@pytest.mark.parametrize("name", ["raid0-original", "raid10-offset2-of-3", "raid6-left-symmetric"])
@pytest.mark.parametrize("step", [1_000, 4_096, 30_000])
def test_ranges_of_any_size_are_read_with_hints(tmp_path: Path, name: str, step: int) -> None:
    with _opened(members(name, tmp_path)) as (_, volume):
        source = volume.volume.source
        source.will_need([(0, step), (100_000, 300_000), (source.size - 1, 1 << 40)])
        assert whole(source, step) == numbered(source.size, "A")


@pytest.mark.parametrize("name", ARRAYS)
def test_identity_is_what_mdadm_examine_prints(tmp_path: Path, name: str) -> None:
    need("mdadm")
    paths = members(name, tmp_path)
    with _opened(paths) as (artifact, volume):
        nodes = artifact.nodes[: len(paths)]
        for path, node in zip(paths, nodes, strict=True):
            theirs = _examined(path)
            assert node.facts["array"] == theirs.get("Array UUID", theirs.get("UUID"))
            assert node.facts["version"] == theirs["Version"].removesuffix(".00")
            assert "correct" in theirs["Checksum"]
            role = theirs.get("Device Role", "")
            if role.startswith("Active device"):
                assert node.facts["role"] == role.removeprefix("Active device ")
            if "Raid Level" in theirs:
                assert node.facts["level"] == theirs["Raid Level"]
        assert volume.volume.uuid == nodes[0].facts["array"]


def _examined(path: Path) -> dict[str, str]:
    text = run("mdadm", "--examine", path).stdout.decode()
    return dict(re.findall(r"^ *(\S.*?) : (.*?)(?: \(local.*\))?$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "label", "device_names"),
    [
        ("raid1-named", "md:data", ("md/data", "disk/by-id/md-name-web01:data")),
        ("raid1-1.2", "md:127", ("md127", "md/127", "disk/by-id/md-name-any:127")),
        ("raid1-0.90", "md:127", ("md127",)),
    ],
)
def test_an_array_has_the_names_that_its_own_machine_gives_it(
    tmp_path: Path, name: str, label: str, device_names: tuple[str, ...]
) -> None:
    with _opened(members(name, tmp_path)) as (_, volume):
        assert volume.volume.label == label
        by_uuid = f"disk/by-id/md-uuid-{volume.volume.uuid}"
        assert volume.volume.device_names == (*device_names, by_uuid)
        assert str(volume.origin) == f"0 › {label}"
