"""How long a registry that does not answer well is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.response import BaseHTTPResponse

AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be better next time; 401 and 403 never are."""
_BROKEN: Final = (ConnectTimeoutError, IncompleteRead, ProtocolError, ReadTimeoutError)
_TRIES: Final = 6
_TOTAL_SECONDS: Final = 900.0
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


class Patience:
    """Counts what one thing that is fetched has cost so far.

    :param sleep: waits for seconds.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._tries = 0
        self._waited = 0.0

    def renew(self) -> None:
        """Begin to count anew: something came."""
        self._tries = 0

    def wait_after(self, error: HTTPError) -> bool:
        """Do as :meth:`wait` where a connection broke; one that was never there is not retried."""
        is_broken = isinstance(error, _BROKEN) and not isinstance(error, NewConnectionError)
        return is_broken and self.wait()

    def wait(self, response: BaseHTTPResponse | None = None) -> bool:
        """Wait before the next try; False if there shall be none.

        :param response: the answer that was no good; it may say how long to wait.
        """
        self._tries += 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (self._tries - 1), _LONGEST_PAUSE_SECONDS)
        stated = response.headers.get("Retry-After", "") if response is not None else ""
        if stated.isascii() and stated.isdigit() and len(stated) < 6:
            pause = max(pause, float(stated))
        if self._tries >= _TRIES or self._waited + pause > _TOTAL_SECONDS:
            return False
        self._waited += pause
        self._sleep(pause)
        return True
