"""What cluster maps share: joining runs that adjoin, and hints where nothing is decoded."""

from __future__ import annotations

from collections.abc import Sequence

from formats.core.errors import ConvertError
from formats.disks.clusters import ClusterMap, Run

_HINT_RUNS = 1024
"""How many runs one hint may lead to."""


def join_run(found: list[Run], run: Run) -> None:
    """Append a run without a unit, or make the last one longer where it goes on in this one."""
    if found:
        last = found[-1]
        goes_on = run.source is None or last.offset + last.length == run.offset
        if last.source is run.source and last.unit < 0 and goes_on:
            found[-1] = Run(last.length + run.length, last.source, last.offset)
            return
    found.append(run)


def pass_hints(clusters: ClusterMap, ranges: Sequence[tuple[int, int]], *, step_bytes: int) -> None:
    """Hint the sources underneath at what will be read, where nothing has to be decoded.

    It needs no threads, and ends early: a hint must not cost more than the reading that it helps.

    :param step_bytes: the most of one range that is looked at.
    """
    hinted = 0
    for offset, length in ranges:
        step = min(length, clusters.size - offset, step_bytes)
        try:
            runs = clusters.runs(offset, max(0, step))
        except ConvertError:
            return  # who reads it gets the error
        for run in runs:
            if run.source is not None:
                run.source.will_need([(run.offset, run.length)])
        hinted += len(runs)
        if hinted > _HINT_RUNS:
            return
