"""An EBS snapshot as a byte source.

Specification: EBS direct APIs, ``ListSnapshotBlocks`` and ``GetSnapshotBlock``
(https://docs.aws.amazon.com/ebs/latest/APIReference/). A snapshot is a volume in blocks of 512 KiB;
those that were never written are not listed, and are zeros. Which blocks there are is asked for by
the window of the disk that is looked at, so that a snapshot of many tebibytes costs no more memory
than a small one.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from formats.bundles.ami.access import CONNECTIONS, translated
from formats.core.errors import ConvertError, CorruptError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.disks.clusters import ClusterSource, Run

if TYPE_CHECKING:
    from mypy_boto3_ebs.client import EBSClient

BLOCK_BYTES = 512 << 10
_GIB = 1 << 30
_VOLUME_GIB_MAX = 64 << 10
"""The largest volume that there is."""

_WINDOW_BLOCKS = 8192
_PAGE_BLOCKS = 10_000
"""The most that one answer lists."""
_PARTS_MAX = 1024
"""Answers that the list of one window may come in."""
_WINDOWS_KEPT = 16
_ATTEMPTS = 3
"""Of what boto3 does not try again by itself: answers cut short or changed, expired tokens."""
_FIRST_PAUSE_SECONDS = 0.2

_Tokens = Mapping[int, str]


class SnapshotBlocks:
    """The blocks of a snapshot; see :class:`formats.disks.clusters.ClusterMap`.

    :ivar fetched: blocks that were read so far.
    :raises CorruptError: if the service's answer makes no sense.
    :raises formats.core.errors.ConvertError: if it refuses.
    """

    backing: ByteSource | None = None

    def __init__(self, client: EBSClient, snapshot: str, origin: Origin) -> None:
        self._client = client
        self._snapshot = snapshot
        self._origin = origin
        self._windows: OrderedDict[int, _Tokens] = OrderedDict()
        self._lock = Lock()
        self.fetched = 0
        with translated(origin):
            answer = client.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100)
            gibibytes = answer["VolumeSize"]
        if not 0 < gibibytes <= _VOLUME_GIB_MAX:
            raise CorruptError(f"is said to have {gibibytes:,} GiB", origin=origin)
        self.size = gibibytes * _GIB

    def runs(self, offset: int, length: int) -> Sequence[Run]:
        """See :meth:`formats.disks.clusters.ClusterMap.runs`."""
        found: list[Run] = []
        while length > 0:
            block, skip = divmod(offset, BLOCK_BYTES)
            count = min(length, BLOCK_BYTES - skip)
            if block in self._tokens(block // _WINDOW_BLOCKS):
                found.append(Run(count, offset=skip, unit=block))
            elif found and found[-1].unit < 0:
                found[-1] = Run(found[-1].length + count)
            else:
                found.append(Run(count))
            offset += count
            length -= count
        return found

    def decode(self, unit: int) -> bytes:
        """Fetch a block, several times if need be.

        :raises CorruptError: if its checksum stays wrong.
        :raises formats.core.errors.ConvertError: if it cannot be had.
        """
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._fetch(unit)
            except ConvertError:
                if attempt == _ATTEMPTS:
                    raise
                with self._lock:  # its token may have expired
                    self._windows.pop(unit // _WINDOW_BLOCKS, None)
            time.sleep(pause)
            pause *= 2
        raise AssertionError("the loop returns or raises")

    def _fetch(self, block: int) -> bytes:
        offset = block * BLOCK_BYTES
        token = self._tokens(block // _WINDOW_BLOCKS).get(block)
        if token is None:
            raise CorruptError("lost a block while it was read", origin=self._origin, offset=offset)
        with translated(self._origin, offset):
            answer = self._client.get_snapshot_block(
                SnapshotId=self._snapshot, BlockIndex=block, BlockToken=token
            )
            data = answer["BlockData"].read(BLOCK_BYTES + 1)
        if len(data) != BLOCK_BYTES:
            raise CorruptError(
                f"gave {len(data):,} bytes for a block of {BLOCK_BYTES:,}",
                origin=self._origin,
                offset=offset,
            )
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        if answer.get("ChecksumAlgorithm") != "SHA256" or answer.get("Checksum") != digest:
            raise CorruptError(
                "gave a block that does not match its checksum",
                origin=self._origin,
                offset=offset,
                hint="something on the way changes the data: check proxies, try again",
            )
        with self._lock:
            self.fetched += 1
        return data

    def _tokens(self, window: int) -> _Tokens:
        """Return what fetches the blocks of a window, by their numbers."""
        with self._lock:
            known = self._windows.get(window)
            if known is not None:
                self._windows.move_to_end(window)
                return known
        listed = dict(self._list(window * _WINDOW_BLOCKS))
        with self._lock:
            self._windows[window] = listed
            while len(self._windows) > _WINDOWS_KEPT:
                self._windows.popitem(last=False)
        return listed

    def _list(self, first: int) -> Iterator[tuple[int, str]]:
        """Yield the blocks from ``first`` on, up to the end of its window.

        A part of the list may be empty and others follow all the same (``MaxResults``).

        :raises CorruptError: if the parts do not end.
        """
        end = first + _WINDOW_BLOCKS
        token: str | None = None
        for _ in range(_PARTS_MAX):
            with translated(self._origin, first * BLOCK_BYTES):
                if token is None:
                    answer = self._client.list_snapshot_blocks(
                        SnapshotId=self._snapshot, StartingBlockIndex=first, MaxResults=_PAGE_BLOCKS
                    )
                else:
                    answer = self._client.list_snapshot_blocks(
                        SnapshotId=self._snapshot, NextToken=token, MaxResults=_PAGE_BLOCKS
                    )
                found = [(block["BlockIndex"], block["BlockToken"]) for block in answer["Blocks"]]
            yield from (block for block in found if first <= block[0] < end)
            token = answer.get("NextToken")
            if not token or any(number >= end for number, _ in found):
                return
        raise CorruptError(
            "lists its blocks without an end", origin=self._origin, offset=first * BLOCK_BYTES
        )


def open_snapshot(
    client: EBSClient, snapshot: str, origin: Origin, limits: Limits
) -> ClusterSource:
    """Return a snapshot as a source; its :meth:`~ClusterSource.close` ends the threads.

    :raises formats.core.errors.ConvertError: if there is none, or it may not be read.
    """
    blocks = SnapshotBlocks(client, snapshot, origin)
    return ClusterSource(
        blocks,
        origin,
        unit_bytes=BLOCK_BYTES,
        cache_bytes=limits.cache_bytes,
        threads=CONNECTIONS,
    )
