"""Self-extracting scripts of makeself: a shell script with compressed tar archives behind it.

Specification: makeself's README and its header script, versions 1.5 to 2.5. The script says in
variables of how many lines it is itself (``skip``; before 2.4.3 as the argument of ``head -n`` that
sets ``offset``), how long each archive behind it is (``filesizes``) and their checksums. Only these
are read. The script is not run, nor the one that it would start after unpacking.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from formats.archives.stored import read_blocks
from formats.core.errors import CorruptError, EncryptedError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.limits import KIB
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volume, Volumes
from formats.core.source import ByteSource, slice_source

_NAME = b"generated using Makeself"
_NAME_BYTES = 512
_SCRIPT_BYTES = 256 * KIB
_ASSIGNMENT = re.compile(
    rb"^(?P<name>CRCsum|MD5|SHA|label|script|targetdir|filesizes|skip|decrypt_cmd)="
    rb"(?:\"(?P<double>[^\"\n]*)\"|'(?P<single>[^'\n]*)'|(?P<bare>[^\s\"']*))$",
    re.MULTILINE,
)
_LINES = re.compile(rb"^offset=`head -n \"?(\d{1,6})\"? \"\$0\"", re.MULTILINE)
_VERSION = re.compile(rb"generated using Makeself ([\w.]{1,20})")
_COMPRESSION = re.compile(rb"^[ \t]*echo Compression: ([\w-]+)", re.MULTILINE)
_ENCRYPTIONS = frozenset({b"gpg", b"gpg-asymmetric", b"openssl"})
_MOST_ARCHIVES = 64
_MOST_DIGITS = 7


@dataclass(frozen=True, slots=True)
class _Header:
    """What the script says of itself."""

    text: bytes
    values: dict[str, str]
    lines: int

    @property
    def offset(self) -> int | None:
        """Where the first archive begins; None if the script has fewer lines than it says."""
        position = 0
        for _ in range(self.lines):
            position = self.text.find(b"\n", position) + 1
            if not position:
                return None
        return position


def _header(source: ByteSource) -> _Header | None:
    text = bytes(source.read_at(0, _SCRIPT_BYTES))
    values: dict[str, str] = {}
    for match in _ASSIGNMENT.finditer(text):
        value = match["double"] or match["single"] or match["bare"] or b""
        values.setdefault(match["name"].decode(), printable(value))
    counted = _LINES.search(text)
    said = values.get("skip", "") or (counted[1].decode() if counted is not None else "")
    lines = int(said) if said.isdecimal() and len(said) < _MOST_DIGITS else 0
    return _Header(text, values, lines) if lines else None


class MakeselfReader:
    """Self-extracting scripts; what is in them are archives, which other readers open."""

    name = "makeself"
    category = Category.ARCHIVE
    signatures = (Signature(0, b"#!"),)
    supersedes = frozenset({"script"})
    doc = ReaderDoc(
        "self-extracting script of makeself",
        extensions=(".run", ".sh"),
        specification="makeself README and header script",
        reads="the archives behind the script, held to their SHA-256 or MD5; no script is run",
        refuses="encrypted archives, and those in base64",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return _NAME in bytes(source.read_at(0, _NAME_BYTES))

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Return the archives.

        :raises EncryptedError: if they are encrypted.
        :raises UnsupportedError: for scripts of an unknown version.
        :raises CorruptError: if they are cut short, or a checksum is wrong.
        """
        header = _header(source)
        if header is None:
            raise UnsupportedError(
                "is a self-extracting script of a makeself that is not known",
                origin=source.origin,
                hint="unpack it with '--noexec --target DIR' where you trust it, and give DIR",
            )
        _refuse(source, header)
        places = list(_places(source, header))
        _verify(source, header, places)
        _note(source, header, context)
        single = len(places) == 1
        return Volumes(
            tuple(
                _volume(source, place, "payload" if single else f"payload {number}")
                for number, place in enumerate(places, 1)
            ),
            _facts(header),
        )


def _refuse(source: ByteSource, header: _Header) -> None:
    hint = "unpack it with '--noexec --target DIR' where you trust it, and give DIR"
    match = _COMPRESSION.search(header.text)
    compression = match[1] if match is not None else b""
    if header.values.get("decrypt_cmd") or compression in _ENCRYPTIONS:
        raise EncryptedError(
            "is a self-extracting script with an encrypted archive",
            origin=source.origin,
            hint=hint,
        )
    if compression == b"base64":
        raise UnsupportedError(
            "is a self-extracting script with an archive in base64, which is not read",
            origin=source.origin,
            hint=hint,
        )


def _places(source: ByteSource, header: _Header) -> Iterator[tuple[int, int]]:
    """Yield where each archive is, and its length."""
    offset = header.offset
    sizes = header.values.get("filesizes", "").split()
    if offset is None or not sizes or len(sizes) > _MOST_ARCHIVES:
        raise CorruptError(
            f"says that its script has {header.lines:,} lines, with {len(sizes)} archives behind"
            " it, which cannot be",
            origin=source.origin,
            offset=0,
        )
    for size in sizes:
        length = int(size) if size.isdecimal() and len(size) < 19 else -1
        if length < 0 or offset + length > source.size:
            raise CorruptError(
                f"is cut short: an archive of {size} bytes at {offset:,} ends behind its"
                f" {source.size:,}",
                origin=source.origin,
                offset=offset,
                hint="fetch it again",
            )
        yield offset, length
        offset += length


def _verify(source: ByteSource, header: _Header, places: Sequence[tuple[int, int]]) -> None:
    """Compare the best checksum there is of each archive; zeros stand for none."""
    for name, length in (("SHA", 64), ("MD5", 32)):
        wanted = header.values.get(name, "").split()
        if len(wanted) == len(places) and all(len(text) == length for text in wanted):
            if all(set(text) == {"0"} for text in wanted):
                continue
            for text, (offset, size) in zip(wanted, places, strict=True):
                # told by the file itself: it only shows damage
                hasher = hashlib.new("sha256" if name == "SHA" else "md5", usedforsecurity=False)
                for block in read_blocks(source, offset, size):
                    hasher.update(block)
                if hasher.hexdigest() != text:
                    raise _wrong(source, offset, name)
            return


def _wrong(source: ByteSource, offset: int, name: str) -> CorruptError:
    return CorruptError(
        f"an archive has another checksum ({name}) than the script says",
        origin=source.origin,
        offset=offset,
        hint="fetch it again",
    )


def _note(source: ByteSource, header: _Header, context: OpenContext) -> None:
    script = header.values.get("script", "")
    evidence = "is a script that unpacks itself; read as an archive, not run"
    if script:
        evidence += f", nor is {script}, which it would start"
    where = str(source.origin).encode()
    context.note(Finding("self-extracting", where, Action.REPORTED, evidence))


def _facts(header: _Header) -> dict[str, str]:
    version = _VERSION.search(header.text)
    known = {
        "makeself": version[1].decode() if version else "",
        "label": header.values.get("label", ""),
        "starts": header.values.get("script", ""),
        "target": header.values.get("targetdir", ""),
    }
    return {name: value for name, value in known.items() if value}


def _volume(source: ByteSource, place: tuple[int, int], label: str) -> Volume:
    return Volume(slice_source(source, *place, source.origin.child(label)), label)


READER = MakeselfReader()
