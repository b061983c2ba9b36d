"""What an archive is made for, told by where things are in it; its tree is put together so.

- An image of LXD or Incus has ``metadata.yaml`` and the tree in ``rootfs/``.
  Specification: LXD documentation, "Image format".
- A bottle of Homebrew has ``NAME/VERSION/INSTALL_RECEIPT.json``: see
  :mod:`formats.archives.bottle`.
- A source tree says how to build what is in it: see :mod:`formats.archives.source_tree`.
- Anything else is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from formats.archives.bottle import find_receipt, pour
from formats.archives.member import Content, Member
from formats.archives.member_tree import Contents, MemberTree
from formats.archives.source_tree import source_tree_facts
from formats.archives.tar_index import inner_path
from formats.core.entry import Kind
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin, printable
from formats.core.tree import TreeInfo

_METADATA = b"metadata.yaml"
_ROOT = b"rootfs"
_METADATA_BYTES = 1 << 16
_METADATA_LINE = re.compile(
    rb"""^[ ]*"?(architecture|description|os|release)"?:[ ]*(.*)$""", re.MULTILINE
)
_AROUND_VALUES = b" \t\r,\"'"
"""YAML, which may be written as JSON."""


def archive_tree(
    members: Iterable[Member[Content]],
    contents: Contents[Content],
    info: TreeInfo,
    origin: Origin,
    limits: Limits,
    note: Callable[[Finding], None],
    *,
    forward_links: bool = False,
) -> MemberTree[Content]:
    """Return the tree of an archive; see :class:`~formats.archives.member_tree.MemberTree`."""
    found = list(members)
    facts: Mapping[str, str] = {}
    receipt = find_receipt(found, contents, origin, limits)
    metadata = _metadata(found)
    if receipt is not None:
        found = pour(found, receipt)
        facts = receipt.facts
    elif metadata is not None:
        found = _root_members(found, note)
        facts = _image_facts(metadata, contents, origin)
    info = replace(info, facts={**info.facts, **facts})
    tree = MemberTree(found, contents, info, origin, limits, note, forward_links=forward_links)
    if receipt is not None:
        receipt.note_placeholders(tree, note)
    elif metadata is None:
        tree.add_facts(source_tree_facts(tree))
    return tree


def _metadata(members: list[Member[Content]]) -> Member[Content] | None:
    """Return what describes an image of LXD; None if this is none."""
    for described in (item for item in members if item.path.endswith(_METADATA)):
        if inner_path(described.path) == _METADATA:
            return described if any(_below_root(item.path) for item in members) else None
    return None


def _below_root(path: bytes) -> bytes | None:
    """Return a path as it is below ``rootfs``, which itself is ``.``; None if it is beside."""
    inner = inner_path(path)
    if inner == _ROOT:
        return b"."
    if inner is not None and inner.startswith(_ROOT + b"/"):
        return inner.removeprefix(_ROOT + b"/")
    return None


def _root_members(
    members: list[Member[Content]], note: Callable[[Finding], None]
) -> list[Member[Content]]:
    found: list[Member[Content]] = []
    beside = 0
    for member in members:
        path = _below_root(member.path)
        if path is None:
            beside += 1
            continue
        target = member.target
        if target is not None and member.kind is Kind.HARDLINK:
            target = _below_root(target) or target
        found.append(member._replace(path=path, target=target))
    evidence = f"describes an LXD image, whose tree is rootfs; {beside} members beside it left out"
    note(Finding("image-metadata", _METADATA, Action.DROPPED, evidence))
    return found


def _image_facts(
    metadata: Member[Content], contents: Contents[Content], origin: Origin
) -> Mapping[str, str]:
    source = contents.open(metadata.content, origin.child(printable(_METADATA)))
    text = bytes(source.read_at(0, _METADATA_BYTES))
    found = {match[1].decode(): match[2] for match in _METADATA_LINE.finditer(text)}
    values = {keyword: found[keyword].strip(_AROUND_VALUES) for keyword in sorted(found)}
    return {f"lxd-{keyword}": printable(value) for keyword, value in values.items() if value}
