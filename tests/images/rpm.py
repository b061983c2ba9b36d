"""Packages made by rpmbuild, and packages made by hand from the format's documentation."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import need, run

MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
INT16, INT32, INT64, STRING, BINARY, STRING_ARRAY = 3, 4, 5, 6, 7, 8
_SIZES = {INT16: 2, INT32: 4, INT64: 8}

PAYLOADS = {
    "none": "w.ufdio",
    "gzip": "w6.gzdio",
    "bzip2": "w9.bzdio",
    "lzma": "w2.lzdio",
    "xz": "w2.xzdio",
    "zstd": "w3.zstdio",
}
"""Name of a compression → what ``%_binary_payload`` calls it."""

_DEFINES = {
    "_build_id_links": "none",
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "_invalid_encoding_terminates_build": "0",
    "source_date_epoch_from_changelog": "0",
    "_buildhost": "builder.example.org",
}


def rpmbuild(
    folder: Path, spec: str, *, payload: str = "gzip", source: bool = False, timeout: float = 60
) -> Path:
    """Build a package and return its file; ``folder`` has no package yet."""
    need("rpmbuild", "cpio")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "package.spec"
    path.write_bytes(spec.encode("utf-8", "surrogateescape"))
    defines = {
        **_DEFINES,
        "_topdir": str(folder),
        "_binary_payload": PAYLOADS[payload],
        "_source_payload": PAYLOADS[payload],
    }
    options = [word for name, value in defines.items() for word in ("-D", f"{name} {value}")]
    run("rpmbuild", "-bs" if source else "-bb", *options, path, timeout=timeout)
    (built,) = folder.glob("SRPMS/*.rpm" if source else "RPMS/*/*.rpm")
    return built


EVERYTHING = r"""
Name: everything
Epoch: 2
Version: 1.5~rc1
Release: 3
Summary: All that a package can have
License: MIT
URL: https://example.org/everything
Vendor: Example
AutoReqProv: no
Provides: virtual = 4:2.0-1
Provides: mail-transport
Requires: /bin/sh
Requires: libfoo.so.1()(64bit)
Requires: other >= 1:2.0
Requires: (one or (two and three >= 4))
Requires: (four if five)
Requires(pre): shadow
Recommends: wished-for
Suggests: (a or b)
Conflicts: enemy < 3
Obsoletes: elder <= 1
%description
Everything.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/everything %{buildroot}/usr/share/everything/deep
cd %{buildroot}/usr/share/everything
printf 'linked' > link-1; ln link-1 link-2; ln link-1 deep/link-3
: > empty-1; ln empty-1 empty-2
ln -s link-1 relative; ln -s /etc/everything absolute; ln -s ../nowhere dangling
: > "a file with spaces"; printf x > "$(printf 'caf\303\251')"; printf y > "$(printf 'latin-\351')"
printf z > "$(printf 'n%.0s' $(seq 240))"
seq 1 60000 > numbers; dd if=/dev/zero of=zeros bs=1024 count=300 2>/dev/null
touch -d @1 old; touch -d @2147483648 late
mkfifo pipe
cd %{buildroot}/usr/bin; printf '#!/bin/sh\n' > tool; cp tool capable
printf 'key=1\n' > %{buildroot}/etc/everything/main.conf
mkdir %{buildroot}/etc/everything-x; : > %{buildroot}/etc/everything-x/after
%pre
getent group everything >/dev/null || groupadd -r everything
%post -p <lua>
print("installed")
%preun -p /usr/bin/python3
pass
%pretrans -p <lua>
print("before")
%triggerin -- sendmail < 8.14, postfix
echo trigger
%triggerun -- sendmail
echo untrigger
%filetriggerin -- /usr/lib /lib
echo file
%transfiletriggerin -p /bin/bash -- /usr/share/icons
echo transaction
%files
%dir %attr(1770, root, everything) /etc/everything
%config(noreplace) %attr(0640, root, everything) /etc/everything/main.conf
/etc/everything-x
%attr(4755, root, root) /usr/bin/tool
%caps(cap_net_raw,cap_net_admin=ep) /usr/bin/capable
%dir /usr/share/everything
/usr/share/everything/*
%ghost /var/log/everything.log
%ghost %config /etc/everything/ghost.conf
%dev(c, 1, 3) %attr(0666, root, root) /dev/everything-null
%dev(b, 7, 200) %attr(0660, root, disk) /dev/everything-loop
"""


def small_spec(name: str, version: str = "1-1", *lines: str) -> str:
    """Return a package of one file, with further lines in its preamble."""
    number, _, release = version.partition("-")
    preamble = "\n".join(lines)
    return f"""
Name: {name}
Version: {number}
Release: {release}
Summary: {name}
License: MIT
BuildArch: noarch
AutoReqProv: no
{preamble}
%description
{name}
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo {name} > %{{buildroot}}/usr/share/{name}/file
%files
/usr/share/{name}
"""


@dataclass(frozen=True)
class Tag:
    """A tag and its value; ``offset`` and ``count`` are only given to lie about them."""

    number: int
    kind: int
    values: Sequence[int] | Sequence[bytes] | bytes
    offset: int | None = None
    count: int | None = None


def numbers(tag: int, kind: int, *values: int) -> Tag:
    """Return a tag of numbers."""
    return Tag(tag, kind, values)


def string(tag: int, value: str) -> Tag:
    """Return a tag of one string."""
    return Tag(tag, STRING, [value.encode()])


def strings(tag: int, *values: str) -> Tag:
    """Return a tag of strings."""
    return Tag(tag, STRING_ARRAY, [value.encode() for value in values])


def header(tags: Sequence[Tag], region: int | None = None) -> bytes:
    """Return a header structure with its magic."""
    store = bytearray()
    entries = []
    for tag in sorted(tags, key=lambda tag: tag.number):
        data, count = _value(tag)
        store += bytes(-len(store) % _SIZES.get(tag.kind, 1))
        offset = len(store) if tag.offset is None else tag.offset
        count = count if tag.count is None else tag.count
        entries.append(struct.pack(">IIiI", tag.number, tag.kind, offset, count))
        store += data
    if region is not None:
        size = 16 * (len(entries) + 1)
        entries.insert(0, struct.pack(">IIiI", region, BINARY, len(store), 16))
        store += struct.pack(">IIiI", region, BINARY, -size, 16)
    return MAGIC + struct.pack(">II", len(entries), len(store)) + b"".join(entries) + bytes(store)


def _value(tag: Tag) -> tuple[bytes, int]:
    if isinstance(tag.values, bytes):
        return tag.values, len(tag.values)
    if tag.kind in _SIZES:
        size = _SIZES[tag.kind]
        parts = [int(value).to_bytes(size, "big") for value in tag.values]
    else:
        parts = [bytes(value) + b"\0" for value in tag.values]
    return b"".join(parts), len(parts)


@dataclass(frozen=True)
class File:
    """A file of a package that is made by hand."""

    path: str
    content: bytes = b""
    mode: int = 0o100644
    target: str = ""
    inode: int = 0
    size: int | None = None
    digest: str | None = None
    flags: int = 0
    capabilities: str = ""


@dataclass(frozen=True)
class HandMade:
    """A package that is made by hand.

    :ivar members: of the payload; None for those that fit ``files``.
    :ivar replaced: tags to put in the place of the right ones; None to leave one out.
    """

    files: Sequence[File] = ()
    stripped: bool = False
    archive: bytes | None = None
    replaced: Mapping[int, Tag | None] = field(default_factory=dict)
    signature: Sequence[Tag] | None = None
    is_packed: bool = True

    def build(self) -> bytes:
        """Return the file."""
        archive = self.archive if self.archive is not None else payload(self.files, self.stripped)
        packed = gzip.compress(archive, 1, mtime=0) if self.is_packed else archive
        tags = {tag.number: tag for tag in self._tags(packed)}
        for number, tag in self.replaced.items():
            if tag is None:
                tags.pop(number, None)
            else:
                tags[number] = tag
        main = header(list(tags.values()), 63)
        signature = self.signature
        if signature is None:
            signature = [
                string(269, hashlib.sha1(main, usedforsecurity=False).hexdigest()),
                string(273, hashlib.sha256(main).hexdigest()),
                numbers(1000, INT32, len(main) + len(packed)),
                Tag(1004, BINARY, hashlib.md5(main + packed, usedforsecurity=False).digest()),
            ]
        front = lead() + header(list(signature), 62)
        return front + bytes(-len(front) % 8) + main + packed

    def _tags(self, packed: bytes) -> list[Tag]:
        files = self.files
        folders = sorted({file.path.rpartition("/")[0] + "/" for file in files})
        tags = [
            string(1000, "handmade"),
            string(1001, "1"),
            string(1002, "1"),
            string(1004, "made by hand"),
            string(1014, "MIT"),
            string(1021, "linux"),
            string(1022, "noarch"),
            string(1044, "handmade-1-1.src.rpm"),
            string(1124, "cpio"),
            string(1125, "gzip"),
            strings(5092, hashlib.sha256(packed).hexdigest()),
            numbers(5093, INT32, 8),
        ]
        if not files:
            return tags
        sizes = [len(file.content) if file.size is None else file.size for file in files]
        return [
            *tags,
            strings(1118, *folders),
            strings(1117, *(file.path.rpartition("/")[2] for file in files)),
            numbers(
                1116, INT32, *(folders.index(file.path.rpartition("/")[0] + "/") for file in files)
            ),
            numbers(5008, INT64, *sizes) if self.stripped else numbers(1028, INT32, *sizes),
            numbers(1030, INT16, *(file.mode for file in files)),
            numbers(1033, INT16, *(0 for _ in files)),
            numbers(1034, INT32, *(1_700_000_000 for _ in files)),
            strings(1035, *map(_digest, files)),
            strings(1036, *(file.target for file in files)),
            numbers(1037, INT32, *(file.flags for file in files)),
            strings(1039, *("root" for _ in files)),
            strings(1040, *("root" for _ in files)),
            numbers(1095, INT32, *(1 for _ in files)),
            numbers(1096, INT32, *(file.inode or 1000 + n for n, file in enumerate(files))),
            strings(5010, *(file.capabilities for file in files)),
            numbers(5011, INT32, 8),
        ]


def _digest(file: File) -> str:
    if file.digest is not None:
        return file.digest
    is_regular = file.mode & 0o170000 == 0o100000
    return hashlib.sha256(file.content).hexdigest() if is_regular else ""


def lead(*, major: int = 3, kind: int = 0, signature_type: int = 5) -> bytes:
    """Return a lead."""
    return struct.pack(
        ">4sBBhh66shh16x", b"\xed\xab\xee\xdb", major, 0, kind, 1, b"handmade", 1, signature_type
    )


def payload(files: Sequence[File], stripped: bool = False) -> bytes:
    """Return the archive; of several links of one inode, the last has the content."""
    last = {file.inode: number for number, file in enumerate(files) if file.inode}
    archive = b""
    for number, file in enumerate(files):
        if file.flags & 64:
            continue
        content = file.target.encode() or file.content
        if file.inode and last[file.inode] != number:
            content = b""
        start = b"07070X%08x\0\0" % number if stripped else new_header(f".{file.path}", content)
        archive += start + content + bytes(-len(content) % 4)
    return archive + new_header("TRAILER!!!", b"")


def new_header(name: str, content: bytes, *, size: int | None = None) -> bytes:
    """Return the header of a member in the "new ASCII" format, its name included."""
    raw = name.encode() + b"\0"
    fields = [0] * 13
    fields[4] = 1
    fields[6] = len(content) if size is None else size
    fields[11] = len(raw)
    start = b"070701" + b"".join(b"%08x" % value for value in fields) + raw
    return start + bytes(-len(start) % 4)
