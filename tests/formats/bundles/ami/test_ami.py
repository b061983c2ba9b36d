"""Images and snapshots of a stand-in cloud, against the disks that were uploaded to it."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from formats.bundles.ami.access import Account, Clients, translated
from formats.bundles.ami.image import open_image, open_in_cloud
from formats.bundles.ami.snapshot import (
    _WINDOW_BLOCKS,
    BLOCK_BYTES,
    SnapshotBlocks,
    open_snapshot,
)
from formats.core.errors import (
    ConvertError,
    CorruptError,
    InputReadError,
    MissingDependencyError,
    UnsupportedError,
    UsageError,
)
from formats.core.limits import DEFAULT_LIMITS
from formats.core.opener import Artifact, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Volume
from formats.core.tree import Tree
from formats.disks.clusters import ClusterSource
from tests.formats.bundles.ami.server import account, clients, cloud, image_of, snapshot_of
from tests.images.systems import Ext4, disk, root_files
from tests.images.volumes import MIB, blank, patch
from tests.support.disks import check_extents

ORIGIN = Origin(("snap",))


def _nothing(what: object) -> None:
    del what


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cloud() as address:
        yield address


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture
def cloud_clients(url: str) -> Clients:
    return clients(url)


def test_a_snapshot_has_the_bytes_of_its_disk(cloud_clients: Clients, tmp_path: Path) -> None:
    image = blank(tmp_path / "disk.raw", 1 << 30)
    for place in (0, 700_000, 5 * MIB - 3, 600 * MIB, (1 << 30) - 9):
        patch(image, place, b"something")
    source = open_snapshot(
        cloud_clients.ebs, snapshot_of(cloud_clients, image), ORIGIN, DEFAULT_LIMITS
    )
    try:
        assert source.size == 1 << 30
        assert check_extents(source) == (1 << 30) - 6 * BLOCK_BYTES
        with image.open("rb") as file:
            for place, length in ((0, 100), (5 * MIB - 100, 300), (600 * MIB - 5, 3 * MIB)):
                file.seek(place)
                assert bytes(source.read_at(place, length)) == file.read(length)
        assert bytes(source.read_at((1 << 30) - 9, 100)) == b"something"
    finally:
        source.close()


def test_an_image_is_the_machine_of_its_disk(
    url: str, cloud_clients: Clients, tmp_path: Path
) -> None:
    root = disk(tmp_path / "root.raw", Ext4(root_files()))
    image = image_of(cloud_clients, "a server", snapshot_of(cloud_clients, root))
    with ExitStack() as resources:
        volume = open_in_cloud(f"ami:{image}", account(url), resources.callback)
        artifact = resources.enter_context(open_artifact([volume]))
        (top,) = artifact.nodes
        assert top.machine is not None
        assert (top.machine.name, top.machine.title) == (image, "a server")
        (found,) = [node for node in artifact.walk() if node.tree is not None]
        assert str(found.origin) == f"{image} › sda1 › gpt:1"
        assert b"etc/os-release" in {entry.path for entry in _tree(artifact).entries()}


def test_the_disk_of_the_root_comes_first(cloud_clients: Clients, tmp_path: Path) -> None:
    """moto knows images of one disk only; the answer of EC2 is written down here."""
    snapshots = [
        snapshot_of(cloud_clients, disk(tmp_path / f"{name}.raw", Ext4({name: ""})))
        for name in ("data", "root", "more")
    ]
    mappings = [
        {"DeviceName": f"/dev/{device}", "Ebs": {"SnapshotId": snapshot}}
        for device, snapshot in zip(("sdb", "xvda", "sdc"), snapshots, strict=True)
    ]
    mappings.append({"DeviceName": "/dev/sdd", "VirtualName": "ephemeral0"})
    image = {"Name": "three", "RootDeviceName": "/dev/xvda", "BlockDeviceMappings": mappings}
    with ExitStack() as resources, Stubber(cloud_clients.ec2) as stub:
        stub.add_response("describe_images", {"Images": [image]})
        volume = open_image(cloud_clients, "ami-01234567", resources.callback, DEFAULT_LIMITS)
        artifact = resources.enter_context(open_artifact([volume]))
        (top,) = artifact.nodes
        assert [child.volume.label for child in top.children] == ["xvda", "sdb", "sdc"]
        assert [child.disk for child in top.children] == [0, 1, 2]


def test_only_the_blocks_that_are_needed_are_fetched(
    cloud_clients: Clients, tmp_path: Path
) -> None:
    content = Ext4({**root_files(), "large": "x" * 40_000_000}, size_mib=48)
    snapshot = snapshot_of(cloud_clients, disk(tmp_path / "disk.raw", content))
    blocks = SnapshotBlocks(cloud_clients.ebs, snapshot, ORIGIN)
    source = ClusterSource(blocks, ORIGIN, unit_bytes=BLOCK_BYTES, cache_bytes=16 * MIB)
    with open_artifact([Volume(source, "disk")]) as artifact:
        tree = _tree(artifact)
        entries = {entry.path: entry for entry in tree.entries()}
        assert b"".join(map(bytes, tree.read(entries[b"bin/sh"]))) == b"a shell\n"
    source.close()
    assert 0 < blocks.fetched < 12  # of some 80


def _tree(artifact: Artifact) -> Tree:
    (tree,) = [node.tree for node in artifact.walk() if node.tree is not None]
    return tree


def answer(data: bytes, checksum: bytes | None = None) -> dict[str, object]:
    digest = base64.b64encode(hashlib.sha256(checksum or data).digest()).decode()
    return {
        "DataLength": len(data),
        "BlockData": StreamingBody(BytesIO(data), len(data)),
        "Checksum": digest,
        "ChecksumAlgorithm": "SHA256",
    }


def listing(*blocks: int, more: str | None = None) -> dict[str, object]:
    found = [{"BlockIndex": number, "BlockToken": f"token{number}"} for number in blocks]
    following = {"NextToken": more} if more else {}
    return {"Blocks": found, "VolumeSize": 8, "BlockSize": BLOCK_BYTES, **following}


@contextmanager
def scripted(
    cloud_clients: Clients, *answers: tuple[str, dict[str, object] | str]
) -> Iterator[SnapshotBlocks]:
    """Let the service answer as it is written down; a text is the code of an error."""
    with Stubber(cloud_clients.ebs) as stub:
        for call, said in (("list_snapshot_blocks", listing()), *answers):
            if isinstance(said, str):
                stub.add_client_error(call, said, "says the service")
            else:
                stub.add_response(call, said)
        yield SnapshotBlocks(cloud_clients.ebs, "snap-01234567", ORIGIN)
        stub.assert_no_pending_responses()


BLOCK = b"x" * BLOCK_BYTES


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formats.bundles.ami.snapshot.time.sleep", _nothing)


def test_listings_in_several_parts_are_put_together(cloud_clients: Clients) -> None:
    with scripted(
        cloud_clients,
        ("list_snapshot_blocks", listing(1, 2, more="more")),
        ("list_snapshot_blocks", listing(5)),
    ) as blocks:
        units = [run.unit for run in blocks.runs(0, 7 * BLOCK_BYTES)]
    assert units == [-1, 1, 2, -1, 5, -1]


def test_an_empty_part_of_a_listing_does_not_end_it(cloud_clients: Clients) -> None:
    """The service may give no block and go on; what it lists then is no hole."""
    with scripted(
        cloud_clients,
        ("list_snapshot_blocks", listing(more="more")),
        ("list_snapshot_blocks", listing(1, more="again")),
        ("list_snapshot_blocks", listing(more="last")),
        ("list_snapshot_blocks", listing(3)),
    ) as blocks:
        units = [run.unit for run in blocks.runs(0, 4 * BLOCK_BYTES)]
    assert units == [-1, 1, -1, 3]


def test_a_listing_is_read_no_further_than_its_window(cloud_clients: Clients) -> None:
    with scripted(
        cloud_clients, ("list_snapshot_blocks", listing(1, _WINDOW_BLOCKS, more="more"))
    ) as blocks:
        units = [run.unit for run in blocks.runs(0, 3 * BLOCK_BYTES)]
    assert units == [-1, 1, -1]


def test_a_listing_without_an_end_is_an_error(
    cloud_clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("formats.bundles.ami.snapshot._PARTS_MAX", 3)
    endless = [("list_snapshot_blocks", listing(1, more="more"))] * 3
    with (
        scripted(cloud_clients, *endless) as blocks,
        pytest.raises(CorruptError, match="without an end"),
    ):
        blocks.runs(0, BLOCK_BYTES)


def test_an_answer_that_leaves_something_out_is_an_error(cloud_clients: Clients) -> None:
    with (
        scripted(cloud_clients, ("list_snapshot_blocks", {"VolumeSize": 8})) as blocks,
        pytest.raises(CorruptError, match="without 'Blocks'"),
    ):
        blocks.runs(0, BLOCK_BYTES)
    with Stubber(cloud_clients.ebs) as stub:
        stub.add_response("list_snapshot_blocks", {"Blocks": []})
        with pytest.raises(CorruptError, match="without 'VolumeSize'"):
            SnapshotBlocks(cloud_clients.ebs, "snap-01234567", ORIGIN)


def test_a_block_that_came_damaged_is_fetched_again(cloud_clients: Clients) -> None:
    with scripted(
        cloud_clients,
        ("list_snapshot_blocks", listing(0)),
        ("get_snapshot_block", answer(BLOCK, checksum=b"other")),
        ("list_snapshot_blocks", listing(0)),
        ("get_snapshot_block", answer(BLOCK)),
    ) as blocks:
        assert blocks.decode(0) == BLOCK


def test_a_block_that_stays_damaged_is_an_error_with_its_place(cloud_clients: Clients) -> None:
    wrong = [
        item
        for _ in range(3)
        for item in (
            ("list_snapshot_blocks", listing(2)),
            ("get_snapshot_block", answer(BLOCK, checksum=b"other")),
        )
    ]
    with scripted(cloud_clients, *wrong) as blocks:
        with pytest.raises(CorruptError, match="does not match its checksum") as caught:
            blocks.decode(2)
        assert caught.value.offset == 2 * BLOCK_BYTES


def test_a_short_block_is_an_error(cloud_clients: Clients) -> None:
    short = [
        item
        for _ in range(3)
        for item in (
            ("list_snapshot_blocks", listing(0)),
            ("get_snapshot_block", answer(BLOCK[:-1])),
        )
    ]
    with (
        scripted(cloud_clients, *short) as blocks,
        pytest.raises(CorruptError, match="gave 524,287 bytes"),
    ):
        blocks.decode(0)


def test_a_token_that_has_expired_is_asked_for_again(cloud_clients: Clients) -> None:
    with scripted(
        cloud_clients,
        ("list_snapshot_blocks", listing(0)),
        ("get_snapshot_block", "ValidationException"),
        ("list_snapshot_blocks", listing(0)),
        ("get_snapshot_block", answer(BLOCK)),
    ) as blocks:
        assert blocks.decode(0) == BLOCK


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        ("AccessDeniedException", InputReadError, "ebs:GetSnapshotBlock"),
        ("ResourceNotFoundException", UnsupportedError, "check the ID and --region"),
        ("InternalServerException", InputReadError, "try again later"),
    ],
)
def test_what_the_service_refuses_is_told_with_a_way_out(
    cloud_clients: Clients, code: str, kind: type[ConvertError], hint: str
) -> None:
    with Stubber(cloud_clients.ebs) as stub:
        stub.add_client_error("list_snapshot_blocks", code, "says the service")
        with pytest.raises(kind, match="says the service") as caught:
            SnapshotBlocks(cloud_clients.ebs, "snap-01234567", ORIGIN)
    assert hint in str(caught.value)


def test_a_service_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(InputReadError, match="Could not connect"), translated(ORIGIN):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_without_credentials_it_is_said_where_they_come_from() -> None:
    with pytest.raises(InputReadError, match="--aws-profile"), translated(ORIGIN):
        raise NoCredentialsError


@pytest.mark.parametrize("name", ["ami:", "ami:../../etc", "snap:x y", "ami:snap-01234567"])
def test_a_name_that_is_none_is_a_wrong_use(name: str) -> None:
    with pytest.raises(UsageError, match="names no"):
        open_in_cloud(name, Account(region="eu-central-1"), _nothing)


def test_an_image_without_snapshots_is_refused(cloud_clients: Clients) -> None:
    with Stubber(cloud_clients.ec2) as stub:
        stub.add_response("describe_images", {"Images": [{"Name": "old", "ImageId": "ami-1"}]})
        with pytest.raises(UnsupportedError, match="no disk in a snapshot"):
            open_image(cloud_clients, "ami-01234567", _nothing, DEFAULT_LIMITS)


def test_without_a_region_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(UsageError, match="--region"):
        open_in_cloud("snap:snap-01234567", Account(), _nothing)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependencyError, match=r"oci-convert\[aws\]"):
        open_in_cloud("snap:snap-01234567", Account(region="eu-central-1"), _nothing)
