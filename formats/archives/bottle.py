"""Bottles of Homebrew: programs built for a fixed place, with a receipt.

Specification: Homebrew documentation, "Bottles (Binary Packages)" and "Formula Cookbook"; the
receipt is ``NAME/VERSION/INSTALL_RECEIPT.json``. On Linux the place is
``/home/linuxbrew/.linuxbrew``; ``brew`` puts a bottle into ``Cellar`` there and links it from
``opt`` and ``bin``. It also writes the place over placeholders in files. That is not done here:
programs find their loader by it, so how many files have one is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

from formats.archives.facts import ARCHITECTURE, MACOS, PLATFORM
from formats.archives.member import Content, Member
from formats.archives.member_tree import Contents, MemberTree
from formats.archives.tar_index import inner_path
from formats.core.entry import Kind
from formats.core.finding import Action, Finding
from formats.core.limits import MIB, Limits
from formats.core.origin import Origin, file_origin, printable

_RECEIPT = b"INSTALL_RECEIPT.json"
_PREFIX = b"home/linuxbrew/.linuxbrew"
_CELLAR = _PREFIX + b"/Cellar"
_LINKED_FOLDERS = (b"bin", b"sbin")
_PLACEHOLDER = re.compile(rb"@@HOMEBREW_[A-Z_]{1,32}@@")
_PLACEHOLDER_BYTES = 48
_LOOKED_AT_BYTES = 512 * MIB
_PLATFORMS = {"Macintosh": MACOS, "Linux": "Linux"}


@dataclass(frozen=True, slots=True)
class Receipt(Generic[Content]):
    """A bottle's receipt.

    :ivar folder: ``NAME/VERSION``.
    """

    member: Member[Content]
    folder: bytes
    facts: Mapping[str, str] = field(default_factory=dict)

    def note_placeholders(self, tree: MemberTree[Content], note: Callable[[Finding], None]) -> None:
        """Tell how many files have a placeholder instead of the place they are for."""
        count, left = 0, _LOOKED_AT_BYTES
        evidence = (
            "Homebrew's folders are named by placeholders (@@HOMEBREW_PREFIX@@ …), which 'brew'"
            " replaces when it installs; files that are left so: "
        )
        files = [entry for entry in tree.entries() if entry.kind is Kind.FILE]
        tree.will_read(files)
        for entry in files:
            left -= entry.size
            if left < 0:
                evidence += f"in {_LOOKED_AT_BYTES:,} bytes that were looked at, "
                break
            count += _has_placeholder(map(bytes, tree.read(entry)))
        if count:
            evidence += f"{count:,}"
            note(Finding("homebrew-placeholders", _CELLAR, Action.REPORTED, evidence))


def find_receipt(
    members: Sequence[Member[Content]],
    contents: Contents[Content],
    origin: Origin,
    limits: Limits,
) -> Receipt[Content] | None:
    """Return the receipt of a bottle; None if the archive is none.

    All of a bottle is in one folder of one folder.
    """
    candidates = {
        inner_path(item.path) or b"": item
        for item in members
        if item.path.endswith(b"/" + _RECEIPT)
    }
    receipts = [path for path in candidates if path.count(b"/") == 2]
    if len(receipts) != 1:
        return None
    (path,) = receipts
    member, folder = candidates[path], path.rpartition(b"/")[0]
    if member.size > limits.descriptor_bytes:
        return None
    if not all(_is_part(inner_path(item.path), folder) for item in members):
        return None
    source = contents.open(member.content, file_origin(origin, path))
    data = bytes(source.read_at(0, member.size))
    return Receipt(member, folder, _facts(folder, data))


def _is_part(path: bytes | None, folder: bytes) -> bool:
    """Tell whether a path is the folder, in it, or leads to it."""
    if path is None:
        return False
    leads_there = not path or (folder + b"/").startswith(path + b"/")
    return leads_there or path.startswith(folder + b"/")


def _facts(folder: bytes, data: bytes) -> Mapping[str, str]:
    name, _, version = printable(folder).partition("/")
    facts = {"bottle": f"{name} {version}"}
    try:
        receipt = json.loads(data)
    except (ValueError, RecursionError):
        return facts
    if not isinstance(receipt, dict):
        return facts
    built_on = receipt.get("built_on")
    system = built_on.get("os") if isinstance(built_on, dict) else None
    if isinstance(system, str):
        facts[PLATFORM] = _PLATFORMS.get(system, printable(system))
    if isinstance(receipt.get("arch"), str):
        facts[ARCHITECTURE] = printable(receipt["arch"])
    return facts


def pour(members: Sequence[Member[Content]], receipt: Receipt[Content]) -> list[Member[Content]]:
    """Return a bottle's members where ``brew`` puts them, with the links that it makes."""
    poured = [_moved(member) for member in members]
    return [*poured, *_links(members, receipt)]


def _moved(member: Member[Content]) -> Member[Content]:
    target = member.target
    if target is not None and member.kind is Kind.HARDLINK:
        target = _CELLAR + b"/" + target
    return member._replace(path=_CELLAR + b"/" + member.path, target=target)


def _links(
    members: Sequence[Member[Content]], receipt: Receipt[Content]
) -> Iterator[Member[Content]]:
    name = receipt.folder.partition(b"/")[0]
    keg = b"../Cellar/" + receipt.folder
    yield _link(receipt, b"opt/" + name, keg)
    for member in members:
        path = inner_path(member.path) or b""
        inside = path.removeprefix(receipt.folder + b"/")
        folder, _, program = inside.partition(b"/")
        if folder in _LINKED_FOLDERS and program and b"/" not in program:
            yield _link(receipt, inside, keg + b"/" + inside)


def _link(receipt: Receipt[Content], path: bytes, target: bytes) -> Member[Content]:
    return receipt.member._replace(
        path=_PREFIX + b"/" + path, kind=Kind.SYMLINK, mode=0o777, size=0, target=target, xattrs=()
    )


def _has_placeholder(blocks: Iterator[bytes]) -> bool:
    tail = b""
    for block in blocks:
        if _PLACEHOLDER.search(tail + block if tail else block):
            return True
        tail = block[-_PLACEHOLDER_BYTES:]  # one may lie on both sides of a block's end
    return False
