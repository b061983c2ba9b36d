"""Formats that are recognised and not read: each is refused by name, with the way out.

One row a format. When a reader for it arrives, its row goes. Signatures are those of the format's
own documentation, as listed in ``file(1)``'s and ``blkid(8)``'s public documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from formats.core.errors import EncryptedError, UnsupportedError
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource

_QEMU_IMG = "convert it with 'qemu-img convert -O qcow2' first"
_EXPORT = "copy the files out with a machine that reads it, into ext4"


@dataclass(frozen=True, slots=True)
class RecognisedFormat:
    """A reader whose :meth:`open` always refuses, saying what the input is."""

    name: str
    category: Category
    signatures: tuple[Signature, ...]
    title: str
    hint: str
    supersedes: frozenset[str] = frozenset()
    is_encrypted: bool = False

    @property
    def doc(self) -> ReaderDoc:
        """See :class:`~formats.core.reader.Reader`."""
        return ReaderDoc(self.title, refuses=f"recognised, not read: {self.hint}")

    def probe(self, source: ByteSource) -> bool:
        """Return True: the signature is all there is to see."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> NoReturn:
        """Refuse.

        :raises EncryptedError: where a key would be needed.
        :raises UnsupportedError: otherwise.
        """
        del context
        kind = EncryptedError if self.is_encrypted else UnsupportedError
        raise kind(f"is {self.title}, which is not read", origin=source.origin, hint=self.hint)


READERS: tuple[RecognisedFormat, ...] = (
    RecognisedFormat(
        "vhdx",
        Category.DISK,
        (Signature(0, b"vhdxfile"),),
        "a Hyper-V disk (vhdx)",
        _QEMU_IMG,
    ),
)
