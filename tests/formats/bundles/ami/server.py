"""A stand-in for the cloud on this machine: moto, holding a real disk cut into blocks."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ebs.models import ebs_backends
from moto.server import ThreadedMotoServer

from formats.bundles.ami.access import Account, Clients, connect
from formats.bundles.ami.snapshot import BLOCK_BYTES

REGION = "eu-central-1"
GIB = 1 << 30


@contextmanager
def cloud() -> Iterator[str]:
    """Run the services; give their URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def account(url: str) -> Account:
    return Account(region=REGION, endpoint_url=url)


def snapshot_of(clients: Clients, disk: Path) -> str:
    """Upload a disk as a snapshot, zeros left out, and return its ID."""
    gibibytes = -(-disk.stat().st_size // GIB)
    made = clients.ebs.start_snapshot(VolumeSize=gibibytes, Description=disk.name)
    snapshot = made["SnapshotId"]
    with disk.open("rb") as file:
        for index in range(-(-disk.stat().st_size // BLOCK_BYTES)):
            block = file.read(BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")
            if block.strip(b"\0"):
                clients.ebs.put_snapshot_block(
                    SnapshotId=snapshot,
                    BlockIndex=index,
                    BlockData=block,
                    DataLength=len(block),
                    Checksum=base64.b64encode(hashlib.sha256(block).digest()).decode(),
                    ChecksumAlgorithm="SHA256",
                )
    clients.ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)
    return snapshot


def image_of(clients: Clients, name: str, snapshot: str) -> str:
    """Register an image whose only disk has the blocks of a snapshot, and return its ID.

    moto gives each image a snapshot of its own, and that no blocks.
    """
    image = clients.ec2.register_image(Name=name, Architecture="x86_64")["ImageId"]
    (described,) = clients.ec2.describe_images(ImageIds=[image])["Images"]
    own = described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    held = ebs_backends[DEFAULT_ACCOUNT_ID][REGION].snapshots
    held[own] = held[snapshot]
    return image


def clients(url: str) -> Clients:
    return connect(account(url))
