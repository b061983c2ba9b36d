"""Where a fact comes from; and the one fact that choosing a root needs."""

from __future__ import annotations

from dataclasses import dataclass

from formats.core.origin import printable


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a fact was read.

    :ivar path: path in the tree, as in :class:`~formats.core.entry.Entry`; b"" if no file says it.
    :ivar line: counted from 1; None where the file has no lines.
    :ivar rule: which kind of reading found it: ``os-release``, ``elf-header``.
    """

    path: bytes
    line: int | None
    rule: str

    def __str__(self) -> str:
        if not self.path:
            return self.rule
        line = f":{self.line}" if self.line is not None else ""
        return f"/{printable(self.path)}{line} ({self.rule})"


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """Which distribution it is, in the words of os-release(5).

    :ivar id: ``debian``; ``linux`` where only the free text of ``/etc/issue`` is known.
    """

    id: str
    name: str
    pretty_name: str
    evidence: Evidence
    version_id: str | None = None
