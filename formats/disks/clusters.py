"""Disks made of clusters: decoded once, kept for a while, decoded ahead of the reader.

A disk format brings a :class:`ClusterMap`, which says where a range of the guest's disk is; the
rest is here and the same for all formats::

    read ─► ClusterMap.runs ─┬► zeros
                             ├► a run of plain bytes ─► source underneath, in one read
                             └► a piece of a unit ─► UnitCache ─► ClusterMap.decode
    hint ─► ClusterMap.runs ─┬► source underneath (will_need)
                             └► UnitCache.will_need ─► threads ─► ClusterMap.decode

A *unit* is what has to be decoded as a whole: a compressed cluster or grain.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from formats.core.errors import ConvertError
from formats.core.origin import Origin
from formats.core.source import BytesLike, ByteSource, Extent, zeros

_MAX_THREADS = 4
_AHEAD_BYTES = 8 << 20
"""How much is decoded before it is read; more only pushes the data out of the processor's cache."""

_URGENT_UNITS = 3
"""A single read of this many units is worth the handing over to threads."""

_SCAN_BYTES = 64 << 20
"""Step of walking a whole disk; the runs of one step are in memory at once, and extents of data do
not grow far beyond it, so that who looks for data need not wait for the end of it."""


class Run(NamedTuple):
    """A piece of the guest's disk that comes from one place.

    :ivar length: bytes.
    :ivar source: where plain bytes are; None for zeros and units.
    :ivar offset: where the piece starts in ``source`` or in the decoded unit.
    :ivar unit: number of the unit to decode, -1 if there is nothing to decode.
    """

    length: int
    source: ByteSource | None = None
    offset: int = 0
    unit: int = -1


class ClusterMap(Protocol):
    """What a disk format knows. All methods are called from several threads at once."""

    @property
    def size(self) -> int:
        """Bytes of the guest's disk."""
        ...

    @property
    def backing(self) -> ByteSource | None:
        """The disk below, whose bytes appear at the same offset; None if there is none."""
        ...

    def runs(self, offset: int, length: int) -> Sequence[Run]:
        """Return what makes up a range that lies inside the disk, in order.

        Adjoining plain bytes are one run, also over many clusters.

        :raises CorruptError: if the tables are damaged there.
        """
        ...

    def decode(self, unit: int) -> BytesLike:
        """Return the whole content of a unit, by a number that came from :meth:`runs`.

        :raises ConvertError: if it cannot be decoded.
        """
        ...


class UnitCache:
    """The units decoded last, up to ``capacity_bytes``, and the threads that decode ahead.

    No unit is decoded twice at a time: who asks for one that is being decoded waits for it. An
    error while decoding ahead is forgotten; it comes again, with its place, when the unit is read.
    Threads start at the first hint and end with :meth:`close`.

    :param decode: returns a unit's content; raises :class:`ConvertError`.
    :param unit_bytes: size of the largest unit.
    """

    def __init__(
        self, decode: Callable[[int], BytesLike], *, unit_bytes: int, capacity_bytes: int
    ) -> None:
        self._decode = decode
        self._capacity = max(capacity_bytes, unit_bytes)
        self._unit_bytes = unit_bytes
        self._units: OrderedDict[int, BytesLike] = OrderedDict()
        self._bytes = 0
        self._in_flight: set[int] = set()
        self._unread: OrderedDict[int, None] = OrderedDict()
        """decoded ahead, still in the cache, not asked for yet; in the order of decoding."""
        self._ahead_units = min(self._capacity // 2, _AHEAD_BYTES) // unit_bytes
        self._hints: deque[Iterator[int]] = deque()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._lock = threading.Lock()
        self._decoded = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._hint_lock = threading.Lock()

    def get(self, unit: int) -> BytesLike:
        """Return a unit's content, decoded now if need be."""
        with self._lock:
            while True:
                data = self._units.get(unit)
                if data is not None:
                    self._units.move_to_end(unit)
                    if unit in self._unread:
                        self._count_as_read(unit)
                    return data
                if unit not in self._in_flight:
                    break
                self._decoded.wait()
            if self._unread:
                # The reader is elsewhere: one more may be decoded for each that it had to
                # decode itself, so that stale hints neither stop later ones nor cost more.
                self._unread.popitem(last=False)
                self._work.notify()
            self._in_flight.add(unit)
        return self._fill(unit, is_ahead=False)

    def _count_as_read(self, unit: int) -> None:
        """Make room for decoding ahead; what was decoded before ``unit`` has been skipped."""
        oldest = -1
        while oldest != unit:
            oldest, _ = self._unread.popitem(last=False)
        self._work.notify()

    def will_need(self, units: Iterable[int], *, urgent: bool = False) -> None:
        """Decode ``units`` in their order, in threads, as far as they fit.

        :param units: taken one by one when it is their turn, in another thread, so that a hint of
            any length costs no memory. A :class:`ConvertError` ends it silently.
        :param urgent: before all other hints: the caller is about to read them.
        """
        if self._ahead_units == 0:
            return
        hint = iter(units)
        with self._lock:
            if self._is_closed:
                return
            if urgent:
                self._hints.appendleft(hint)
            else:
                self._hints.append(hint)
            self._work.notify_all()
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._run, name="decode-ahead", daemon=True)
                    for _ in range(thread_count())
                ]
                for thread in self._threads:
                    thread.start()

    def close(self) -> None:
        """End the threads and forget everything; reading still works, one unit at a time."""
        with self._lock:
            self._is_closed = True
            self._hints.clear()
            self._work.notify_all()
            threads, self._threads = self._threads, []
        for thread in threads:
            if thread.is_alive():  # an interrupt may have come before it was started
                thread.join()
        with self._lock:
            self._units.clear()
            self._unread.clear()
            self._bytes = 0

    def _fill(self, unit: int, *, is_ahead: bool) -> BytesLike:
        """Decode a unit that the caller has put in flight."""
        try:
            data = self._decode(unit)
        except BaseException:
            with self._lock:
                self._in_flight.remove(unit)
                self._decoded.notify_all()
            raise
        with self._lock:
            self._in_flight.remove(unit)
            self._units[unit] = data
            self._bytes += len(data)
            if is_ahead:
                self._unread[unit] = None
            while self._bytes > self._capacity and len(self._units) > 1:
                oldest, dropped = self._units.popitem(last=False)
                self._bytes -= len(dropped)
                self._unread.pop(oldest, None)
            self._decoded.notify_all()
        return data

    def _run(self) -> None:
        """Decode ahead until closed; the life of one thread."""
        while self._wait_for_work():
            unit = self._next_hint()
            if unit is None:
                continue
            with self._lock:
                if self._is_closed or unit in self._units or unit in self._in_flight:
                    continue
                self._in_flight.add(unit)
            try:
                self._fill(unit, is_ahead=True)
            except (ConvertError, MemoryError):
                continue  # whoever reads the unit gets the error, with its place

    def _wait_for_work(self) -> bool:
        """Wait until there is something to decode and room for it; False once closed."""
        with self._lock:
            while not self._is_closed:
                if self._hints and len(self._unread) + len(self._in_flight) < self._ahead_units:
                    return True
                self._work.wait()
        return False

    def _next_hint(self) -> int | None:
        """Take the next unit of the first hint, and drop the hint if it has no more."""
        with self._hint_lock:
            try:
                hint = self._hints[0]
            except IndexError:
                return None
            try:
                unit = next(hint, None)
            except ConvertError:
                unit = None
            if unit is None:
                with self._lock:
                    if hint in self._hints:
                        self._hints.remove(hint)
            return unit


def thread_count() -> int:
    """Return how many threads may decode: one for each processor of this process, four at most."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        available = os.cpu_count() or 1
    return min(available, _MAX_THREADS)


class ClusterSource:
    """A disk made of clusters, as a :class:`~formats.core.source.ByteSource`.

    :param unit_bytes: size of the largest unit.
    :param cache_bytes: what decoded units may take, as in ``limits.cache_bytes``.
    """

    def __init__(
        self, clusters: ClusterMap, origin: Origin, *, unit_bytes: int, cache_bytes: int
    ) -> None:
        self.size = clusters.size
        self.origin = origin
        self._map = clusters
        self._cache = UnitCache(clusters.decode, unit_bytes=unit_bytes, capacity_bytes=cache_bytes)

    def read_at(self, offset: int, length: int) -> BytesLike:
        """See :meth:`ByteSource.read_at`."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        runs = self._map.runs(offset, length)
        if len(runs) == 1:  # nearly every read: one piece, no copy
            return self._piece(runs[0])
        if len(runs) >= _URGENT_UNITS:
            units = [run.unit for run in runs if run.unit >= 0]
            if len(units) >= _URGENT_UNITS:
                self._cache.will_need(units[1:], urgent=True)
        return b"".join([self._piece(run) for run in runs])

    def _piece(self, run: Run) -> BytesLike:
        if run.source is not None:
            return run.source.read_at(run.offset, run.length)
        if run.unit < 0:
            return zeros(run.length)
        data = self._cache.get(run.unit)
        if run.length == len(data):
            return data
        return memoryview(data)[run.offset : run.offset + run.length]

    def extents(self) -> Iterator[Extent]:
        """Yield data and holes as the format's tables have them, and the backing disk's below."""
        pending: Extent | None = None
        for extent in self._raw_extents():
            if pending is None:
                pending = extent
            elif pending.is_hole == extent.is_hole and (
                pending.is_hole or pending.length < _SCAN_BYTES
            ):
                pending = Extent(pending.offset, pending.length + extent.length, extent.is_hole)
            else:
                yield pending
                pending = extent
        if pending is not None:
            yield pending

    def _raw_extents(self) -> Iterator[Extent]:
        """Yield extents that adjoin, alike ones not yet joined."""
        backing = self._map.backing
        below = _ExtentWindow(backing) if backing is not None else None
        position = 0
        while position < self.size:
            step = min(_SCAN_BYTES, self.size - position)
            for run in self._map.runs(position, step):
                if below is not None and run.source is backing:
                    yield from below.between(run.offset, run.offset + run.length)
                else:
                    is_hole = run.source is None and run.unit < 0
                    yield Extent(position, run.length, is_hole)
                position += run.length

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Decode ahead what is compressed there, and pass the hint on for what is not."""
        self._cache.will_need(self._hinted_units(tuple(ranges)))

    def _hinted_units(self, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
        for offset, length in ranges:
            stop = min(offset + length, self.size)
            position = offset
            while position < stop:
                step = min(_SCAN_BYTES, stop - position)
                for run in self._map.runs(position, step):
                    if run.source is not None:
                        run.source.will_need([(run.offset, run.length)])
                    elif run.unit >= 0:
                        yield run.unit
                position += step

    def close(self) -> None:
        """End the threads; to be given to ``context.on_close``."""
        self._cache.close()


class _ExtentWindow:
    """A source's extents, cut to windows that are asked for from front to back."""

    def __init__(self, source: ByteSource) -> None:
        self._extents = source.extents()
        self._current: Extent | None = next(self._extents, None)

    def between(self, start: int, stop: int) -> Iterator[Extent]:
        """Yield the extents from ``start`` to ``stop``; neither may be less than before."""
        while self._current is not None and start < stop:
            end = self._current.offset + self._current.length
            if end > start:
                length = min(end, stop) - start
                yield Extent(start, length, self._current.is_hole)
                start += length
            if end <= start:
                self._current = next(self._extents, None)
