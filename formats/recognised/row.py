"""What one row of the tables says, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from formats.core.errors import EncryptedError, UnsupportedError
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource


def signature_suffices(source: ByteSource) -> bool:
    """Return True: for formats whose magic is long enough to be proof."""
    del source
    return True


@dataclass(frozen=True, slots=True)
class RecognisedFormat:
    """A reader whose :meth:`open` always refuses, saying what the input is.

    :ivar title: with its article, as in "is …, which is not read".
    :ivar hint: how to get along today.
    :ivar check: looks beyond the magic, where that alone is weak.
    :ivar family: the operating system whose disks look like this, where it is certain enough to
        be named: "Windows", "BSD", "macOS", "VMware".
    """

    name: str
    category: Category
    signatures: tuple[Signature, ...]
    title: str
    hint: str
    check: Callable[[ByteSource], bool] = signature_suffices
    supersedes: frozenset[str] = frozenset()
    is_encrypted: bool = False
    family: str | None = None

    @property
    def doc(self) -> ReaderDoc:
        """See :class:`~formats.core.reader.Reader`."""
        return ReaderDoc(self.title, refuses=f"recognised, not read: {self.hint}")

    def probe(self, source: ByteSource) -> bool:
        """Tell whether what is behind the signature is of this format too."""
        return self.check(source)

    def open(self, source: ByteSource, context: OpenContext) -> NoReturn:
        """Refuse.

        :raises EncryptedError: where a key would be needed.
        :raises UnsupportedError: otherwise.
        """
        del context
        kind = EncryptedError if self.is_encrypted else UnsupportedError
        raise kind(f"is {self.title}, which is not read", origin=source.origin, hint=self.hint)
