"""What an index says of one package, beside its description."""

from __future__ import annotations

from dataclasses import dataclass

from formats.core.package import Package


@dataclass(frozen=True, slots=True)
class Offer:
    """A package that can be had.

    :ivar path: of its file, as the index has it: relative to the top of the repository. It is not
        checked.
    :ivar size: bytes of its file; None if the index does not say.
    :ivar digest: of its file: (algorithm as :mod:`hashlib` names it, lower-case hexadecimal); None
        if the index has none.
    """

    package: Package
    path: str
    size: int | None = None
    digest: tuple[str, str] | None = None
