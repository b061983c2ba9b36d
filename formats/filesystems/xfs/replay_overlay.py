"""What replaying the log writes: blocks in memory that lie over the volume."""

from __future__ import annotations

from array import array
from typing import TypeAlias

from formats.core.errors import CorruptError
from formats.core.source import BytesLike, ByteSource, read_exact
from formats.filesystems.replay_source import ReplayedSource
from formats.filesystems.xfs.log_record import too_much_memory

Data: TypeAlias = BytesLike | bytearray


class Overlay:
    """The volume, writable in memory.

    :param most_bytes: how much of it may be written to.
    """

    def __init__(self, source: ByteSource, block_bytes: int, most_bytes: int) -> None:
        self.origin = source.origin
        self._source = source
        self._block_bytes = block_bytes
        self._most_bytes = most_bytes
        self._places: dict[int, int] = {}
        self._content = bytearray()
        self._reserved_bytes = 0

    @property
    def blocks(self) -> int:
        """How many blocks were written to."""
        return len(self._places)

    def read(self, offset: int, length: int) -> bytearray:
        """Return ``length`` bytes as they are now.

        :raises CorruptError: if they are not on the volume.
        """
        size = self._block_bytes
        block, skip = divmod(offset, size)
        place = self._places.get(block)
        if place is not None and skip + length <= size:  # nearly every inode
            return self._content[place + skip : place + skip + length]
        data = bytearray(read_exact(self._source, offset, length, "metadata in the log"))
        for block in range(offset // size, -(-(offset + length) // size)):
            place = self._places.get(block)
            if place is not None:
                start, end = max(block * size, offset), min((block + 1) * size, offset + length)
                inside = place + start - block * size
                data[start - offset : end - offset] = self._content[inside : inside + end - start]
        return data

    def write(self, offset: int, data: Data) -> None:
        """Write bytes.

        :raises CorruptError: if they are not all on the volume.
        :raises LimitError: if more was written than is allowed.
        """
        end = offset + len(data)
        if offset < 0 or end > self._source.size:
            raise CorruptError(
                "the log has changes of what lies outside of the volume",
                origin=self.origin,
                offset=offset,
            )
        size = self._block_bytes
        while offset < end:
            block, skip = divmod(offset, size)
            count = min(size - skip, end - offset)
            place = self._place(block) + skip
            self._content[place : place + count] = data[:count]
            data = data[count:]
            offset += count

    def _place(self, block: int) -> int:
        """Return where in the content a block is, which it is from now on."""
        place = self._places.get(block)
        if place is None:
            self.require(self._block_bytes)
            place = self._places[block] = len(self._content)
            # The volume may end inside of its last block.
            old = self._source.read_at(block * self._block_bytes, self._block_bytes)
            self._content += old
            self._content += bytes(self._block_bytes - len(old))
        return place

    def reserve(self, more_bytes: int) -> None:
        """Let what replaying has to remember beside blocks count as well; negative: no more.

        :raises LimitError: if that is too much.
        """
        self._reserved_bytes += more_bytes
        self.require(0)

    def require(self, more_bytes: int) -> None:
        """Make sure that some more memory may be used.

        :raises LimitError: if not.
        """
        if len(self._content) + self._reserved_bytes + more_bytes > self._most_bytes:
            raise too_much_memory(self.origin, self._most_bytes)

    def over(self) -> ByteSource:
        """Return the volume as it is now; nothing may be written any more."""
        if not self._places:
            return self._source
        numbers = array("Q", sorted(self._places))
        places = array("Q", (self._source.size + self._places[number] for number in numbers))
        content = memoryview(self._content).toreadonly()
        return ReplayedSource(self._source, self._block_bytes, numbers, places, content)
