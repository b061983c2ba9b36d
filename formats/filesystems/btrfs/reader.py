"""The Btrfs reader: one device gives a tree or its subvolumes, several are put together first.

See the package's documentation for the format. Not read: zoned devices, extent-tree-v2,
raid-stripe-tree, encrypted files, filesystems on seed devices; RAID5 and RAID6 need all devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from formats.core.errors import AmbiguousError, ConvertError, CorruptError
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import (
    Category,
    Member,
    OpenContext,
    ReaderDoc,
    Signature,
    Subvolume,
    Volume,
    Volumes,
)
from formats.core.source import ByteSource, MemorySource
from formats.core.tree import TreeInfo
from formats.filesystems.btrfs.filesystem import BtrfsFilesystem
from formats.filesystems.btrfs.items import FS_TREE
from formats.filesystems.btrfs.space import Device
from formats.filesystems.btrfs.subvolume import SubvolumeNodes
from formats.filesystems.btrfs.superblock import (
    MAGIC,
    MAGIC_OFFSET,
    PLACES,
    SUPERBLOCK_BYTES,
    CompatRo,
    Incompat,
    State,
    is_whole,
    read_superblock,
)
from formats.filesystems.content_tree import ContentTree

_CHECK_HINT = "take a good copy, or look with 'btrfs check' at this one"


class BtrfsReader:
    """Btrfs on one or several devices."""

    name = "btrfs"
    category = Category.FILESYSTEM
    signatures = tuple(Signature(place + MAGIC_OFFSET, MAGIC) for place in PLACES)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        title="Btrfs filesystem",
        extensions=(".btrfs", ".img"),
        specification="https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html",
        reads="subvolumes and snapshots, each a volume of its own; zlib, LZO and Zstandard"
        " compression; single, DUP, RAID0, RAID1, RAID1C3, RAID1C4, RAID10, RAID5 and RAID6 over"
        " all devices, and without some of them where there are copies; checksums of metadata and"
        " data are verified (crc32c, xxhash64, sha256, blake2b), and where one copy is damaged"
        " another is used; what was synced since the last commit is replayed in memory",
        refuses="RAID5 and RAID6 without all devices, zoned devices, extent-tree-v2,"
        " raid-stripe-tree, encryption, seed devices, unknown incompatible features",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether a superblock is where it should be.

        One of its copies alone is what the filesystem before left behind, unless what was in front
        of it was lost, and nothing has taken its place.
        """
        first = bytes(source.read_at(PLACES[0], SUPERBLOCK_BYTES))
        if first[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC:
            return True
        if any(source.read_at(0, PLACES[0])) or any(first):
            return False
        return any(is_whole(bytes(source.read_at(at, SUPERBLOCK_BYTES))) for at in PLACES[1:])

    def open(self, source: ByteSource, context: OpenContext) -> ContentTree | Volumes | Member:
        """Read superblock, chunks and the list of subvolumes.

        :raises UnsupportedError: for a feature that is not read, by name.
        :raises CorruptError: if they are damaged.
        """
        with _hinted():
            return self._open(source, context)

    def _open(self, source: ByteSource, context: OpenContext) -> ContentTree | Volumes | Member:
        superblock = read_superblock(source)
        if superblock.place != PLACES[0]:
            evidence = (
                f"the first is damaged: the copy at byte {superblock.place:,} is used, and does not"
                " know of what was synced since the last commit"
            )
            context.note(_finding("btrfs-superblock", source, evidence))
        if superblock.device_bytes > source.size:
            raise CorruptError(
                f"the device has {superblock.device_bytes:,} bytes, its volume {source.size:,}",
                origin=source.origin,
                offset=superblock.place,
                hint="the image is truncated, or the partition was made smaller: get a whole copy",
            )
        device = Device(source, superblock)
        if superblock.device_count > 1:
            facts = {
                "device": f"{superblock.device_id} of {superblock.device_count}",
                "device-uuid": str(superblock.device_uuid),
            }
            return Member(str(superblock.fsid), source, device, facts)
        filesystem = _filesystem([device], context)
        if filesystem.roots.subvolumes() == [FS_TREE]:
            return _tree(filesystem, FS_TREE, b"", source)
        return _volumes(filesystem, source)

    def assemble(self, members: Sequence[Member], context: OpenContext) -> Volumes:
        """Return the subvolumes of a filesystem on several devices.

        :raises UnsupportedError: if devices are missing that it cannot be read without.
        :raises AmbiguousError: if two disks are the same device.
        :raises CorruptError: if it is damaged.
        """
        devices = [item.detail for item in members if isinstance(item.detail, Device)]
        with _hinted():
            return _volumes(_filesystem(devices, context), devices[0].source)


@contextmanager
def _hinted() -> Iterator[None]:
    """Say what to do about damage where the place that found it does not know better."""
    try:
        yield
    except CorruptError as error:
        error.hint = error.hint or _CHECK_HINT
        raise


def _filesystem(devices: Sequence[Device], context: OpenContext) -> BtrfsFilesystem:
    by_number: dict[int, Device] = {}
    for device in devices:
        number = device.superblock.device_id
        if number in by_number:
            raise AmbiguousError(
                f"{by_number[number].source.origin} and {device.source.origin} both are the"
                f" device {number} of the filesystem {device.superblock.fsid}",
                origin=device.source.origin,
                hint="give only one of the copies",
            )
        by_number[number] = device
    by_number = dict(sorted(by_number.items()))
    source = devices[0].source
    filesystem = BtrfsFilesystem(by_number, source.origin, context.limits, context.note)
    context.on_close(filesystem.content.close)
    for rule, evidence in _notes(filesystem, devices):
        context.note(_finding(rule, source, evidence))
    return filesystem


def _notes(filesystem: BtrfsFilesystem, devices: Sequence[Device]) -> Iterator[tuple[str, str]]:
    """Yield rule and evidence of what was done, and of reasons to doubt what is there."""
    superblock, logs = filesystem.superblock, filesystem.logs
    if logs:
        inodes = sum(len(log) for log in logs.values())
        yield "journal-replayed", f"{inodes:,} inodes were synced after the last commit"
    if State.ERROR in superblock.state:
        yield "filesystem-errors", "the kernel met errors in it: run 'btrfs check' on a copy"
    count = superblock.device_count
    missing = count - len(devices)
    if missing:
        yield "btrfs-degraded", f"{missing} of its {count} devices are missing: others have copies"
    for device in devices:
        number, behind = device.superblock.device_id, device.superblock.generation
        if behind != superblock.generation:
            evidence = f"device {number} stopped at commit {behind:,} of {superblock.generation:,}"
            yield "btrfs-stale-device", f"{evidence}: it is read where there is no other copy"


def _volumes(filesystem: BtrfsFilesystem, source: ByteSource) -> Volumes:
    """Return the subvolumes, by path."""
    roots = filesystem.roots
    numbers = roots.subvolumes()
    volumes = [_volume(filesystem, number, source) for number in numbers]
    volumes.sort(key=lambda volume: volume.subvolume.path.split(b"/") if volume.subvolume else [])
    default = next(
        (one.label for one in volumes if one.subvolume is not None and one.subvolume.is_default),
        f"{roots.default}, which is not there",
    )
    facts = {
        "subvolumes": str(len(numbers)),
        "default": default,
        "profiles": filesystem.space.chunk_map.profiles(),
    }
    return Volumes(tuple(volumes), facts)


def _volume(filesystem: BtrfsFilesystem, number: int, source: ByteSource) -> Volume:
    root = filesystem.root(number)
    problem: ConvertError | None = None
    label = f"subvolid:{number}"
    path = label.encode()  # so that none of these can be taken for the top
    try:
        path = filesystem.path(number)
        label = f"subvol:{printable(path) or '/'}"
    except ConvertError as error:
        problem = error
    empty = MemorySource(b"", source.origin.child(label))
    return Volume(
        empty,
        label,
        problem=problem,
        content=_tree(filesystem, number, path, empty) if problem is None else None,
        subvolume=Subvolume(
            number,
            path,
            is_default=number == filesystem.roots.default,
            is_snapshot=root.is_snapshot,
            is_read_only=root.is_read_only,
        ),
    )


def _tree(filesystem: BtrfsFilesystem, number: int, path: bytes, source: ByteSource) -> ContentTree:
    nodes = SubvolumeNodes(filesystem, number, source.origin)
    return ContentTree(nodes, tree_info(filesystem, number, path))


def tree_info(filesystem: BtrfsFilesystem, number: int, path: bytes) -> TreeInfo:
    """Return what is known of a subvolume and its filesystem."""
    superblock = filesystem.superblock
    features = [
        str(feature.name).lower()
        for flags in (superblock.incompat, superblock.compat_ro)
        for feature in (Incompat if flags is superblock.incompat else CompatRo)
        if feature in flags
    ]
    return TreeInfo(
        format="btrfs",
        uuid=str(superblock.fsid),
        label=superblock.label or None,
        size_bytes=superblock.total_bytes,
        used_bytes=superblock.bytes_used,
        facts={
            "subvolume": f"{printable(path) or '/'} ({number})",
            "generation": str(filesystem.root(number).generation),
            "checksums": superblock.checksum.name,
            "node size": str(superblock.node_bytes),
            "sector size": str(superblock.sector_bytes),
            "devices": str(superblock.device_count),
            "profiles": filesystem.space.chunk_map.profiles(),
            "log": "replayed" if number in filesystem.logs else "clean",
            "features": " ".join(features),
        },
    )


def _finding(rule: str, source: ByteSource, evidence: str) -> Finding:
    place = str(source.origin).encode("utf-8", "surrogateescape")
    return Finding(rule, place, Action.REPORTED, evidence)


READER = BtrfsReader()
