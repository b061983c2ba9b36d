"""What follows a name in a directory record: SUSP entries, and those of Rock Ridge.

Specification: IEEE P1281 "System Use Sharing Protocol" 1.12, IEEE P1282 "Rock Ridge Interchange
Protocol" 1.12, "Description of the zisofs2 Format" and "Arbitrary Attribute Interchange Protocol"
2.0 of libburnia. Entries of other protocols are skipped, as SUSP asks of a reader.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.filesystems.iso.times import LONG_BYTES, SHORT_BYTES, long_time, short_time

HEADER_BYTES = 4
MOST_CONTINUATIONS = 32
CONTINUATION_BYTES = 1 << 16
"""Longer than any that a writer makes: they chain areas of one block."""

# A number is recorded twice, little-endian and big-endian; the first is read.
_PX = struct.Struct("<I4xI4xI4xI4x")
_PX_SERIAL = struct.Struct("<I4x")
_PAIR = struct.Struct("<I4xI4x")
_PLACE = struct.Struct("<I4x")
_CE = struct.Struct("<I4xI4xI4x")
_ZF = struct.Struct("<2sBB")
_SIZE_32 = struct.Struct("<I4x")
_SIZE_64 = struct.Struct("<Q")

_CURRENT = 2
_PARENT = 4
_TF_MODIFY = 2
_TF_BEFORE_MODIFY = 1
_TF_LONG = 0x80


@dataclass(frozen=True, slots=True)
class Zisofs:
    """That a file is compressed, and how (entry ZF or Z2).

    :ivar algorithm: ``pz`` is zisofs; the ones in capitals are of its second version.
    :ivar size: of the content.
    """

    algorithm: bytes
    header_bytes: int
    block_log: int
    size: int


@dataclass(slots=True)
class SystemUse:
    """What the entries of one directory record say; None where there is no such entry.

    :ivar mode: with the bits for the type, as in ``st_mode``.
    :ivar serial: number of the file, equal for all its names; in Rock Ridge 1.12 and later.
    :ivar relocated_to: first block of the folder that is meant, which lies elsewhere (CL).
    :ivar is_relocated: a folder that has its place elsewhere in the tree (RE).
    :ivar target_area: component records of all SL entries; see :mod:`.components`.
    :ivar attribute_parts: the same of each AL entry; there may be very many.
    :ivar extensions: what the ER entries announce.
    """

    mode: int | None = None
    links: int = 1
    uid: int = 0
    gid: int = 0
    serial: int | None = None
    name: bytes | None = None
    mtime_ns: int | None = None
    device: tuple[int, int] | None = None
    relocated_to: int | None = None
    is_relocated: bool = False
    is_sparse: bool = False
    zisofs: Zisofs | None = None
    target_area: bytes = b""
    attribute_parts: list[bytes] | None = None
    extensions: list[bytes] = field(default_factory=list)


class SystemUseReader:
    """Reads the system use fields of a volume.

    :ivar continued_bytes: how much was read of continuations so far.
    :param continuation: returns what is at a block, an offset in it, and of a length.
    :param skip: bytes before the first entry in every record but the root's first (SP).
    """

    def __init__(
        self,
        origin: Origin,
        continuation: Callable[[int, int, int], bytes],
        skip: int,
    ) -> None:
        self._origin = origin
        self._continuation = continuation
        self._skip = skip
        self.continued_bytes = 0

    def read(self, area: bytes, offset: int, *, is_first: bool = False) -> SystemUse:
        """Return what a record's entries say.

        :param offset: of the record, for messages.
        :param is_first: for the first record of the root folder, which has no bytes to skip.
        :raises CorruptError: if they are damaged, or continued without end.
        """
        use = SystemUse()
        skip = 0 if is_first else self._skip
        try:
            for signature, body in self._entries(area[skip:], offset):
                handler = _HANDLERS.get(signature)
                if handler is not None:
                    handler(use, body)
        except struct.error as error:
            raise CorruptError(
                "an entry of its system use field is too short", origin=self._origin, offset=offset
            ) from error
        except CorruptError as error:
            if error.offset is None:
                error.offset = offset
            raise error.at(self._origin) from None
        return use

    def _entries(self, area: bytes, offset: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield signature and body of every entry, through all continuations."""
        for _ in range(MOST_CONTINUATIONS + 1):
            following = b""
            position, end = 0, len(area)
            while position + HEADER_BYTES <= end:
                length = area[position + 2]
                if length < HEADER_BYTES or position + length > end:
                    if not any(area[position:]):  # padding
                        break
                    raise CorruptError(f"an entry of its system use field claims {length} bytes")
                signature = area[position : position + 2]
                if signature == b"ST":
                    break
                body = area[position + HEADER_BYTES : position + length]
                if signature == b"CE":
                    following = body
                else:
                    yield signature, body
                position += length
            if not following:
                return
            block, start, length = _CE.unpack(following)
            if length > CONTINUATION_BYTES:
                raise CorruptError(f"its system use field goes on for {length:,} bytes")
            self.continued_bytes += length
            area = self._continuation(block, start, length)
        raise CorruptError(
            f"its system use field is continued more than {MOST_CONTINUATIONS} times",
            offset=offset,
        )


def _posix(use: SystemUse, body: bytes) -> None:
    use.mode, use.links, use.uid, use.gid = _PX.unpack_from(body)
    if len(body) >= _PX.size + _PX_SERIAL.size:
        (use.serial,) = _PX_SERIAL.unpack_from(body, _PX.size)


def _device(use: SystemUse, body: bytes) -> None:
    """Take device numbers: major and minor one, or both in the lower half as Linux has them.

    The standard asks for the halves of a ``dev_t``; without an upper half that is what it is.
    """
    high, low = _PAIR.unpack_from(body)
    if not high:
        high, low = low >> 8 & 0xFFF, low & 0xFF | low >> 12 & 0xFFF00
    use.device = (high, low)


def _name(use: SystemUse, body: bytes) -> None:
    if not body:
        raise CorruptError("an entry of its name is empty")
    if body[0] & (_CURRENT | _PARENT):  # of the records for the folder itself and its parent
        return
    use.name = (use.name or b"") + body[1:]


def _symlink(use: SystemUse, body: bytes) -> None:
    use.target_area += body[1:]


def _times(use: SystemUse, body: bytes) -> None:
    flags = body[0] if body else 0
    if not flags & _TF_MODIFY:
        return
    size = LONG_BYTES if flags & _TF_LONG else SHORT_BYTES
    start = 1 + (size if flags & _TF_BEFORE_MODIFY else 0)
    data = body[start : start + size]
    if len(data) < size:
        raise CorruptError("an entry with its times is too short")
    use.mtime_ns = long_time(data) if flags & _TF_LONG else short_time(data)


def _child(use: SystemUse, body: bytes) -> None:
    (use.relocated_to,) = _PLACE.unpack_from(body)


def _relocated(use: SystemUse, body: bytes) -> None:
    del body
    use.is_relocated = True


def _sparse(use: SystemUse, body: bytes) -> None:
    del body
    use.is_sparse = True


def _zisofs(use: SystemUse, body: bytes) -> None:
    algorithm, words, block_log = _ZF.unpack_from(body)
    sizes = _SIZE_32 if algorithm == b"pz" else _SIZE_64
    (size,) = sizes.unpack_from(body, _ZF.size)
    use.zisofs = Zisofs(algorithm, words * 4, block_log, size)


def _attributes(use: SystemUse, body: bytes) -> None:
    if use.attribute_parts is None:
        use.attribute_parts = []
    use.attribute_parts.append(body[1:])


def _extension(use: SystemUse, body: bytes) -> None:
    use.extensions.append(body[4 : 4 + body[0]] if body else b"")


_HANDLERS: dict[bytes, Callable[[SystemUse, bytes], None]] = {
    b"AL": _attributes,
    b"CL": _child,
    b"ER": _extension,
    b"NM": _name,
    b"PN": _device,
    b"PX": _posix,
    b"RE": _relocated,
    b"SF": _sparse,
    b"SL": _symlink,
    b"TF": _times,
    b"Z2": _zisofs,
    b"ZF": _zisofs,
}
"""SUSP and Rock Ridge entries that say something of a file; PL, PD, RR, ES and SP do not."""
