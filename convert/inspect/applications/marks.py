"""The files that tell of an application, found in one walk over the names of a tree."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum

from formats.core.entry import Entry, Kind
from formats.core.tree import TreeIndex


class Mark(Enum):
    """What a file may be the sign of."""

    NODE = "package.json"
    VENV = "pyvenv.cfg"
    PYTHON = "manage.py"
    RUBY = "Gemfile"
    DOTNET = "*.runtimeconfig.json"
    JAR = "*.jar"
    WAR = "*.war"
    WEB_XML = "web.xml"
    PROGRAM = "program"


Marks = Mapping[Mark, Sequence[Entry]]

_NAMES: dict[bytes, Mark] = {
    b"package.json": Mark.NODE,
    b"pyvenv.cfg": Mark.VENV,
    b"manage.py": Mark.PYTHON,
    b"wsgi.py": Mark.PYTHON,
    b"asgi.py": Mark.PYTHON,
    b"Gemfile": Mark.RUBY,
    b"config.ru": Mark.RUBY,
    b"web.xml": Mark.WEB_XML,
}
_ENDINGS: dict[bytes, Mark] = {b"jar": Mark.JAR, b"war": Mark.WAR}
_DOTNET = b".runtimeconfig.json"

_PASSED_OVER = re.compile(
    rb"(?:^|/)(?:node_modules|bower_components|site-packages|dist-packages|vendor|gems|\.git|\.m2"
    rb"|\.npm|\.nvm|\.cache|\.gradle|\.cargo|\.rustup|\.vscode-server|__pycache__|testdata)/"
    rb"|(?:^|/)\.?dotnet/(?:sdk|shared|packs|host|tools)/"
    rb"|^(?:usr/(?:share|lib|lib32|lib64|libexec|src|include)|lib|proc|sys|dev|run|tmp|boot|nix|snap"
    rb"|var/(?:cache|tmp|lib/(?:docker|containers|containerd|snapd|flatpak|dpkg|rpm|lxc|lxd)))/"
)
"""Libraries, what packages bring, and other systems: nothing that was installed for itself."""

_OWN_PLACES = (b"opt/", b"srv/", b"usr/local/", b"home/", b"root/", b"app/", b"data/")
"""Where programs of nobody's package are."""
_PROGRAM_BYTES = 4096
"""No program that is worth its name is smaller."""
_PROGRAM_DEPTH = 5
_NO_PROGRAM = re.compile(rb"\.(?:so(?:\.[\d.]+)?|a|o|py|pl|sh|rb|js|php|txt|md|class|ko)$|/lib\w*/")
_MARKS_MAX = 500
"""Of each kind; a server has a handful."""


def find_marks(index: TreeIndex) -> Marks:
    """Return the files of each kind, in the tree's order."""
    found: dict[Mark, list[Entry]] = defaultdict(list)
    for entry in index.entries():
        path = entry.path
        name = path[path.rfind(b"/") + 1 :]
        mark = _NAMES.get(name) or _ENDINGS.get(name[name.rfind(b".") + 1 :])
        if mark is None:
            if path.startswith(_OWN_PLACES) and _may_be_program(entry):
                mark = Mark.PROGRAM
            elif name.endswith(_DOTNET):
                mark = Mark.DOTNET
            else:
                continue
        if entry.kind in {Kind.FILE, Kind.HARDLINK} and not _PASSED_OVER.search(path):
            marked = found[mark]
            if len(marked) < _MARKS_MAX:
                marked.append(entry)
    return found


def _may_be_program(entry: Entry) -> bool:
    return (
        entry.kind is Kind.FILE
        and entry.mode & 0o111 > 0
        and entry.size >= _PROGRAM_BYTES
        and entry.path.count(b"/") <= _PROGRAM_DEPTH
        and not _NO_PROGRAM.search(entry.path)
    )
