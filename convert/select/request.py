"""What is asked of selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from formats.core.limits import DEFAULT_LIMITS, Limits
from formats.core.opener import Artifact, Node


class SecondEngine(Protocol):
    """Another way to read what no native reader does; slow to start, so it is asked late."""

    @property
    def replaces_native(self) -> bool:
        """Whether it is to be asked for everything, and first."""
        ...

    def may_read(self, node: Node, *, is_wanted: bool) -> bool:
        """Tell whether it is worth while to ask about a node that could not be read.

        :param is_wanted: whether the user named it, or a system needs it.
        """
        ...

    def take(self, artifact: Artifact, nodes: Sequence[Node]) -> None:
        """Try to read ``nodes``: where it can, their tree or children are set, and no problem.

        Where it cannot, their problem says what both had to say.

        :raises formats.core.errors.LimitError: if it takes too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """Which tree of an artifact is wanted.

    :ivar root: the volume, as a partition (``gpt:2``, ``/dev/sda2``), logical volume (``vg0/root``,
        ``/dev/mapper/vg0-root``), label, UUID or breadcrumb; any tag of fstab.
    :ivar machine: name of the machine, where a bundle holds several.
    :ivar drop: patterns of paths that the user does without; a system folder among them may be
        missing.
    :ivar engine: asked where native readers fail; None: nothing is.
    """

    root: str | None = None
    machine: str | None = None
    drop: Sequence[str] = ()
    limits: Limits = DEFAULT_LIMITS
    engine: SecondEngine | None = None


ANYTHING = Request()
"""The one root, or the only tree, of a single machine."""
