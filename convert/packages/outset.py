"""What a root begins with: the base's users and alternatives, or those that packages bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convert.packages.accounts import MINIMAL_PASSWD, AccountBook, minimal_group
from convert.packages.alternatives import Alternatives, parse_record
from convert.packages.fixed_ids import DEBIAN, RED_HAT
from convert.packages.system import System
from convert.packages.world import World
from formats.core.entry import Kind
from formats.core.finding import Action, Finding
from formats.core.limits import MIB
from formats.core.package import PackageSystem
from formats.packages.tree import PackageTree

PASSWD, GROUP = b"etc/passwd", b"etc/group"
SHADOW, GSHADOW = b"etc/shadow", b"etc/gshadow"
_MASTER = b"usr/share/base-passwd/"
_SOURCES = (
    (_MASTER + b"passwd.master", _MASTER + b"group.master"),
    (PASSWD, GROUP),
)
"""Where packages have the first users and groups: base-passwd, setup."""

_ALTERNATIVES = b"var/lib/dpkg/alternatives"
_NEEDED: tuple[tuple[bytes, Kind, int, bytes | None], ...] = (
    (b"root", Kind.FOLDER, 0o700, None),
    (b"run", Kind.FOLDER, 0o755, None),
    (b"tmp", Kind.FOLDER, 0o1777, None),
    (b"var/run", Kind.SYMLINK, 0o777, b"../run"),
    (b"var/tmp", Kind.FOLDER, 0o1777, None),
)
"""What every system has and no library or program brings."""

_UNIVERSAL = frozenset({"all", "noarch", ""})


def new_system(
    world: World, packages: Sequence[PackageTree], note: Callable[[Finding], None]
) -> System:
    """Return a root as it is before anything is put into it."""
    described = [package.package for package in packages]
    architectures = (package.architecture for package in described)
    return System(
        world,
        _accounts(world, packages),
        note,
        {package.name: _replaced(package.record) for package in described},
        next((name for name in architectures if name not in _UNIVERSAL), "all"),
        {package.name: package for package in described},
        _alternatives(world),
    )


def _accounts(world: World, packages: Sequence[PackageTree]) -> AccountBook:
    is_rpm = any(package.package.system is PackageSystem.RPM for package in packages)
    fixed = RED_HAT if is_rpm else DEBIAN
    texts = (world.content(PASSWD), world.content(GROUP))
    if texts[0] is not None:
        locked = "x" if world.get(SHADOW) is not None else "*"
        return AccountBook(_text(texts[0]), _text(texts[1] or b""), locked, fixed)
    for names in _SOURCES:
        for package in packages:
            passwd, group = (_content(package, name) for name in names)
            if passwd is not None and group is not None:
                return AccountBook(_text(passwd), _text(group), fixed=fixed)
    return AccountBook(MINIMAL_PASSWD, minimal_group("rpm" if is_rpm else "deb"), fixed=fixed)


def _content(package: PackageTree, path: bytes) -> bytes | None:
    for entry in package.entries():
        if entry.path == path and entry.kind is Kind.FILE and entry.size <= MIB:
            return b"".join(package.read(entry))
    return None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _replaced(record: bytes) -> frozenset[str]:
    """Return the names in the field ``Replaces`` of a control stanza; none in an rpm's header."""
    value: list[bytes] = []
    if not record.startswith((b"\0", b"\x8e")):
        for line in record.split(b"\n"):
            if value and line[:1] in {b" ", b"\t"}:
                value.append(line)
            elif line.lower().startswith(b"replaces:"):
                value = [line.partition(b":")[2]]
            elif value:
                break
    names = b" ".join(value).split(b",")
    return frozenset(_text(words[0]).partition(":")[0] for name in names if (words := name.split()))


def _alternatives(world: World) -> Alternatives:
    found = Alternatives()
    for item in world.children(_ALTERNATIVES):
        content = world.content(item.entry.path)
        name = _text(item.entry.name)
        known = None if content is None else parse_record(name, _text(content))
        if known is not None:
            found.know(known)
    return found


def make_needed(system: System) -> None:
    """Make the folders that every system has and nothing has brought."""
    made: list[str] = []
    for path, kind, mode, target in _NEEDED:
        if system.world.get(path) is None:
            system.world.make(path, kind, mode, target=target)
            made.append("/" + path.decode())
    if made:
        evidence = f"{', '.join(made)}: no package brings them"
        system.told("package-root", b"", Action.ADDED, evidence)
    if system.world.find(b"etc/os-release") is None:
        evidence = (
            "nothing says which distribution it is, so scanners look for no vulnerabilities in its"
            " packages: add the package that has /etc/os-release (base-files, for Debian)"
        )
        system.told("package-root", b"etc/os-release", Action.REPORTED, evidence)
