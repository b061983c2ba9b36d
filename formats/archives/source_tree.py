"""Source trees: archives that say how to build what they hold, and hold nothing that is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from formats.archives.facts import SOURCE_TREE
from formats.archives.member import Content
from formats.archives.member_tree import MemberTree
from formats.core.entry import Entry, Kind
from formats.core.origin import printable

_BUILD_FILES = frozenset(
    {
        b"BUILD.bazel",
        b"CMakeLists.txt",
        b"Cargo.toml",
        b"GNUmakefile",
        b"Makefile",
        b"Makefile.am",
        b"Makefile.in",
        b"SConstruct",
        b"autogen.sh",
        b"build.gradle",
        b"build.xml",
        b"configure",
        b"configure.ac",
        b"go.mod",
        b"makefile",
        b"meson.build",
        b"pom.xml",
        b"pyproject.toml",
        b"setup.py",
        b"wscript",
    }
)
_STARTED_BY = b"Procfile"
"""What has it can be started as it is, whatever else it is built with."""
_BUILT_ENDINGS = (b".so", b".jar", b".war", b".exe", b".dll", b".dylib", b".a", b".o", b".class")
_BUILD_HELPERS = frozenset({b"gradle-wrapper.jar", b"maven-wrapper.jar"})
"""Built, and in many source trees all the same."""
_ELF = b"\x7fELF"
_LOOKED_AT = 256
"""Programs of which the first bytes are read."""


def source_tree_facts(tree: MemberTree[Content]) -> Mapping[str, str]:
    """Return what shows that a tree is only a source tree; nothing if it is none.

    What counts is at the top, or in the one folder that is there.
    """
    tops = [entry for entry in tree.entries() if entry.path and b"/" not in entry.path]
    if len(tops) == 1 and tops[0].kind is Kind.FOLDER:
        prefix = tops[0].path + b"/"
        tops = [
            entry
            for entry in tree.entries()
            if entry.path.startswith(prefix) and entry.path.count(b"/") == 1
        ]
    names = {entry.name for entry in tops if entry.kind is Kind.FILE}
    seen = sorted(names & _BUILD_FILES)
    if not seen or _STARTED_BY in names or any(_built(tree)):
        return {}
    return {SOURCE_TREE: ", ".join(printable(name) for name in seen)}


def _built(tree: MemberTree[Content]) -> Iterator[bool]:
    programs: list[Entry] = []
    for entry in tree.entries():
        if entry.kind is not Kind.FILE:
            continue
        yield entry.name.endswith(_BUILT_ENDINGS) and entry.name not in _BUILD_HELPERS
        if entry.mode & 0o111 and entry.size >= len(_ELF):
            programs.append(entry)
    for entry in programs[:_LOOKED_AT]:
        first = next(tree.read(entry), b"")
        yield bytes(first[: len(_ELF)]) == _ELF
