"""Files that were cut into numbered parts: ``disk.raw.000``, ``disk.raw.001``, …

Imaging programs, ``split -d -a 3`` and file hosts with a size limit make them. One after the other
the parts are the file again, whatever it is: a raw disk, a qcow2, something compressed. There is no
format in this and no document, so this reader alone goes by names: a number of three digits at the
end, from 000 or 001 on. What the parts make together is found out from its bytes like any other
file, and a lone file with such a name is read as what it is.

All parts but the last are of one size, and the last is no larger; that and the numbers tell when
one is missing or was cut short. Whether the last one is missing cannot be told here.

Not supported: parts with letters (``.aa``), and numbers of more or fewer digits.
"""

from __future__ import annotations

import re

from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.reader import (
    Category,
    OpenContext,
    ReaderDoc,
    Siblings,
    Signature,
    Volume,
    Volumes,
)
from formats.core.registry import SUPERSEDES_ALL
from formats.core.source import ByteSource, MappedSource, Segment

_NAME = re.compile(r"(?P<stem>.+)\.(?P<number>[0-9]{3})", re.DOTALL)
_FIRST_NUMBERS = (0, 1)
_NUMBERS = 1000


class SplitReader:
    """The reader "split"; see :class:`~formats.core.reader.Reader`."""

    name = "split"
    category = Category.DISK
    signatures: tuple[Signature, ...] = ()
    # The first part starts as the whole file does, and the last part ends as it does.
    supersedes = frozenset({SUPERSEDES_ALL})
    doc = ReaderDoc(
        title="file in numbered parts",
        extensions=(".000", ".001"),
        reads="the parts of any file that is read, joined in the order of their numbers",
        refuses="parts that are not the first, sets with a part missing or cut short",
    )

    def probe(self, source: ByteSource) -> bool:
        """Tell whether it is a file that the user named, with a number at the end of its name.

        Volumes inside of others may have such names too, and are no parts of anything.
        """
        parts = source.origin.parts
        return len(parts) == 1 and _NAME.fullmatch(parts[0]) is not None

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Join the parts.

        :raises UnsupportedError: if it is not the first part.
        :raises CorruptError: if a part is missing or of another size than the others.
        """
        stem, _, digits = source.origin.parts[-1].rpartition(".")
        number = int(digits)
        parts = [source]
        if _is_first(stem, number, context.siblings, source):
            names = _later_names(stem, number, context.siblings, source)
            parts += [context.siblings.open(name, source.origin) for name in names]
        _check_sizes(parts)
        segments = []
        position = 0
        for part in parts:
            segments.append(Segment(position, part.size, part))
            position += part.size
        joined = MappedSource(segments, source.origin.child(stem))
        volume = Volume(joined, stem, siblings=context.siblings)
        return Volumes((volume,), {"parts": f"{len(parts):,}"})


def _part_name(stem: str, number: int) -> str:
    return f"{stem}.{number:03}"


def _is_first(stem: str, number: int, siblings: Siblings, source: ByteSource) -> bool:
    """Tell whether it is the first part of a set; False if it is of no set.

    :raises UnsupportedError: if another one is the first.
    :raises CorruptError: if the first one is missing.
    """
    for first in _FIRST_NUMBERS:
        if first == number:
            return True
        if siblings.exists(_part_name(stem, first)):
            raise UnsupportedError(
                f"is part {number - first + 1:,} of a file in parts",
                origin=source.origin,
                hint=f"name its first part, {quoted(_part_name(stem, first))}; the others follow",
            )
    neighbours = (_part_name(stem, number - 1), _part_name(stem, number + 1))
    if any(siblings.exists(name) for name in neighbours):
        names = " or ".join(quoted(_part_name(stem, first)) for first in _FIRST_NUMBERS)
        raise CorruptError(
            f"is part of a file in parts whose first, {names}, is missing",
            origin=source.origin,
            hint="put all parts into one folder; rename it if it is a file of its own",
        )
    return False


def _later_names(stem: str, first: int, siblings: Siblings, source: ByteSource) -> list[str]:
    """Return the names of the parts behind the first.

    :raises CorruptError: if a part is missing between others.
    """
    names = [_part_name(stem, number) for number in range(first + 1, _NUMBERS)]
    there = [siblings.exists(name) for name in names]
    count = there.index(False) if False in there else len(names)
    if any(there[count:]):
        raise CorruptError(
            f"is a file in parts, and {quoted(names[count])} is missing",
            origin=source.origin,
            hint="put all parts into one folder",
        )
    return names[:count]


def _check_sizes(parts: list[ByteSource]) -> None:
    usual = parts[0].size
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part.size > usual or (part.size < usual and not is_last):
            raise CorruptError(
                f"has {part.size:,} bytes, and the parts before it {usual:,}",
                origin=part.origin,
                hint="only the last part may be smaller: compare their sizes with the originals",
            )


READER = SplitReader()
