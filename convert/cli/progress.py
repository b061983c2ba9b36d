"""Progress on a terminal: bytes, rate and stage; nothing in a pipe."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Never, Self

if TYPE_CHECKING:
    from tqdm import tqdm

_MIN_SECONDS_SHOWN = 0.2


class TerminalProgress:
    """Shows one bar at a time on stderr; a new stage replaces the bar of the one before.

    Called with a stage's name, bytes done and bytes in all (0 where that is not known).
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._bar: tqdm[Never] | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes of a stage are behind us."""
        if not self._enabled:
            return
        if self._bar is None or stage != self._stage:
            self._start(stage, total)
        bar = self._bar
        if bar is None:
            return
        if total and bar.total != total:
            bar.total = total
        bar.update(done - bar.n)

    def _start(self, stage: str, total: int) -> None:
        from tqdm import tqdm

        self.close()
        self._stage = stage
        self._bar = tqdm(
            desc=stage,
            total=total or None,
            unit="B",
            unit_scale=True,
            unit_divisor=1000,
            leave=False,
            file=sys.stderr,
            dynamic_ncols=True,
            delay=_MIN_SECONDS_SHOWN,
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
