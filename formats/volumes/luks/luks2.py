"""The LUKS2 header: two copies of a binary header, each with a JSON area behind it.

Sections are those of the LUKS2 On-Disk Format Specification 1.1.1.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from formats.core.errors import CorruptError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.origin import printable
from formats.core.reader import OpenContext, Signature
from formats.core.source import ByteSource, read_exact
from formats.volumes.luks.header import (
    KEY_BYTES_MAX,
    STRIPES_MAX,
    Kdf,
    KeyDigest,
    KeySlot,
    LuksHeader,
    Payload,
)
from formats.volumes.luks.json_area import JsonObject, parse_json

MAGIC = b"LUKS\xba\xbe\0\2"
_SECOND_MAGIC = b"SKUL\xba\xbe\0\2"
# Section 2.2: the header with its JSON area is as large as the offset of the second copy.
_HEADER_SIZES = tuple(0x4000 << shift for shift in range(9))
SECOND_SIGNATURES = tuple(Signature(size, _SECOND_MAGIC) for size in _HEADER_SIZES)

# Section 2.1: magic and version, size with JSON, sequence number, label, checksum algorithm, salt,
# UUID, subsystem, own offset, and a checksum over all with itself as zeros.
_HEADER = struct.Struct(">8sQQ48s32s64s40s48sQ184x64s")
_BINARY_BYTES = 4096
_CHECKSUM_OFFSET = 448
_CHECKSUM_BYTES = 64
_CHECKSUMS = frozenset({"sha1", "sha256", "sha512"})

_SECTOR_SIZES = frozenset({512, 1024, 2048, 4096})
_REENCRYPTION = frozenset(
    {"offline-reencrypt", "online-reencrypt", "online-reencrypt-v2", "online-reencrypt-v3"}
)
_REENCRYPT_HINT = (
    "finish it on a copy: 'cryptsetup reencrypt --resume-only', or 'cryptsetup repair' first"
)
_PRIORITY_NORMAL = 1


@dataclass(frozen=True, slots=True)
class _Copy:
    header_bytes: int
    sequence: int
    uuid: str
    label: str
    document: JsonObject


def read_luks2(source: ByteSource, context: OpenContext) -> LuksHeader:
    """Read the newer of the two copies that are whole.

    :raises CorruptError: if neither is.
    :raises UnsupportedError: for integrity, re-encryption and what else is not read, by name.
    """
    copies: list[_Copy] = []
    problems: list[CorruptError] = []
    # A whole first copy says where the second one is. Without one, that can be any of nine places;
    # at the others something older may be left over.
    places = _HEADER_SIZES
    for offset in (0, *_HEADER_SIZES):
        magic = _SECOND_MAGIC if offset else MAGIC
        if offset and offset not in places:
            continue
        if bytes(source.read_at(offset, len(magic))) != magic:
            continue
        try:
            copies.append(_read_copy(source, offset))
        except CorruptError as error:
            problems.append(error)
        else:
            places = (copies[0].header_bytes,)
    if not copies:
        raise problems[0] if problems else CorruptError("has no LUKS2 header", origin=source.origin)
    if problems or len(copies) < 2:
        evidence = str(problems[0]) if problems else "one of the two copies is gone"
        finding = Finding(
            "luks-header-copy", str(source.origin).encode(), Action.REPORTED, evidence
        )
        context.note(finding)
    newest = max(copies, key=lambda copy: copy.sequence)
    return _checked(newest)


def _read_copy(source: ByteSource, offset: int) -> _Copy:
    head = bytes(read_exact(source, offset, _BINARY_BYTES, "the LUKS2 header"))
    _, size, sequence, label, algorithm, _, uuid, _, own_offset, checksum = _HEADER.unpack_from(
        head
    )
    if size not in _HEADER_SIZES or own_offset != offset or offset not in {0, size}:
        raise CorruptError(
            f"the LUKS2 header says that it is {size:,} bytes at byte {own_offset:,}",
            origin=source.origin,
            offset=offset,
        )
    name = _text(algorithm)
    if name not in _CHECKSUMS:
        raise CorruptError(
            f"the LUKS2 header has a checksum of the type '{printable(name)}'",
            origin=source.origin,
            offset=offset,
        )
    area = bytes(
        read_exact(source, offset + _BINARY_BYTES, size - _BINARY_BYTES, "the LUKS2 JSON area")
    )
    end = _CHECKSUM_OFFSET + _CHECKSUM_BYTES
    digest = hashlib.new(name, head[:_CHECKSUM_OFFSET], usedforsecurity=False)
    digest.update(bytes(_CHECKSUM_BYTES) + head[end:] + area)
    if digest.digest() != checksum[: digest.digest_size]:
        raise CorruptError(
            "the LUKS2 header has a wrong checksum", origin=source.origin, offset=offset
        )
    document = parse_json(area.partition(b"\0")[0], source.origin)
    return _Copy(size, sequence, _text(uuid).lower(), _text(label), document)


def _checked(copy: _Copy) -> LuksHeader:
    document = copy.document
    _refuse_requirements(document)
    number, payload = _payload(document)
    bound, digest = _digest(document, number)
    slots = [slot for slot in _slots(document) if str(slot.number) in bound]
    tokens = {token.text("type", "") for _, token in document.objects("tokens")} - {""}
    return LuksHeader(
        version=2,
        uuid=printable(copy.uuid),
        label=printable(copy.label),
        payload=payload,
        digest=digest,
        slots=tuple(sorted(slots, key=lambda slot: (-slot.priority, slot.number))),
        tokens=tuple(sorted(map(printable, tokens))),
    )


def _refuse_requirements(document: JsonObject) -> None:
    """Section 3.6: who does not know a requirement must not touch the data."""
    config = document.get("config")
    if "requirements" not in config:
        return
    for name in config.get("requirements").texts("mandatory"):
        if name in _REENCRYPTION:
            raise UnsupportedError(
                "is being re-encrypted, which is not read",
                origin=document.origin,
                hint=_REENCRYPT_HINT,
            )
        raise UnsupportedError(
            f"needs '{printable(name)}' of LUKS2, which is not read", origin=document.origin
        )


def _payload(document: JsonObject) -> tuple[str, Payload]:
    """Return the one segment and its name (section 3.3)."""
    segments = list(document.objects("segments"))
    origin = document.origin
    if not segments:
        raise UnsupportedError(
            "is a LUKS2 header without data",
            origin=origin,
            hint="give the volume itself: this is a backup of its header, or a key store",
        )
    if len(segments) > 1:
        raise UnsupportedError(
            f"has {len(segments)} segments, as while it is being re-encrypted, which is not read",
            origin=origin,
            hint=_REENCRYPT_HINT,
        )
    name, segment = segments[0]
    kind = segment.text("type")
    if kind != "crypt":
        raise UnsupportedError(
            f"holds a segment of the type '{printable(kind)}', which is not read", origin=origin
        )
    if "integrity" in segment:
        raise UnsupportedError(
            "is encrypted with integrity protection (dm-integrity), which is not read",
            origin=origin,
            hint="open it on a machine with the key and image the open device:"
            " 'qemu-img convert -O qcow2 /dev/mapper/… …'",
        )
    sector_bytes = segment.number("sector_size", 512, 4096)
    if sector_bytes not in _SECTOR_SIZES:
        raise CorruptError(f"has sectors of {sector_bytes:,} bytes", origin=origin)
    size = segment.text("size")
    return name, Payload(
        offset=segment.number("offset", 0, 1 << 63),
        length=None if size == "dynamic" else segment.number("size", 0, 1 << 63),
        cipher=segment.text("encryption"),
        sector_bytes=sector_bytes,
        first_iv=segment.number("iv_tweak", 0, 1 << 63),
    )


def _digest(document: JsonObject, segment: str) -> tuple[frozenset[str], KeyDigest]:
    """Return the digest that is tied to the segment, and the slots it is of (section 3.4)."""
    for _, item in document.objects("digests"):
        if segment not in item.texts("segments"):
            continue
        if item.text("type") != "pbkdf2":
            raise UnsupportedError(
                f"has a key digest of the type '{printable(item.text('type'))}'",
                origin=document.origin,
            )
        kdf = Kdf(
            "pbkdf2",
            item.binary("salt"),
            item.number("iterations", 1, 1 << 32),
            item.text("hash"),
        )
        return frozenset(item.texts("keyslots")), KeyDigest(kdf, item.binary("digest"))
    raise CorruptError("the LUKS2 header has no digest of its key", origin=document.origin)


def _slots(document: JsonObject) -> Iterator[KeySlot]:
    """Yield the key slots that a passphrase can open (section 3.2)."""
    for name, slot in document.objects("keyslots"):
        if slot.text("type") != "luks2":
            continue
        area, stripes = slot.get("area"), slot.get("af")
        if not name.isdecimal() or len(name) > 4:
            raise CorruptError(
                f"the LUKS2 header has a key slot '{printable(name[:32])}'", origin=document.origin
            )
        yield KeySlot(
            number=int(name),
            priority=slot.number("priority", 0, 2, _PRIORITY_NORMAL),
            kdf=_kdf(slot.get("kdf")),
            offset=area.number("offset", 0, 1 << 63),
            cipher=area.text("encryption"),
            cipher_key_bytes=area.number("key_size", 1, KEY_BYTES_MAX),
            key_bytes=slot.number("key_size", 1, KEY_BYTES_MAX),
            stripes=stripes.number("stripes", 1, STRIPES_MAX),
            stripes_hash=stripes.text("hash"),
        )


def _kdf(item: JsonObject) -> Kdf:
    kind = item.text("type")
    if kind == "pbkdf2":
        rounds = item.number("iterations", 1, 1 << 32)
        return Kdf(kind, item.binary("salt"), rounds, item.text("hash"))
    return Kdf(
        kind,
        item.binary("salt"),
        item.number("time", 1, 1 << 32),
        memory_kib=item.number("memory", 1, 1 << 32),
        lanes=item.number("cpus", 1, 1 << 16),
    )


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
