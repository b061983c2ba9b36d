"""What the trees of an image that are not read have in them, and the one that is read has not.

A file may have been hidden from one of the trees on purpose (``-hide`` and ``-hide-joliet`` of
mkisofs). It is looked for by the place of its content, which all names of it have in common.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from formats.core.errors import CorruptError, LimitError
from formats.core.limits import Limits
from formats.core.source import ByteSource
from formats.filesystems.iso import records
from formats.filesystems.iso.records import Record, first_record, read_records
from formats.filesystems.iso.view import View


def names_elsewhere(
    source: ByteSource, view: View, known: Collection[int], limits: Limits
) -> dict[bytes, None]:
    """Return names of files of another tree, in its order, whose content is at no known place.

    :param known: where the content of files begins, in bytes.
    :raises CorruptError: if the tree is damaged, or larger than its image.
    :raises LimitError: if there is too much in it.
    """
    block_bytes = view.volume.block_bytes
    return {
        view.naming(record.name): None
        for record in _files(source, view, limits)
        if record.size and record.block * block_bytes not in known
    }


def _files(source: ByteSource, view: View, limits: Limits) -> Iterator[Record]:
    """Yield the records of all files; of those with several extents, one for each."""
    pending = [view.volume.root_offset]
    seen: set[int] = set()
    folder_bytes = count = 0
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        size = first_record(source, place).size
        folder_bytes += size
        if folder_bytes > source.size:
            raise CorruptError("its folders are larger than the image", origin=source.origin)
        for record in read_records(source, place, size):
            if record.name in records.OWN_NAMES:
                continue
            count += 1
            if count > limits.entries:
                raise LimitError(f"has more than {limits.entries:,} files", origin=source.origin)
            if record.flags & records.FOLDER:
                pending.append(record.block * view.volume.block_bytes)
            else:
                yield record
