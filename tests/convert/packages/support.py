"""Packages in memory, roots on the way, and scripts that are followed in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from convert.packages.accounts import MINIMAL_PASSWD, AccountBook, minimal_group
from convert.packages.scripts import Reading, follow_script
from convert.packages.system import System
from convert.packages.unpack import unpack
from convert.packages.world import World
from formats.core.entry import Entry
from formats.core.finding import Finding
from formats.core.origin import Origin
from formats.core.package import Package, PackageSystem, Relation, Requirement, Script
from formats.core.source import ByteSource, MemorySource
from formats.core.tree import Tree
from formats.packages.tree import PackageTree
from tests.support.memory_tree import MemoryTree, memory_tree


class OpenableMemoryTree(MemoryTree):
    """A tree in memory whose files can be opened."""

    def open(self, entry: Entry) -> ByteSource:
        return MemorySource(b"".join(self.read(entry)), self.origin)


def openable(tree: MemoryTree) -> OpenableMemoryTree:
    contents = {entry.path: b"".join(tree.read(entry)) for entry in tree.entries() if entry.size}
    return OpenableMemoryTree(list(tree.entries()), contents)


def package(
    name: str,
    files: str = "",
    *,
    system: PackageSystem = PackageSystem.DEB,
    needs: tuple[str, ...] = (),
    scripts: Mapping[str, str] | None = None,
    record: str = "",
    configuration: tuple[bytes, ...] = (),
    owners: Mapping[bytes, tuple[str, str]] | None = None,
    digests: Mapping[bytes, tuple[str, str]] | None = None,
) -> PackageTree:
    """Return a package of amd64 with these files, in the words of :func:`memory_tree`."""
    described = Package(
        system,
        name,
        "1.0-1",
        "amd64",
        requirements=tuple(Requirement((Relation(need),)) for need in needs),
        record=(record or f"Package: {name}\nVersion: 1.0-1\n").encode(),
        configuration=configuration,
        scripts=tuple(
            Script(kind, "/bin/sh", text.encode()) for kind, text in (scripts or {}).items()
        ),
        digests=digests or {},
    )
    return PackageTree(openable(memory_tree(files)), described, owners or {})


@dataclass
class Root:
    """A root that scripts are followed in.

    :ivar findings: all that were made.
    """

    system: System
    findings: list[Finding] = field(default_factory=list)

    def follow(self, text: str, kind: str = "postinst", interpreter: str = "/bin/sh") -> Reading:
        script = Script(kind, interpreter, text.encode("utf-8", "surrogateescape"))
        return follow_script(self.system, package("tool").package, script)

    def left(self, text: str) -> list[str]:
        """Return what of a script is not carried out."""
        return [reason for _, reason in self.follow(text).left]

    def entry(self, path: str) -> Entry:
        item = self.system.item(path, follow=False)
        assert item is not None, path
        return item.entry

    def has(self, path: str) -> bool:
        return self.system.item(path, follow=False) is not None

    def text(self, path: str) -> str:
        item = self.system.item(path)
        assert item is not None, path
        content = self.system.world.content(item.entry.path)
        assert content is not None
        return content.decode()

    def rules(self) -> Iterator[tuple[str, str]]:
        for finding in self.findings:
            yield finding.rule, finding.path.decode()


def root(files: str = "", base: Tree | None = None) -> Root:
    """Return a root with these files, which packages brought; ``base`` is below."""
    findings: list[Finding] = []
    world = World(base, Origin(("root",)))
    accounts = AccountBook(MINIMAL_PASSWD, minimal_group("deb"))
    system = System(world, accounts, findings.append, {"tool": frozenset(), "other": frozenset()})
    if files:
        unpack(system, package("other", files))
    return Root(system, findings)
