"""What the finders of applications share: the tree, its services, and files read at any place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from convert.inspect.applications.marks import Marks
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Command, Service
from convert.inspect.guest import Guest
from convert.inspect.installed import Installed
from convert.inspect.text import can_be_said
from formats.core.entry import Entry, Kind
from formats.core.inner import DelegatingTree
from formats.core.limits import MIB
from formats.core.origin import file_origin
from formats.core.source import ByteSource, MemorySource
from formats.core.tree import OpenableTree, Tree

_READ_WHOLE_BYTES = 64 * MIB
"""Of a file in a tree that is read in order only; in others any size costs nothing."""
_READ_WHOLE_TOTAL = 256 * MIB
_TEXT_MAX = 300


@dataclass(slots=True)
class Context:
    """One guest on the way to its applications.

    :ivar runtimes: those that were looked for, by name.
    :ivar services: those that start; an application that one of them runs is started like that.
    """

    guest: Guest
    marks: Marks
    installed: Installed
    services: Sequence[Service] = ()
    runtimes: dict[str, str | None] = field(default_factory=dict)
    _bytes_left: int = field(default=_READ_WHOLE_TOTAL)

    def source(self, entry: Entry) -> ByteSource | None:
        """Return a file to be read at any place; None where that would mean to read too much."""
        tree: Tree = self.guest.index.tree
        while isinstance(tree, DelegatingTree):
            tree, entry = tree.underlying(entry)
        if isinstance(tree, OpenableTree):
            return tree.open(entry)
        if entry.size > min(_READ_WHOLE_BYTES, self._bytes_left):
            return None
        self._bytes_left -= entry.size
        data = b"".join(tree.read(entry))
        return MemorySource(data, file_origin(tree.origin, entry.path))

    def is_file(self, path: bytes) -> bool:
        """Tell whether a path leads to a file."""
        entry = self.guest.index.resolve(path)
        return entry is not None and entry.kind in {Kind.FILE, Kind.HARDLINK}

    def started_by_service(self, folder: bytes, word: str = "") -> Command | None:
        """Return the command of the first service that runs something of a folder, or a program.

        :param word: that has to end one of the command's words as well.
        """
        path = f"/{text_of(folder)}"
        inside = re.compile(rf"(?:^|[\s=:,]){re.escape(path)}(?:/|\s|$)")
        for service in self.services:
            for command in service.start:
                names = " ".join((*command.argv, service.working_dir or ""))
                if inside.search(names) and any(item.endswith(word) for item in command.argv):
                    return command
        return None


def text_of(path: bytes) -> str:
    """Return a path as text; what is not UTF-8 as lone surrogates."""
    return path.decode("utf-8", "surrogateescape")


def name_of(folder: bytes, otherwise: str = "application") -> str:
    """Return the name of a folder, for an application that has none of its own."""
    name = text_of(folder.rpartition(b"/")[2])
    return name if name and can_be_said(name) else otherwise


def sayable(value: object) -> str | None:
    """Return a value of someone's metadata if it is a text that can be shown, shortened."""
    if not isinstance(value, str) or not value.strip() or not can_be_said(value):
        return None
    return value.strip()[:_TEXT_MAX]


def json_object(text: str | None) -> Mapping[str, object] | None:
    """Return the object that a text is; None for all else, however deep it is."""
    try:
        found = json.loads((text or "").removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def member(found: Mapping[str, object] | None, name: str) -> Mapping[str, object]:
    """Return an object inside of one; an empty one where there is none."""
    inner = (found or {}).get(name)
    return inner if isinstance(inner, dict) else {}


def evidence_of(entry: Entry, text: str | None, pattern: str, rule: str) -> Evidence:
    """Return where a file says something: the first line that a pattern is found in."""
    match = re.search(pattern, text or "")
    line = (text or "").count("\n", 0, match.start()) + 1 if match is not None else None
    return Evidence(entry.path, line, rule)


def words_of(command: str) -> tuple[str, ...]:
    """Return the words of a command that needs no shell; of others one that starts a shell."""
    words = tuple(command.split())
    if not words or not can_be_said(command):
        return ()
    if re.search(r"[$`|;&<>(){}*?\"'\\~]", command) or "=" in words[0]:
        return ("/bin/sh", "-c", command)
    return words


def below(entry: Entry, *names: bytes) -> bytes:
    """Return a path beside an entry."""
    return b"/".join(filter(None, (entry.parent, *names)))
