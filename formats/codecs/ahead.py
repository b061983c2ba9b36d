"""Units decoded once, kept for a while, and decoded ahead of the reader in threads.

A *unit* is what has to be decoded as a whole: a compressed cluster, grain or block.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Generic, TypeVar

from formats.core.errors import ConvertError
from formats.core.source import BytesLike

Unit = TypeVar("Unit", bound=Hashable)
"""What names a unit: a number, or its place."""

_MAX_THREADS = 4
_AHEAD_BYTES = 8 << 20
"""How much is decoded before it is read; more only pushes the data out of the processor's cache."""
_BATCH_BYTES = 512 << 10
"""How much one thread decodes at a time: for each batch, threads wait for one another once."""
_BATCHES_AHEAD = 8
"""So many batches fit into it at the least: threads work on some while others are read."""


class UnitCache(Generic[Unit]):
    """The units decoded last, up to ``capacity_bytes``, and the threads that decode ahead.

    No unit is decoded twice at a time: who asks for one that is being decoded waits for it. An
    error while decoding ahead is forgotten; it comes again, with its place, when the unit is read.
    Threads start at the first hint and end with :meth:`close`.

    :param decode: returns a unit's content; raises :class:`ConvertError`.
    :param unit_bytes: size of the largest unit.
    :param threads: how many decode ahead; None: as many as there are processors for.
    """

    def __init__(
        self,
        decode: Callable[[Unit], BytesLike],
        *,
        unit_bytes: int,
        capacity_bytes: int,
        threads: int | None = None,
    ) -> None:
        self._decode = decode
        self._capacity = max(capacity_bytes, unit_bytes)
        self._unit_bytes = unit_bytes
        self._thread_count = threads
        self._units: OrderedDict[Unit, BytesLike] = OrderedDict()
        self._bytes = 0
        self._in_flight: set[Unit] = set()
        self._unread: OrderedDict[Unit, None] = OrderedDict()
        """decoded ahead, still in the cache, not asked for yet; in the order of decoding."""
        self._ahead_units = min(self._capacity // 2, _AHEAD_BYTES) // unit_bytes
        self._batch_units = max(
            1, min(_BATCH_BYTES // unit_bytes, self._ahead_units // _BATCHES_AHEAD)
        )
        self._hints: deque[Iterator[Unit]] = deque()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._lock = threading.Lock()
        self._decoded = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._hint_lock = threading.Lock()

    def get(self, unit: Unit) -> BytesLike:
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
                self._offer_work()
            self._in_flight.add(unit)
        decoded: dict[Unit, BytesLike] = {}
        try:
            data = decoded[unit] = self._decode(unit)
        finally:
            self._publish([unit], decoded, is_ahead=False)
        return data

    def _count_as_read(self, unit: Unit) -> None:
        """Make room for decoding ahead; what was decoded before ``unit`` has been skipped."""
        while self._unread.popitem(last=False)[0] != unit:
            pass
        self._offer_work()

    def will_need(self, units: Iterable[Unit], *, urgent: bool = False) -> None:
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
                    for _ in range(self._thread_count or thread_count())
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

    def _publish(
        self, units: Iterable[Unit], decoded: Mapping[Unit, BytesLike], *, is_ahead: bool
    ) -> None:
        """Put what was decoded into the cache; ``units`` are no longer in flight."""
        with self._lock:
            self._in_flight.difference_update(units)
            for unit, data in decoded.items():
                self._units[unit] = data
                self._bytes += len(data)
                if is_ahead:
                    self._unread[unit] = None
            while self._bytes > self._capacity and len(self._units) > 1:
                oldest, dropped = self._units.popitem(last=False)
                self._bytes -= len(dropped)
                self._unread.pop(oldest, None)
            self._decoded.notify_all()
            self._offer_work()

    def _run(self) -> None:
        """Decode ahead until closed; the life of one thread."""
        while self._wait_for_work():
            units = self._next_units()
            decoded: dict[Unit, BytesLike] = {}
            try:
                for unit in units:
                    # whoever reads a damaged unit gets the error, with its place
                    with suppress(ConvertError, MemoryError):
                        decoded[unit] = self._decode(unit)
            finally:
                self._publish(units, decoded, is_ahead=True)

    def _has_work(self) -> bool:
        """Tell whether there is something to decode and room for it; with the lock held."""
        ahead = len(self._unread) + len(self._in_flight)
        return bool(self._hints) and ahead + self._batch_units <= self._ahead_units

    def _offer_work(self) -> None:
        """Wake a thread if there is work for it; with the lock held."""
        if self._has_work():
            self._work.notify()

    def _wait_for_work(self) -> bool:
        """Wait until there is work; False once closed."""
        with self._lock:
            while not self._is_closed:
                if self._has_work():
                    return True
                self._work.wait()
        return False

    def _next_units(self) -> list[Unit]:
        """Take a batch from the first hint and put it in flight, without what is there already.

        The hint is dropped if it has no more.
        """
        with self._hint_lock:
            try:
                hint = self._hints[0]
            except IndexError:
                return []
            try:
                units = list(islice(hint, self._batch_units))
            except ConvertError:
                units = []
            with self._lock:
                if len(units) < self._batch_units and hint in self._hints:
                    self._hints.remove(hint)
                if self._is_closed:
                    return []
                units = [
                    unit
                    for unit in dict.fromkeys(units)
                    if unit not in self._units and unit not in self._in_flight
                ]
                self._in_flight.update(units)
                return units


def thread_count() -> int:
    """Return how many threads may decode: one for each processor of this process, four at most."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        available = os.cpu_count() or 1
    return min(available, _MAX_THREADS)
