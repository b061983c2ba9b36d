"""The members of a package file: which of them is control data, which is payload.

Specification: deb(5); deb-split(5) and deb-old(5) for what is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from formats.archives.ar_index import MAGIC, ArMember, ar_members
from formats.bundles.streams import Decoder, bunzip2, gunzip, unlzma, unxz, unzstd
from formats.core.errors import ConvertError, CorruptError, UnsupportedError, quoted
from formats.core.limits import Limits
from formats.core.source import ByteSource, read_exact

OLD_MAGIC = b"0.93"
"""How packages of before 1995 begin."""

_FIRST = b"debian-binary"
_FIRST_OF_SPLIT = b"debian-split"
_OLD = re.compile(rb"0\.93[0-9]{1,8}\n[0-9]+\n")
_OLD_BYTES = 64
_VERSION = re.compile(rb"([0-9]{1,9})\.([0-9]{1,9})\n")
_VERSION_BYTES = 1024
_MAJOR = 2
_CONTROL, _DATA = b"control.tar", b"data.tar"
_IGNORABLE = b"_"
_SIGNATURES = (b"_gpg", b"_sig")
"""How the members of debsigs and dpkg-sig begin."""

_DECODERS: Mapping[bytes, tuple[str, Decoder | None]] = {
    b"": ("none", None),
    b".gz": ("gzip", gunzip),
    b".xz": ("xz", unxz),
    b".zst": ("zstd", unzstd),
    b".bz2": ("bzip2", bunzip2),
    b".lzma": ("lzma", unlzma),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the two archives in a package.

    :ivar compression: ``none``, ``gzip``, ``xz``, ``zstd``, ``bzip2`` or ``lzma``.
    :ivar decode: None where it is not compressed.
    """

    member: ArMember
    compression: str
    decode: Decoder | None


@dataclass(frozen=True, slots=True)
class Container:
    """What a package file is made of.

    :ivar version: of the format: ``2.0``.
    :ivar extras: members that may be there and are not looked at.
    :ivar problem: what is wrong behind the last member that counts.
    """

    version: str
    control: Part
    data: Part
    extras: tuple[bytes, ...]
    problem: ConvertError | None

    @property
    def signatures(self) -> tuple[bytes, ...]:
        """Those of the extras that are signatures."""
        return tuple(name for name in self.extras if name.startswith(_SIGNATURES))


def is_package(source: ByteSource) -> bool:
    """Tell whether a file is a package, or part of one, by what it begins with."""
    head = bytes(source.read_at(0, _OLD_BYTES))
    if head.startswith(OLD_MAGIC):
        return _OLD.match(head) is not None
    name = head[len(MAGIC) :][:16].rstrip(b" /")
    return head.startswith(MAGIC) and name in {_FIRST, _FIRST_OF_SPLIT}


def read_container(source: ByteSource, limits: Limits) -> Container:
    """Find the parts of a package.

    :raises UnsupportedError: for formats of before 1995, split packages, versions of the format and
        compressions that came later.
    :raises CorruptError: if a part is missing, cut short or in the wrong place.
    """
    if bytes(source.read_at(0, len(OLD_MAGIC))) == OLD_MAGIC:
        raise UnsupportedError(
            "is a Debian package in the format of before 1995",
            origin=source.origin,
            hint="unpack it with 'dpkg-deb --raw-extract' and build it again with 'dpkg-deb -b'",
        )
    members = ar_members(source, limits)
    version = _version(source, next(members, None))
    extras: list[bytes] = []
    control = _part(_CONTROL, members, extras, source)
    data = _part(_DATA, members, extras, source)
    problem = None
    try:
        extras += [member.name for member in members]
    except ConvertError as error:  # dpkg does not look there at all
        problem = error
    return Container(version, control, data, tuple(extras), problem)


def _version(source: ByteSource, first: ArMember | None) -> str:
    name = first.name if first is not None else b""
    if first is None or name not in {_FIRST, _FIRST_OF_SPLIT}:
        raise CorruptError(
            f"begins with {quoted(name)}, not with {quoted(_FIRST)}", origin=source.origin
        )
    if name == _FIRST_OF_SPLIT:
        raise UnsupportedError(
            "is one part of a Debian package that was split",
            origin=source.origin,
            hint="put the parts together with 'dpkg-split --join'",
        )
    length = min(first.size, _VERSION_BYTES)
    text = bytes(read_exact(source, first.offset, length, "the version of the format"))
    match = _VERSION.match(text)
    if match is None:
        raise CorruptError(
            f"says {quoted(text[:40])} where the version of the format should be",
            origin=source.origin,
            offset=first.offset,
        )
    if int(match[1]) != _MAJOR:
        raise UnsupportedError(
            f"is a Debian package in version {match[0].decode().strip()} of the format",
            origin=source.origin,
            offset=first.offset,
            hint="packages in version 2 can be read",
        )
    return match[0].decode().strip()


def _part(
    name: bytes, members: Iterator[ArMember], extras: list[bytes], source: ByteSource
) -> Part:
    """Return the next member, which has to be that archive; what may come before is noted."""
    for member in members:
        if member.name.startswith(name) and member.name[len(name) :] in _DECODERS:
            return Part(member, *_DECODERS[member.name[len(name) :]])
        if member.name.startswith(name + b"."):
            raise UnsupportedError(
                f"has {quoted(member.name)}, which is compressed in a way that is not known",
                origin=source.origin,
                offset=member.header_offset,
                hint="build it again with 'dpkg-deb -Zxz'",
            )
        if not member.name.startswith(_IGNORABLE):
            raise CorruptError(
                f"has {quoted(member.name)} where {quoted(name)} should be",
                origin=source.origin,
                offset=member.header_offset,
            )
        extras.append(member.name)
    raise CorruptError(
        f"has no {quoted(name)}", origin=source.origin, hint="fetch it again: it may be cut short"
    )
