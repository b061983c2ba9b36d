"""Zip archives: as trees, as one program for Python or Java, or as what is around disks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from formats.archives.facts import INTERPRETER, RUNS_WITH
from formats.archives.layouts import archive_tree
from formats.archives.script import file_name, lone_file, script_tree, shebang_of
from formats.archives.zip.contents import ZipContents
from formats.archives.zip.directory import Directory
from formats.archives.zip.ending import Ending, find_ending, has_ending
from formats.bundles.disk_names import DISK_ENDINGS
from formats.core.errors import ConvertError, UnsupportedError
from formats.core.finding import Action, Finding
from formats.core.glance import may_be_zip
from formats.core.origin import printable
from formats.core.reader import (
    Category,
    OpenContext,
    Opened,
    ReaderDoc,
    Signature,
    Volumes,
)
from formats.core.source import ByteSource
from formats.core.tree import Tree, TreeInfo

_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK00PK\x03\x04", b"PK\x07\x08PK\x03\x04")
_DIRECTORY_MAGIC = b"PK\x01\x02"
_DISK_ENDINGS = (*DISK_ENDINGS, b".ova", b".ovf", b".vmx")
_ZIPAPP = b"__main__.py"
_MANIFEST = b"META-INF/MANIFEST.MF"
_MAIN_CLASS = re.compile(rb"^Main-Class: *([^\r\n]+)", re.MULTILINE)
_JAVA_FOLDER = b"usr/local/lib/"


class ZipReader:
    """Zip archives, with or without a program in front that unpacks them."""

    name = "zip"
    category = Category.ARCHIVE
    signatures: tuple[Signature, ...] = ()  # what is in front may be anything
    supersedes = frozenset({"inno-setup", "installshield", "pe", "script"})
    doc = ReaderDoc(
        "zip archive",
        extensions=(".zip", ".zipx", ".jar", ".pyz"),
        specification="PKWARE APPNOTE 6.3.10; Info-ZIP extrafld.txt",
        reads="stored, deflate, bzip2, LZMA, Zstandard and xz members, Zip64, modes, owners and"
        " symlinks of Unix, self-extracting archives; zipapps and Java programs as one file each;"
        " appliances, machines and disk images where the archive is for them",
        refuses="encrypted members; Deflate64, PPMd, Implode and rarer methods; archives in parts;"
        " members that overlap, or that two headers describe differently",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`.

        Behind something else, the end of an archive must be the end of the file. The glance has
        made sure that this is no disk with an archive in its last sectors.
        """
        head = bytes(source.read_at(0, 8))
        if head.startswith(_STARTS):
            return True
        return may_be_zip(source) and has_ending(source) and _has_directory(source)

    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        """Read the central directory.

        :raises EncryptedError: for encrypted members.
        :raises UnsupportedError: for members in a form that is not read.
        :raises CorruptError: for damaged archives, and those that say two things.
        """
        ending = find_ending(source)
        directory = Directory(source, ending, context.limits)
        contents = ZipContents(source, context)
        _note(source, ending, context)
        shebang = shebang_of(source)
        if shebang is not None and _ZIPAPP in directory.names:
            return script_tree(source, shebang, context, {"zipapp": printable(_ZIPAPP)})
        main_class = _main_class(directory, contents, context)
        if main_class is not None:
            info = TreeInfo("jar", size_bytes=source.size, facts=main_class)
            path = _JAVA_FOLDER + file_name(source, b"program.jar")
            return lone_file(source, path, info, context, mode=0o644)
        tree = archive_tree(
            directory.members(contents, context.note),
            contents,
            TreeInfo("zip", size_bytes=source.size),
            source.origin,
            context.limits,
            context.note,
        )
        return _disks(tree, context) or tree


def _disks(tree: Tree, context: OpenContext) -> Volumes | None:
    """Return the machines or disks that an archive is for; None for all others."""
    if not any(entry.path.lower().endswith(_DISK_ENDINGS) for entry in tree.entries()):
        return None
    from formats.bundles.tree_disks import tree_disks  # noqa: PLC0415 - few archives are for disks

    return tree_disks(tree, context)


def _has_directory(source: ByteSource) -> bool:
    try:
        ending = find_ending(source)
    except UnsupportedError:  # the last of several parts, which open() refuses
        return True
    except ConvertError:
        return False
    head = bytes(source.read_at(ending.offset, len(_DIRECTORY_MAGIC)))
    return not ending.length or head == _DIRECTORY_MAGIC


def _note(source: ByteSource, ending: Ending, context: OpenContext) -> None:
    where = str(source.origin).encode()
    if ending.prefix_bytes:
        evidence = f"{ending.prefix_bytes:,} bytes are in front of the archive; not run, not read"
        context.note(Finding("leading-data", where, Action.REPORTED, evidence))
    if ending.trailing_bytes:
        evidence = f"{ending.trailing_bytes:,} bytes follow the zip archive; not read"
        context.note(Finding("trailing-data", where, Action.REPORTED, evidence))


def _main_class(
    directory: Directory, contents: ZipContents, context: OpenContext
) -> Mapping[str, str] | None:
    """Return the facts of a program for Java; None if this is none."""
    manifest = directory.find(_MANIFEST)
    if manifest is None or manifest.size > context.limits.descriptor_bytes:
        return None
    match = _MAIN_CLASS.search(b"".join(contents.read(manifest)))
    if match is None:
        return None
    return {"main-class": printable(match[1].strip()), INTERPRETER: "java", RUNS_WITH: "java"}


READER = ZipReader()
