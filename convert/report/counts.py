"""Counting findings, for documents and for summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from formats.core.finding import Finding


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings each rule has, most first."""
    return dict(Counter(finding.rule for finding in findings).most_common())
