"""The control data of a package: its description, scripts, configuration files, digests, triggers.

Specification: deb(5), deb-control(5), deb-conffiles(5), deb-md5sums(5), deb-triggers(5);
Debian Policy 6.1 for scripts, debconf-devel(7) for ``config``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from formats.archives.tar_index import inner_path, tar_members
from formats.bundles.streams import Compressed
from formats.core.entry import Kind
from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin
from formats.core.package import Package, Script
from formats.core.source import ByteSource, MemorySource, read_exact, slice_source
from formats.packages.deb.container import Part
from formats.packages.deb.control import describe
from formats.packages.deb.stanzas import parse_stanza, read_stanzas

_ARCHIVE_BYTES = 64 * MIB
"""The largest have a digest for each of half a million files."""
_SCRIPTS = ("config", "preinst", "postinst", "prerm", "postrm")
_CONTROL = "control"
_DIGEST_LINE = re.compile(rb"(?P<escaped>\\?)(?P<digest>[0-9A-Fa-f]{32}) [ *](?P<path>.+)")
_ESCAPES = re.compile(rb"\\([\\n])")
_FLAG = re.compile(rb"[a-z-]+[ \t]+(?=/)")


@dataclass(frozen=True, slots=True)
class ControlData:
    """What the control archive holds.

    :ivar unread_digests: lines of ``md5sums`` that make no sense.
    """

    package: Package
    unread_digests: int


def read_control(source: ByteSource, part: Part, origin: Origin, limits: Limits) -> ControlData:
    """Read the control archive of a package.

    :param origin: of the archive, for messages.
    :raises CorruptError: if it is damaged, or something in it makes no sense.
    :raises LimitError: if it is larger than any that is known.
    """
    files = _files(_unpacked(source, part, origin, limits), limits)
    try:
        return _understood(files, origin, limits)
    except CorruptError as error:
        raise error.at(origin) from None


def _unpacked(source: ByteSource, part: Part, origin: Origin, limits: Limits) -> ByteSource:
    """Return the archive, decompressed into memory."""
    packed = slice_source(source, part.member.offset, part.member.size, origin)
    too_large = LimitError(f"has more than {_ARCHIVE_BYTES:,} bytes of control data", origin=origin)
    if part.decode is None:
        if packed.size > _ARCHIVE_BYTES:
            raise too_large
        return packed
    blocks: list[bytes] = []
    size = 0
    for block in part.decode(Compressed(packed), limits):
        blocks.append(block)
        size += len(block)
        if size > _ARCHIVE_BYTES:
            raise too_large
    return MemorySource(b"".join(blocks), origin)


def _files(archive: ByteSource, limits: Limits) -> dict[str, bytes]:
    """Return the control files by name. They lie at the top; what lies deeper is not for dpkg."""
    found: dict[str, bytes] = {}
    for member in tar_members(archive, limits):
        path = inner_path(member.path)
        if path is None:
            raise CorruptError(
                f"the control file {quoted(member.path)} leads out of its archive",
                origin=archive.origin,
                offset=member.header_offset,
            )
        if member.kind is Kind.FOLDER or b"/" in path:
            continue
        name = path.decode("utf-8", "surrogateescape")
        if member.kind is not Kind.FILE or member.regions is not None:
            raise CorruptError(
                f"the control file {quoted(name)} is not a plain file",
                origin=archive.origin,
                offset=member.header_offset,
            )
        if name in found:
            raise CorruptError(
                f"has two control files named {quoted(name)}",
                origin=archive.origin,
                offset=member.header_offset,
            )
        what = f"the control file {quoted(name)}"
        found[name] = bytes(read_exact(archive, member.offset, member.size, what))
    return found


def _understood(files: Mapping[str, bytes], origin: Origin, limits: Limits) -> ControlData:
    if _CONTROL not in files:
        raise CorruptError("has no file named 'control', which describes the package")
    stanzas = list(read_stanzas([files[_CONTROL]], origin, limits))
    if len(stanzas) != 1:
        raise CorruptError(f"describes {len(stanzas):,} packages in its file 'control'")
    package = describe(parse_stanza(stanzas[0]), stanzas[0] + b"\n")
    digests, unread = _digests(files.get("md5sums", b""))
    others = sorted(files.keys() - {_CONTROL, *_SCRIPTS})
    facts = {"control-files": " ".join(others)} if others else {}
    package = replace(
        package,
        configuration=_configuration(files.get("conffiles", b"")),
        scripts=tuple(_script(name, files[name]) for name in _SCRIPTS if name in files),
        triggers=_triggers(files.get("triggers", b"")),
        digests=digests,
        facts={**package.facts, **facts},
    )
    return ControlData(package, unread)


def _configuration(text: bytes) -> tuple[bytes, ...]:
    """Return paths of configuration files.

    Files with a flag are left out: the only one there is says that the package had them once.
    """
    found: list[bytes] = []
    for line in text.split(b"\n"):
        written = line.strip()
        if not written or _FLAG.match(written):
            continue
        path = inner_path(written.lstrip(b"/"))
        if not path:
            raise CorruptError(f"lists {quoted(written[:200])} as a configuration file")
        found.append(path)
    return tuple(found)


def _digests(text: bytes) -> tuple[dict[bytes, tuple[str, str]], int]:
    """Return digests by path, and how many lines make no sense."""
    found: dict[bytes, tuple[str, str]] = {}
    unread = 0
    for line in text.split(b"\n"):
        match = _DIGEST_LINE.fullmatch(line.rstrip(b"\r"))
        if match is None:
            unread += bool(line.strip())
            continue
        written = match["path"]
        if match["escaped"]:  # as md5sum does for names with a newline or backslash
            written = _ESCAPES.sub(lambda escape: b"\n" if escape[1] == b"n" else b"\\", written)
        path = inner_path(written.lstrip(b"/"))
        if path:
            found[path] = "md5", match["digest"].decode().lower()
        else:
            unread += 1
    return found, unread


def _triggers(text: bytes) -> tuple[str, ...]:
    lines = (line.partition(b"#")[0].split() for line in text.split(b"\n"))
    return tuple(b" ".join(words).decode("utf-8", "surrogateescape") for words in lines if words)


def _script(name: str, text: bytes) -> Script:
    """Return a script; some packages have a program there, without an interpreter."""
    first = text.partition(b"\n")[0]
    words = first[2:].split() if first.startswith(b"#!") else []
    return Script(name, words[0].decode("utf-8", "surrogateescape") if words else "", text)
