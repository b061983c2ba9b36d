"""The readers of LUKS1 and LUKS2: two names, one way to open them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from formats.core.errors import (
    CorruptError,
    EncryptedError,
    MissingDependencyError,
    UnsupportedError,
)
from formats.core.reader import (
    Category,
    OpenContext,
    ReaderDoc,
    Signature,
    Volume,
    Volumes,
)
from formats.core.source import ByteSource
from formats.recognised.filesystems import FILESYSTEM_NAMES
from formats.volumes.luks import luks1, luks2
from formats.volumes.luks.header import LuksHeader

# What may be left over between the header and the key slots, or in front of the second header.
_LEFT_OVER = frozenset({"lvm", *FILESYSTEM_NAMES})


@dataclass(frozen=True, slots=True)
class LuksReader:
    """A reader; see the package's documentation.

    :ivar header: reads and checks the header, and refuses what is not read.
    """

    name: str
    signatures: tuple[Signature, ...]
    doc: ReaderDoc
    header: Callable[[ByteSource, OpenContext], LuksHeader]
    category: Category = Category.VOLUMES
    supersedes: frozenset[str] = _LEFT_OVER

    def probe(self, source: ByteSource) -> bool:
        """Return True: the signature is proof."""
        del source
        return True

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Return the volume inside, if one of ``context.keys`` opens it.

        :raises EncryptedError: without a key, or if none of them opens it.
        :raises MissingDependencyError: if the libraries for it are not installed.
        :raises UnsupportedError: for what is not read, by name.
        :raises CorruptError: if the header is damaged.
        """
        try:
            header = self.header(source, context)
        except CorruptError as error:
            if context.keys:
                raise
            raise EncryptedError(
                f"is an encrypted volume, and {error.message}",
                origin=source.origin,
                offset=error.offset,
                hint=error.hint,
            ) from error
        if header.payload.offset == 0:
            raise UnsupportedError(
                "is a LUKS header whose data is elsewhere, which is not read",
                origin=source.origin,
                hint="open it on a machine with the key and image the open device:"
                " 'qemu-img convert -O qcow2 /dev/mapper/… …'",
            )
        if not context.keys:
            raise EncryptedError(
                f"is a volume encrypted with LUKS{header.version}, and no key was given",
                origin=source.origin,
                hint="give one with --passphrase-file FILE or --key-file FILE",
            )
        try:
            from formats.volumes.luks.payload import (  # noqa: PLC0415 - slow to import, and optional
                open_payload,
            )
        except ImportError as error:
            raise MissingDependencyError(
                f"is a volume encrypted with LUKS{header.version}, and"
                f" '{(error.name or '').partition('.')[0]}' is not installed",
                origin=source.origin,
                hint="install it: pip install 'oci-convert[luks]'",
            ) from error
        inner, slot = open_payload(source, header, context, source.origin.child(self.name))
        volume = Volume(
            inner, self.name, uuid=header.uuid, device_names=(f"mapper/luks-{header.uuid}",)
        )
        return Volumes((volume,), _facts(header, slot))


def _facts(header: LuksHeader, slot: int) -> dict[str, str]:
    facts = {
        "uuid": header.uuid,
        "cipher": header.payload.cipher,
        "sector-bytes": str(header.payload.sector_bytes),
        "opened-by": f"key slot {slot}",
    }
    if header.label:
        facts["label"] = header.label
    if header.tokens:
        facts["tokens"] = ", ".join(header.tokens)
    return facts


def _doc(version: int, specification: str, kdfs: str) -> ReaderDoc:
    return ReaderDoc(
        f"LUKS{version} encrypted volume",
        specification=specification,
        reads=f"AES in XTS, CBC and ECB; {kdfs}; with --passphrase-file or --key-file",
        refuses="other ciphers, integrity, re-encryption in progress, detached headers, by name",
    )


READERS = (
    LuksReader(
        "luks1",
        (Signature(0, luks1.MAGIC),),
        _doc(1, "LUKS1 On-Disk Format Specification 1.2.3", "PBKDF2"),
        lambda source, _: luks1.read_luks1(source),
    ),
    LuksReader(
        "luks2",
        (Signature(0, luks2.MAGIC), *luks2.SECOND_SIGNATURES),
        _doc(2, "LUKS2 On-Disk Format Specification 1.1.1", "PBKDF2, Argon2i and Argon2id"),
        luks2.read_luks2,
    ),
)
