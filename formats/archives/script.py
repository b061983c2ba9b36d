"""Lone scripts: files that begin with a shebang, to be put on an image that has the interpreter.

Specification: execve(2), "Interpreter scripts". A script is a tree with one program,
``usr/local/bin/NAME``. What runs it is in :attr:`~formats.core.tree.TreeInfo.facts`; whether a
base has that is for who puts it there. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formats.archives.facts import INTERPRETER, RUNS_WITH
from formats.archives.member import Member
from formats.archives.member_tree import MemberTree
from formats.archives.stored import Place, StoredContents
from formats.core.entry import Kind
from formats.core.errors import UnsupportedError
from formats.core.origin import printable
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature
from formats.core.source import ByteSource
from formats.core.tree import TreeInfo

FORMAT = "script"

_SHEBANG = b"#!"
_SHEBANG_BYTES = 256
"""BINPRM_BUF_SIZE of Linux: what is behind is cut off."""
_NOT_RUN = frozenset({"/usr/bin/vmware"})
"""What VMware writes in front of the descriptions of its machines."""
_ENV = frozenset({"/usr/bin/env", "/bin/env"})
_FOLDER = b"usr/local/bin/"
_NAMELESS = b"script"


@dataclass(frozen=True, slots=True)
class Shebang:
    """What a script's first line says.

    :ivar interpreter: path, as written.
    :ivar argument: the one argument, "" if there is none.
    """

    interpreter: str
    argument: str

    @property
    def program(self) -> str:
        """Name or path of what runs the script, looked for through ``env``."""
        if self.interpreter not in _ENV:
            return self.interpreter
        words = [word for word in self.argument.split() if not _is_option(word)]
        return words[0] if words else self.interpreter


def _is_option(word: str) -> bool:
    return word.startswith("-") or "=" in word


def shebang_of(source: ByteSource) -> Shebang | None:
    """Return what the first line says; None if it is no shebang."""
    head = bytes(source.read_at(0, _SHEBANG_BYTES))
    if not head.startswith(_SHEBANG):
        return None
    line = head[len(_SHEBANG) :].partition(b"\n")[0].strip(b" \t\r")
    interpreter, _, argument = line.replace(b"\t", b" ").partition(b" ")
    if not interpreter or b"\0" in line:
        return None
    return Shebang(printable(interpreter), printable(argument.strip()))


def lone_file(
    source: ByteSource,
    path: bytes,
    info: TreeInfo,
    context: OpenContext,
    *,
    mode: int = 0o755,
) -> MemberTree[Place]:
    """Return a tree with one file, which is the whole source."""
    folders = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
    nothing = (0, 0)
    members = [
        *(Member(folder, Kind.FOLDER, 0o755, nothing) for folder in folders),
        Member(path, Kind.FILE, mode, (0, source.size), size=source.size),
    ]
    contents = StoredContents(source)
    return MemberTree(members, contents, info, source.origin, context.limits, context.note)


def script_tree(
    source: ByteSource,
    shebang: Shebang,
    context: OpenContext,
    facts: Mapping[str, str] | None = None,
) -> MemberTree[Place]:
    """Return the tree of a script."""
    info = TreeInfo(
        FORMAT,
        size_bytes=source.size,
        facts={
            INTERPRETER: shebang.interpreter,
            "shebang": f"#!{shebang.interpreter} {shebang.argument}".rstrip(),
            RUNS_WITH: shebang.program,
            **(facts or {}),
        },
    )
    return lone_file(source, _FOLDER + file_name(source, _NAMELESS), info, context)


def file_name(source: ByteSource, otherwise: bytes) -> bytes:
    """Return the name of the file that a source is, fit to be one in a tree."""
    name = source.origin.parts[-1].encode("utf-8", "surrogateescape")
    name = name.rpartition(b"/")[2].replace(b"\0", b"")[-255:]
    return otherwise if name in {b"", b".", b".."} else name


class ScriptReader:
    """Lone scripts; a shebang decides, whatever the file is named."""

    name = "script"
    category = Category.PACKAGE
    signatures = (Signature(0, _SHEBANG),)
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "script with a shebang",
        extensions=(".sh", ".py", ".pl", ".rb"),
        specification="execve(2)",
        reads="a lone script as /usr/local/bin/NAME, for a base that has its interpreter",
        refuses="scripts with a CR behind the interpreter, which no Linux starts",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        shebang = shebang_of(source)
        return shebang is not None and shebang.interpreter not in _NOT_RUN

    def open(self, source: ByteSource, context: OpenContext) -> MemberTree[Place]:
        """Return the script as a tree.

        :raises UnsupportedError: for one with the line ends of Windows.
        """
        shebang = shebang_of(source)
        line = bytes(source.read_at(0, _SHEBANG_BYTES)).partition(b"\n")[0]
        if shebang is None or line.endswith(b"\r"):
            raise UnsupportedError(
                "is a script with the line ends of Windows, which Linux cannot start",
                origin=source.origin,
                hint="convert it with 'dos2unix'",
            )
        return script_tree(source, shebang, context)


READER = ScriptReader()
