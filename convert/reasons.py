"""Why a value is what it is: the evidence, how sure it makes, and what else it could have been."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """How sure a decision is."""

    HIGH = "high"
    """The artifact says so in a place made for it, or the user does."""
    MEDIUM = "medium"
    """It follows from what the artifact says, and other answers would not be wrong."""
    LOW = "low"
    """Nothing says so; it is what is left, or usual."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that lost.

    :ivar value: as the option would take it, or a service's name.
    :ivar why: why it lost; printable.
    """

    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one field of the config is what it is.

    :ivar field: as the option that overrides it is called: ``entrypoint``, ``port``, ``user``.
    :ivar value: as that option would take it; "" for a field that is not set.
    :ivar why: the decisive sentence first.
    :ivar rejected: what it could have been; each with the reason why it is not.
    """

    field: str
    value: str
    why: tuple[str, ...]
    confidence: Confidence = Confidence.HIGH
    rejected: tuple[Rejected, ...] = ()
