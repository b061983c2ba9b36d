"""On which member and in which row each chunk lies, for the levels 4, 5, 6 and 10.

A *row* is one chunk on every member. Names and numbers of the layouts are those of ``mdadm
--layout`` and of the field in md's superblock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Place: TypeAlias = tuple[int, int]
"""Member and row."""

Placement: TypeAlias = Callable[[int], tuple[Place, ...]]
"""From a chunk's number to its copies."""

_DataMember: TypeAlias = Callable[[int, int, int], int]
"""From a row, the number of a data chunk in it, and the number of members, to a member."""


@dataclass(frozen=True, slots=True)
class ParityLayout:
    """A layout with parity.

    :ivar name: in mdadm's words.
    :ivar parity: members that hold no data in each row.
    """

    name: str
    parity: int
    member: _DataMember

    def placement(self, members: int) -> Placement:
        """Return where chunks lie on so many members."""
        data = members - self.parity

        def place(chunk: int) -> tuple[Place, ...]:
            row, index = divmod(chunk, data)
            return ((self.member(row, index, members), row),)

        return place


def _left(row: int, members: int) -> int:
    """Return the member that parity is on when it moves down from the last one."""
    return members - 1 - row % members


def _right(row: int, members: int) -> int:
    return row % members


def _asymmetric(parity: Callable[[int, int], int]) -> _DataMember:
    """Data fills the members that parity leaves, from the first one."""

    def member(row: int, index: int, members: int) -> int:
        return index + (index >= parity(row, members))

    return member


def _symmetric(parity: Callable[[int, int], int]) -> _DataMember:
    """Data starts behind parity and goes round."""

    def member(row: int, index: int, members: int) -> int:
        return (parity(row, members) + 1 + index) % members

    return member


def _asymmetric6(parity: Callable[[int, int], int]) -> _DataMember:
    """Q is behind P; where P is last, Q is first."""

    def member(row: int, index: int, members: int) -> int:
        p = parity(row, members)
        if p == members - 1:
            return index + 1
        return index + 2 * (index >= p)

    return member


def _symmetric6(parity: Callable[[int, int], int]) -> _DataMember:
    def member(row: int, index: int, members: int) -> int:
        return (parity(row, members) + 2 + index) % members

    return member


def _with_last(inner: _DataMember) -> _DataMember:
    """A layout of RAID 5 with Q on one more member, as a RAID 5 that became a RAID 6 has it."""

    def member(row: int, index: int, members: int) -> int:
        return inner(row, index, members - 1)

    return member


def _first(count: int) -> _DataMember:
    """Parity on the first members."""
    return lambda _row, index, _members: index + count


_la, _ra, _ls, _rs = _asymmetric(_left), _asymmetric(_right), _symmetric(_left), _symmetric(_right)

RAID4 = ParityLayout("parity-last", 1, _first(0))

RAID5: Mapping[int, ParityLayout] = {
    0: ParityLayout("left-asymmetric", 1, _la),
    1: ParityLayout("right-asymmetric", 1, _ra),
    2: ParityLayout("left-symmetric", 1, _ls),
    3: ParityLayout("right-symmetric", 1, _rs),
    4: ParityLayout("parity-first", 1, _first(1)),
    5: ParityLayout("parity-last", 1, _first(0)),
}

RAID6: Mapping[int, ParityLayout] = {
    0: ParityLayout("left-asymmetric", 2, _asymmetric6(_left)),
    1: ParityLayout("right-asymmetric", 2, _asymmetric6(_right)),
    2: ParityLayout("left-symmetric", 2, _symmetric6(_left)),
    3: ParityLayout("right-symmetric", 2, _symmetric6(_right)),
    4: ParityLayout("parity-first", 2, _first(2)),
    5: ParityLayout("parity-last", 2, _first(0)),
    8: ParityLayout("ddf-zero-restart", 2, _asymmetric6(_right)),
    9: ParityLayout("ddf-N-restart", 2, _asymmetric6(lambda row, n: _left(row + 1, n))),
    10: ParityLayout("ddf-N-continue", 2, _symmetric(_left)),
    16: ParityLayout("left-asymmetric-6", 2, _with_last(_la)),
    17: ParityLayout("right-asymmetric-6", 2, _with_last(_ra)),
    18: ParityLayout("left-symmetric-6", 2, _with_last(_ls)),
    19: ParityLayout("right-symmetric-6", 2, _with_last(_rs)),
    20: ParityLayout("parity-first-6", 2, _with_last(_first(1))),
}


@dataclass(frozen=True, slots=True)
class Raid10Layout:
    """Copies of each chunk: ``near`` ones beside each other, ``far`` ones in other rows.

    :ivar is_offset: far copies are in the next row; otherwise in another part of the members.
    :ivar has_sets: far copies go round in sets of members. Where the copies after the first lie is
        then not known here.
    """

    near: int
    far: int
    is_offset: bool
    has_sets: bool

    @property
    def copies(self) -> int:
        """How many there are of each chunk."""
        return self.near * self.far

    def chunks(self, member_chunks: int, members: int) -> int:
        """Return how many chunks a volume has."""
        return member_chunks // self.far * members // self.near

    def placement(self, member_chunks: int, members: int) -> Placement:
        """Return where chunks lie; the first of the copies first."""
        far_rows = member_chunks // self.far
        far_copies = 1 if self.has_sets else self.far

        def place(chunk: int) -> tuple[Place, ...]:
            places: list[Place] = []
            for copy in range(self.near):
                row, member = divmod(chunk * self.near + copy, members)
                if self.is_offset:
                    row *= self.far
                step = 1 if self.is_offset else far_rows
                places += [
                    ((member + far * self.near) % members, row + far * step)
                    for far in range(far_copies)
                ]
            return tuple(places)

        return place


def raid10_layout(number: int) -> Raid10Layout | None:
    """Return the layout of a number in md's superblock; None if it is none."""
    near, far = number & 0xFF, number >> 8 & 0xFF
    if not near or not far or number >> 19:
        return None
    return Raid10Layout(near, far, bool(number & 1 << 16), bool(number & 3 << 17))
