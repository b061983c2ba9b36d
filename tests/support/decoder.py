"""A decoder of units that tests can watch and hold."""

from __future__ import annotations

import threading
from collections.abc import Callable

from formats.core.errors import CorruptError
from formats.core.source import BytesLike

UNIT = 1024
WAIT_SECONDS = 20


def content(unit: int) -> bytes:
    return unit.to_bytes(4, "big") * (UNIT // 4)


class Decoder:
    """Counts what is decoded, and can hold a unit until it is let go."""

    def __init__(self) -> None:
        self.decoded: list[int] = []
        self.threads: set[str] = set()
        self.damaged: set[int] = set()
        self.held: dict[int, threading.Event] = {}
        self.started = threading.Condition()

    def __call__(self, unit: int) -> BytesLike:
        with self.started:
            self.decoded.append(unit)
            self.threads.add(threading.current_thread().name)
            self.started.notify_all()
        if unit in self.held:
            assert self.held[unit].wait(WAIT_SECONDS)
        if unit in self.damaged:
            raise CorruptError("damaged", offset=unit)
        return content(unit)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.started:
            assert self.started.wait_for(condition, WAIT_SECONDS)
