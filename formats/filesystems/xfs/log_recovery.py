"""Bringing an XFS filesystem up to date before it is read: its log is replayed in memory.

"XFS Algorithms & Data Structures", "Journaling Log". What is done is what mounting does, as far as
it changes what files there are and what is in them. The log is read twice: first for the buffers
that were freed, whose earlier changes must not be written over what took their place; then
everything else is carried out, transaction by transaction.

Work that was deferred and not done yet is completed if it is about which blocks a file has, and
refused if it is about extended attributes or exchanging files. Not done, as nothing of it can be
seen in a tree of files: quotas, freeing what deleted files held, and deferred work on free space,
reverse mappings and reference counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from formats.core.errors import UnsupportedError
from formats.core.limits import Limits
from formats.core.source import ByteSource
from formats.filesystems.xfs.log_head import ActiveLog, active_records, find_active
from formats.filesystems.xfs.log_record import Log
from formats.filesystems.xfs.log_transactions import committed
from formats.filesystems.xfs.replay import Replay
from formats.filesystems.xfs.replay_overlay import Overlay
from formats.filesystems.xfs.superblock import Superblock, read_superblock

_KNOWN_LOG_FEATURES = 0x1
"""attributes are logged as intents"""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A filesystem that is up to date.

    :ivar source: the volume as it is to be read.
    :ivar superblock: as it is there.
    :ivar replayed: how much was; None where nothing had to be.
    """

    source: ByteSource
    superblock: Superblock
    replayed: str | None = None


def recover(source: ByteSource, superblock: Superblock, limits: Limits) -> Recovered:
    """Return the filesystem as it is after its log was replayed, in memory.

    :raises CorruptError: where the kernel would refuse to mount it: the log is damaged.
    :raises UnsupportedError: if the log is on another device, has an unknown feature, or ends with
        work under way that changes files.
    :raises LimitError: if it needs more memory than ``limits`` give.
    """
    if superblock.log_is_external:
        raise UnsupportedError(
            "its log is on another device, and whether that has to be replayed cannot be seen",
            origin=source.origin,
            hint="copy the files from a machine where both are, or make a copy there that has"
            " an internal log",
        )
    log = Log(source, superblock)
    active = find_active(log)
    if active is None:
        return Recovered(source, superblock)
    unknown = superblock.log_incompat & ~_KNOWN_LOG_FEATURES
    if unknown:
        raise UnsupportedError(
            f"its log has to be replayed and uses unknown features ({unknown:#x})",
            origin=source.origin,
            hint="mount a copy with a newer kernel once, which replays the log",
        )
    return _replayed(source, superblock, log, active, limits)


def _replayed(
    source: ByteSource, superblock: Superblock, log: Log, active: ActiveLog, limits: Limits
) -> Recovered:
    overlay = Overlay(source, superblock.block_bytes, limits.replay_bytes)
    replay = Replay(log, superblock, overlay)
    for transaction in committed(log, active_records(log, active), limits.replay_bytes):
        replay.look_ahead(transaction)
    for transaction in committed(log, active_records(log, active), limits.replay_bytes):
        replay.carry_out(transaction)
    how_much = replay.finish()
    if active.torn:
        how_much += f"; records not all written, the last {active.torn:,} left out"
    current = overlay.over()
    return Recovered(current, read_superblock(current), how_much)
