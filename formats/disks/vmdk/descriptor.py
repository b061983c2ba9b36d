"""The text descriptor of a VMDK: what the disk is made of, whose child it is, and its identity.

Specification: VMware "Virtual Disk Format 5.0", section "The Descriptor File"; for encodings and
spelling seen in the wild also the libyal document "VMware Virtual Disk (VMDK) format". The text is
in an ASCII superset, so lines and keywords are found before the encoding is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from formats.core.errors import (
    CorruptError,
    EncryptedError,
    LimitError,
    UnsupportedError,
    quoted,
)
from formats.core.limits import Limits
from formats.core.origin import Origin, printable
from formats.disks.vmdk.charsets import charset_of

SECTOR_BYTES = 512
NO_PARENT_CID = 0xFFFFFFFF

_BOM = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\r\n"
_TITLE = re.compile(rb"#[ \t]*disk[ \t]*descriptor[ \t]*file", re.IGNORECASE)
_PROBE_BYTES = 1024

_MAX_EXTENTS = 16384
_KNOWN_VERSIONS = frozenset({1, 2, 3, 4})

_EXTENT = re.compile(
    r"""(?P<access>RW|RDONLY|NOACCESS) \s+ (?P<sectors>\d{1,19}) \s+ (?P<kind>[A-Z0-9]+)
        (?: \s+ "(?P<name>[^"]*)" (?: \s+ (?P<offset>\d{1,19}) )? (?P<device> \s .*)? )? \s* $""",
    re.IGNORECASE | re.VERBOSE,
)
_ACCESS = re.compile(r"(RW|RDONLY|NOACCESS)\s", re.IGNORECASE)
_KEY = re.compile(r"[\w.:/-]+")
_ENCODING = re.compile(
    rb"""^[ \t]*encoding[ \t]*=[ \t]*"?([\w-]{1,32})""", re.IGNORECASE | re.MULTILINE
)


class ExtentKind(Enum):
    """How the sectors of one extent are stored."""

    FLAT = "FLAT"
    VMFS = "VMFS"
    SPARSE = "SPARSE"
    VMFSSPARSE = "VMFSSPARSE"
    SESPARSE = "SESPARSE"
    ZERO = "ZERO"


# Kinds whose sectors are not in a file beside the descriptor.
_DEVICE_KINDS: Mapping[str, str] = {
    "VMFSRAW": "a raw device of an ESXi host",
    "VMFSRDM": "a raw device mapping of an ESXi host",
}
_DEVICE_TYPES: Mapping[str, str] = {
    "fulldevice": "a physical disk",
    "partitioneddevice": "partitions of a physical disk",
    "vmfsraw": "a raw device of an ESXi host",
    "vmfsrdm": "a raw device mapping of an ESXi host",
    "vmfsrdmp": "a pass-through raw device mapping of an ESXi host",
    "vmfsrawdevicemap": "a raw device mapping of an ESXi host",
    "vmfspassthroughrawdevicemap": "a pass-through raw device mapping of an ESXi host",
}
_DEVICE_HINT = "clone it into a file with 'vmkfstools -i DISK.vmdk COPY.vmdk -d thin' first"


@dataclass(frozen=True, slots=True)
class ExtentLine:
    """One line of the extent description.

    :ivar sectors: length of 512-byte sectors, at least 1.
    :ivar name: file that holds it; "" for :attr:`ExtentKind.ZERO`.
    :ivar offset_sectors: where it starts inside a flat file.
    :ivar is_accessible: False for NOACCESS: the guest may not read it.
    """

    kind: ExtentKind
    sectors: int
    name: str
    offset_sectors: int
    is_accessible: bool


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed descriptor.

    :ivar create_type: as written, ``monolithicSparse``; "" if it is not stated.
    :ivar parent_cid: None for a disk that stands on its own.
    :ivar parent_hint: where its parent was, as written; "" if it is not stated.
    :ivar database: the disk database, keys lower case without ``ddb.``.
    """

    create_type: str
    cid: int | None
    parent_cid: int | None
    parent_hint: str
    extents: tuple[ExtentLine, ...]
    database: Mapping[str, str]

    @property
    def sectors(self) -> int:
        """Length of the disk in sectors."""
        return sum(extent.sectors for extent in self.extents)

    def facts(self) -> dict[str, str]:
        """Return what is worth showing of the disk's identity."""
        found = {
            "create-type": printable(self.create_type),
            "cid": f"{self.cid:08x}" if self.cid is not None else "",
            "parent-cid": f"{self.parent_cid:08x}" if self.parent_cid is not None else "",
            "adapter": printable(self.database.get("adaptertype", "")),
            "hardware-version": printable(self.database.get("virtualhwversion", "")),
            "uuid": _uuid(self.database.get("uuid") or self.database.get("uuid.image", "")),
        }
        return {key: value for key, value in found.items() if value}


def looks_like_descriptor(head: bytes) -> bool:
    """Tell whether a file that starts with ``head`` (1 KiB is enough) is a descriptor.

    The title line may come after white space, a byte-order mark and other comments.
    """
    text = head[:_PROBE_BYTES].removeprefix(_BOM)
    for raw in text.split(b"\n"):
        line = raw.strip(_WHITESPACE)
        if _TITLE.match(line):
            return True
        if line and not line.startswith(b"#"):
            return False
    return False


def parse_descriptor(text: bytes, *, origin: Origin, base: int, limits: Limits) -> Descriptor:
    """Parse a descriptor.

    :param text: the whole text; what follows a NUL is padding.
    :param base: offset of ``text`` in the file, for messages.
    :raises EncryptedError: if the disk is encrypted.
    :raises UnsupportedError: for devices, and kinds and versions that are not known.
    :raises CorruptError: for lines that say nothing or contradict each other.
    :raises LimitError: if there are too many extents or the text is too long.
    """
    if len(text) > limits.descriptor_bytes:
        raise LimitError(
            f"has a descriptor of {len(text):,} bytes, more than the"
            f" {limits.descriptor_bytes:,} allowed",
            origin=origin,
            offset=base,
        )
    parser = _Parser(origin)
    for offset, line in _lines(text, origin):
        parser.take(line, base + offset)
    return parser.finish(base)


def _lines(text: bytes, origin: Origin) -> Iterator[tuple[int, str]]:
    """Yield (offset, line) of everything that is neither empty nor a comment."""
    text = text.partition(b"\0")[0]
    codec = _codec(text, origin)
    offset = 0
    for raw in text.split(b"\n"):
        line = raw.removeprefix(_BOM).strip(_WHITESPACE)
        if line and not line.startswith(b"#"):
            yield offset, line.decode(codec, "surrogateescape")
        offset += len(raw) + 1


def _codec(text: bytes, origin: Origin) -> str:
    match = _ENCODING.search(text)
    if match is None:
        return "utf-8"
    stated = match[1].decode("ascii", "replace")
    codec = charset_of(stated)
    if codec is None:
        raise UnsupportedError(
            f"has a descriptor in the encoding {quoted(stated)}",
            origin=origin,
            hint='save the descriptor as UTF-8 and write encoding="UTF-8" into it',
        )
    return codec


class _Parser:
    """Collects the lines of one descriptor."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._settings: dict[str, str] = {}
        self._database: dict[str, str] = {}
        self._extents: list[ExtentLine] = []

    def take(self, line: str, offset: int) -> None:
        if _ACCESS.match(line):
            self._extents.append(self._extent(line, offset))
            if len(self._extents) > _MAX_EXTENTS:
                raise LimitError(
                    f"lists more than {_MAX_EXTENTS:,} extents", origin=self._origin, offset=offset
                )
            return
        key, is_setting, value = line.partition("=")
        key, value = key.rstrip(), value.lstrip()
        if value.startswith('"') and value.endswith('"', 1):
            value = value[1:-1]
        if not is_setting or not _KEY.fullmatch(key) or '"' in value:
            raise CorruptError(
                f"has a descriptor line that says nothing: {quoted(line[:80])}",
                origin=self._origin,
                offset=offset,
            )
        name = key.lower()
        if name.startswith("ddb."):
            self._database.setdefault(name.removeprefix("ddb."), value)
        elif self._settings.setdefault(name, value) != value:
            raise CorruptError(f"states {quoted(key)} twice", origin=self._origin, offset=offset)

    def _extent(self, line: str, offset: int) -> ExtentLine:
        match = _EXTENT.match(line)
        if match is None:
            raise CorruptError(
                f"has an extent line that cannot be read: {quoted(line[:80])}",
                origin=self._origin,
                offset=offset,
            )
        kind = match["kind"].upper()
        name = match["name"] or ""
        if kind in _DEVICE_KINDS:
            self._refuse_device(_DEVICE_KINDS[kind])
        if kind not in ExtentKind.__members__:
            raise UnsupportedError(
                f"has an extent of the unknown type {quoted(kind)}",
                origin=self._origin,
                offset=offset,
            )
        sectors = int(match["sectors"])
        if sectors == 0 or (kind != "ZERO" and not name):
            what = "is empty" if sectors == 0 else "names no file"
            raise CorruptError(
                f"has an extent that {what}: {quoted(line[:80])}",
                origin=self._origin,
                offset=offset,
            )
        return ExtentLine(
            ExtentKind[kind],
            sectors,
            name,
            int(match["offset"] or 0),
            is_accessible=match["access"].upper() != "NOACCESS",
        )

    def finish(self, base: int) -> Descriptor:
        self._refuse_encrypted()
        version = self._number("version", 10, base)
        if version is not None and version not in _KNOWN_VERSIONS:
            raise UnsupportedError(
                f"has a descriptor of version {version}", origin=self._origin, offset=base
            )
        create_type = self._settings.get("createtype", "")
        if create_type.lower() in _DEVICE_TYPES:
            self._refuse_device(_DEVICE_TYPES[create_type.lower()])
        parent_cid = self._number("parentcid", 16, base)
        return Descriptor(
            create_type=create_type,
            cid=self._number("cid", 16, base),
            parent_cid=None if parent_cid == NO_PARENT_CID else parent_cid,
            parent_hint=self._settings.get("parentfilenamehint", ""),
            extents=tuple(self._extents),
            database=self._database,
        )

    def _number(self, key: str, radix: int, base: int) -> int | None:
        value = self._settings.get(key)
        if value is None:
            return None
        if not re.fullmatch(r"[0-9a-fA-F]{1,8}" if radix == 16 else r"[0-9]{1,8}", value):
            raise CorruptError(
                f"has a descriptor with {key} = {quoted(value[:40])}",
                origin=self._origin,
                offset=base,
            )
        return int(value, radix)

    def _refuse_encrypted(self) -> None:
        """Look for what Workstation and vSphere leave in the clear part of an encrypted disk."""
        marks = [key for key in self._settings if key.startswith(("encryption", "keysafe"))]
        marks += [key for key in self._database if key.startswith(("encryption", "crypto"))]
        if marks or "vmwarevmcrypt" in self._database.get("iofilters", "").lower():
            raise EncryptedError(
                "is an encrypted disk",
                origin=self._origin,
                hint="decrypt it in VMware (VM settings, or storage policy) and export it again",
            )

    def _refuse_device(self, what: str) -> None:
        raise UnsupportedError(
            f"stands for {what}, and its content is not in files beside it",
            origin=self._origin,
            hint=_DEVICE_HINT,
        )


def _uuid(text: str) -> str:
    """Return a UUID of the disk database (``60 00 C2 9a …-dc 53 …``) in the usual spelling."""
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    if len(digits) != 32:
        return ""
    cuts = (0, 8, 12, 16, 20, 32)
    return "-".join(digits[cuts[part] : cuts[part + 1]] for part in range(5))
