"""What is not read, in metadata that lvm itself took (``vgcfgrestore``) and names as we do.

Making such volumes takes the kernel's device-mapper; describing them does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from formats.core.errors import ConvertError, UnsupportedError
from formats.core.reader import Role
from tests.images.lvm import Lvm, blank_disks, lvm_on
from tests.images.volumes import MIB, opened

_LINEAR = """type = "striped"
stripe_count = 1
stripes = ["pv0", {extent}]"""


@dataclass(frozen=True, slots=True)
class _Made:
    """A volume as its segment's text; an empty one is linear."""

    name: str
    segment: str = ""
    is_visible: bool = False


_VOLUMES = (
    _Made("plain", is_visible=True),
    _Made(
        "raid",
        'type = "raid1"\ndevice_count = 2\nregion_size = 1024\n'
        'raids = ["raid_rmeta_0", "raid_rimage_0", "raid_rmeta_1", "raid_rimage_1"]',
        is_visible=True,
    ),
    *(_Made(f"raid_{part}_{leg}") for part in ("rmeta", "rimage") for leg in (0, 1)),
    _Made(
        "mirrored",
        'type = "mirror"\nmirror_count = 2\nregion_size = 1024\n'
        'mirrors = ["mirrored_mimage_0", 0, "mirrored_mimage_1", 0]',
        is_visible=True,
    ),
    *(_Made(f"mirrored_mimage_{leg}") for leg in (0, 1)),
    _Made(
        "pool",
        'type = "thin-pool"\nmetadata = "pool_tmeta"\npool = "pool_tdata"\ntransaction_id = 1\n'
        'chunk_size = 128\ndiscards = "passdown"\nzero_new_blocks = 1',
        is_visible=True,
    ),
    _Made("pool_tmeta"),
    _Made("pool_tdata"),
    _Made(
        "thin",
        'type = "thin"\nthin_pool = "pool"\ntransaction_id = 0\ndevice_id = 1',
        is_visible=True,
    ),
    _Made(
        "cached",
        'type = "cache"\ncache_pool = "fast"\norigin = "cached_corig"',
        is_visible=True,
    ),
    _Made("cached_corig"),
    _Made(
        "fast",
        'type = "cache-pool"\ndata = "fast_cdata"\nmetadata = "fast_cmeta"\nchunk_size = 128\n'
        'metadata_format = 2\ncache_mode = "writethrough"\npolicy = "smq"\npolicy_settings {\n}',
    ),
    _Made("fast_cdata"),
    _Made("fast_cmeta"),
    _Made(
        "buffered",
        'type = "writecache"\norigin = "buffered_wcorig"\nwritecache = "log_cvol"\n'
        "writecache_block_size = 4096",
        is_visible=True,
    ),
    _Made("buffered_wcorig"),
    _Made("log_cvol"),
    _Made(
        "tie",
        'type = "snapshot"\nchunk_size = 8\norigin = "plain"\ncow_store = "snap"',
        is_visible=True,
    ),
    _Made("snap"),
    _Made(
        "vpool",
        'type = "vdo-pool"\ndata = "vpool_vdata"\nheader_size = 128\nvirtual_extents = 16\n'
        "use_compression = 1\nuse_deduplication = 1\nuse_metadata_hints = 1\n"
        "minimum_io_size = 4096\nblock_map_cache_size_mb = 128\nblock_map_era_length = 16380\n"
        "use_sparse_index = 0\nindex_memory_size_mb = 256\nslab_size_mb = 2048\n"
        "ack_threads = 1\nbio_threads = 4\nbio_rotation = 64\ncpu_threads = 2\n"
        "hash_zone_threads = 1\nlogical_threads = 1\nphysical_threads = 1\n"
        'max_discard = 1\nwrite_policy = "auto"',
        is_visible=True,
    ),
    _Made("vpool_vdata"),
    _Made("small", 'type = "vdo"\nvdo_pool = "vpool"\nvdo_offset = 0', is_visible=True),
    _Made("broken", 'type = "error"', is_visible=True),
)

_EXPECTED = {
    "pool": "a thin pool",
    "thin": "a thin volume of the pool 'pool'",
    "cached": "a cached volume (cache 'fast')",
    "buffered": "a volume with a write cache",
    "vpool": "a VDO pool",
    "small": "a deduplicated volume of the VDO pool 'vpool'",
    "snap": "a snapshot of 'plain'",
    "broken": "a volume of errors, put in place of a lost disk",
}


def _text(made: _Made, number: int) -> str:
    status = '"READ", "WRITE"' + (', "VISIBLE"' if made.is_visible else "")
    segment = made.segment or _LINEAR.format(extent=16 * number)
    return (
        f'{made.name} {{\nid = "{number:06d}-abcd-abcd-abcd-abcd-abcd-abcdef"\n'
        f"status = [{status}]\nflags = []\nsegment_count = 1\n"
        f"segment1 {{\nstart_extent = 0\nextent_count = 16\n{segment}\n}}\n}}\n"
    )


def _restore(lvm: Lvm, folder: Path, text: str) -> None:
    """Let lvm write metadata with these logical volumes."""
    backup = folder / "group.txt"
    lvm("vgcfgbackup", "-f", backup, "vg")
    before, _, after = backup.read_text().rpartition("\n}")
    backup.write_text(f"{before}\nlogical_volumes {{\n{text}}}\n}}{after}")
    lvm("vgcfgrestore", "--force", "-f", backup, "vg")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lvm-kinds")
    (image,) = blank_disks(folder, 1, 32 * MIB)
    with lvm_on(folder, image) as lvm:
        lvm("pvcreate", "-y", *lvm.devices)
        lvm("vgcreate", "-s", "64k", "vg", *lvm.devices)
        text = "".join(_text(made, number) for number, made in enumerate(_VOLUMES))
        _restore(lvm, folder, text)
        kinds = lvm.kinds()
    assert kinds["thin"] == "thin"
    assert kinds["raid"] == "raid1"
    assert kinds["cached"] == "cache"
    assert kinds["buffered"] == "writecache"
    return image


def _problems(disk: Path) -> dict[str, ConvertError | None]:
    with opened(disk) as artifact:
        (group,) = [node for node in artifact.nodes if node.members]
        return {child.volume.label.removeprefix("vg/"): child.problem for child in group.children}


@pytest.mark.parametrize("name", _EXPECTED)
def test_what_is_not_read_is_named_with_the_way_out(disk: Path, name: str) -> None:
    problem = _problems(disk)[name]
    assert isinstance(problem, UnsupportedError)
    assert problem.message == f"is {_EXPECTED[name]}, which is not read"
    elsewhere = f"'qemu-img convert -O qcow2 /dev/vg/{name} …'"
    assert problem.hint
    assert (elsewhere in problem.hint) == (name not in {"pool", "vpool", "broken"})


def test_the_volumes_beside_them_are_read(disk: Path) -> None:
    read = [name for name, problem in _problems(disk).items() if problem is None]
    assert read == ["plain", "raid", "mirrored"]


def test_only_volumes_that_users_see_are_listed(disk: Path) -> None:
    assert _problems(disk).keys() == {"plain", "raid", "mirrored", *_EXPECTED}
    hidden = len(_VOLUMES) - len(_EXPECTED) - 3
    with opened(disk) as artifact:
        facts = artifact.nodes[-1].facts
    assert facts["vg"].endswith(f", {hidden} volumes that are parts of others")


def test_pools_are_no_candidates_for_anything(disk: Path) -> None:
    with opened(disk) as artifact:
        roles = {node.volume.label: node.volume.role for node in artifact.walk()}
    assert roles["vg/pool"] is Role.RESERVED
    assert roles["vg/thin"] is Role.DATA
