"""Why there is no root: what the volumes are instead, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from convert.inspect.other_systems import other_system
from convert.select.survey import Content, Survey
from formats.core.errors import (
    AmbiguousError,
    ConvertError,
    EncryptedError,
    UnsupportedError,
    quoted,
)
from formats.core.limits import MIB
from formats.core.opener import Node
from formats.core.origin import Origin, printable
from formats.core.source import ByteSource
from formats.recognised.row import RecognisedFormat

_SYSTEMS = re.compile(
    r"\b(FreeBSD|OpenBSD|NetBSD|DragonFly|Solaris|MINIX|BeOS|QNX|Plan 9|HP-UX|Haiku)\b"
)
"""Systems that the types of partitions name."""
_NAMES_SHOWN = 5
_BLANK_CHECK_BYTES = 64 * MIB
"""How much of a volume is read to say that it is blank."""


def no_root(survey: Survey) -> ConvertError:
    """Return the error for an artifact without a Linux root.

    What could have been the root decides its class: damage first, then encryption, then formats
    that are not read; what certainly belongs to another system comes after.
    """
    leaves = survey.leaves()
    systems = _systems(survey)
    for group in _by_weight(survey.obstacles(), systems):
        if len(group) == 1 and len(leaves) == 1:
            return group[0][1]
        if group:
            return _unreadable(survey, group)
    return _other_system(survey, systems) or _nothing_there(survey)


def several_roots(survey: Survey, candidates: Sequence[tuple[Node, str]]) -> AmbiguousError:
    """Return the error for several systems; each candidate is a volume and what is in it."""
    named = [(survey.names.name(node), title) for node, title in candidates]
    return AmbiguousError(
        f"holds {len(named)} systems: " + ", ".join(f"{name} ({title})" for name, title in named),
        origin=_origin(survey),
        hint="choose one: " + " or ".join(_option(name) for name, _ in named),
    )


def several_volumes(survey: Survey, wanted: str, nodes: Sequence[Node]) -> AmbiguousError:
    """Return the error for a name that means several volumes."""
    names = [survey.names.name(node) for node in nodes]
    return AmbiguousError(
        f"{quoted(wanted)} means {len(names)} volumes: {', '.join(names)}",
        origin=_origin(survey),
        hint="choose one: " + " or ".join(map(_option, names)),
    )


def no_volume(survey: Survey, wanted: str) -> UnsupportedError:
    """Return the error for a name that means nothing here."""
    names = [
        f"{survey.names.name(content.node)} ({_what(survey, content.node)})"
        for content in survey.contents()
    ]
    return UnsupportedError(
        f"has no volume {quoted(wanted)}",
        origin=_origin(survey),
        hint=f"there is {', '.join(names)}" if names else "no volume in it can be read",
    )


def refuse_other_system(survey: Survey, root: Content) -> None:
    """Refuse what can be read, and cannot run in a Linux container.

    :raises UnsupportedError: if the volume belongs to another system.
    """
    system = other_system(root.index)
    if system is not None:
        raise _not_linux(survey, root, system)
    reader = root.node.reader
    if root.is_root or not isinstance(reader, RecognisedFormat) or reader.family is None:
        return
    name = survey.names.name(root.node)
    raise UnsupportedError(
        f"belongs to {reader.family}, not to Linux: {name} is {reader.title}",
        origin=root.node.origin,
        hint=f"'convert export --raw {_option(name)}' gives the files of the volume",
    )


def _not_linux(survey: Survey, content: Content, system: str) -> UnsupportedError:
    name = survey.names.name(content.node)
    return UnsupportedError(
        f"holds {system}, which does not run in a Linux container",
        origin=content.node.origin,
        hint=f"'convert export --raw {_option(name)}' gives the files of the volume",
    )


def choose_volume(survey: Survey) -> ConvertError:
    """Return the error for an artifact without a root but with several volumes to look into."""
    names = [survey.names.name(content.node) for content in survey.contents()]
    unread = told(survey, survey.obstacles())
    return AmbiguousError(
        f"has no Linux root that can be read; files are in {', '.join(names)}"
        f"{f' ({unread})' if unread else ''}",
        origin=_origin(survey),
        hint="choose one: " + " or ".join(map(_option, names)),
    )


def told(survey: Survey, problems: Sequence[tuple[Node, ConvertError]]) -> str:
    """Return in words why volumes cannot be read."""
    return "; ".join(f"{survey.names.name(node)}: {problem.message}" for node, problem in problems)


def _option(name: str) -> str:
    return f"--root '{name}'" if re.search(r"[^\w:/.@+-]", name) else f"--root {name}"


def _origin(survey: Survey) -> Origin:
    nodes = survey.artifact.nodes
    files = [node.origin for node in nodes if not node.members]
    return files[0] if len(files) == 1 else Origin((", ".join(map(str, files)),))


def _by_weight(
    problems: Sequence[tuple[Node, ConvertError]], systems: Mapping[int, str]
) -> Iterator[list[tuple[Node, ConvertError]]]:
    """Yield the problems by what they say about the chance that there was a Linux root."""
    yield [item for item in problems if not isinstance(item[1], UnsupportedError)]
    refused = [item for item in problems if id(item[0]) not in systems]
    yield [item for item in refused if isinstance(item[1], EncryptedError)]
    yield refused


def _unreadable(survey: Survey, group: Sequence[tuple[Node, ConvertError]]) -> ConvertError:
    first = group[0][1]
    return type(first)(
        f"no Linux root can be read in it: {told(survey, group)}",
        origin=_origin(survey),
        offset=first.offset,
        hint=first.hint,
    )


def _systems(survey: Survey) -> dict[int, str]:
    """Return which volumes belong to another system than Linux, by ``id()`` of their nodes.

    What the type of a partition says is more exact than what is in it: FreeBSD, not BSD.
    """
    found: dict[int, str] = {}
    for node in survey.names.nodes:
        if isinstance(node.reader, RecognisedFormat) and node.reader.family is not None:
            found.setdefault(id(node), node.reader.family)
        types = dict(
            item.split(" ", 1)
            for item in node.facts.get("partitions", "").split(", ")
            if " " in item
        )
        for child in node.children:
            match = _SYSTEMS.search(types.get(str(child.volume.number), ""))
            if match is not None:
                found[id(child)] = match[1]
    return found


def _other_system(survey: Survey, systems: Mapping[int, str]) -> UnsupportedError | None:
    """Return the error that names another operating system; None if there is no sign of one."""
    for content in survey.contents():
        found = other_system(content.index)
        if found is not None:
            return _not_linux(survey, content, found)
    for node in survey.names.nodes:
        system = systems.get(id(node))
        if system is None:
            continue
        name = survey.names.name(node)
        known = node.reader if isinstance(node.reader, RecognisedFormat) else None
        return UnsupportedError(
            f"belongs to {system}, not to Linux:"
            f" {name} is {known.title if known else f'a partition of {system}'}",
            origin=_origin(survey),
            hint=known.hint if known else "only Linux systems become containers",
        )
    return None


def _nothing_there(survey: Survey) -> UnsupportedError:
    """Return the error for an artifact in which nothing could have been a root."""
    origin = _origin(survey)
    contents = survey.contents()
    if any(not content.is_empty for content in contents):
        names = [survey.names.name(content.node) for content in contents]
        held = [
            f"{name} has {_what(survey, content.node)}"
            for name, content in zip(names, contents, strict=True)
        ]
        return UnsupportedError(
            f"no Linux root in it: {'; '.join(held)}",
            origin=origin,
            hint=f"'convert export --raw {_option(names[0])}' gives the files of a volume",
        )
    if contents:
        return UnsupportedError("is empty: its filesystems hold no files", origin=origin)
    leaves = survey.leaves()
    if any(survey.is_unknown(node) and not _is_blank(node.volume.source) for node in leaves):
        return UnsupportedError(
            "nothing known is in it: no partition table, filesystem, archive or disk format",
            origin=origin,
            hint="see 'convert formats' for what can be read",
        )
    return UnsupportedError(
        f"no Linux root in it: {'; '.join(_formats(survey)) or 'it is blank'}",
        origin=origin,
        hint="check that it is the right disk, and that it was copied whole",
    )


def _formats(survey: Survey) -> Iterator[str]:
    """Yield what each volume is, where that is known."""
    for node in survey.names.nodes:
        if node.reader is not None and not node.children:
            yield f"{survey.names.name(node)} is {node.reader.doc.title}"


def _what(survey: Survey, node: Node) -> str:
    """Return in a few words what a readable volume holds."""
    content = survey.content(node)
    if content.is_root:
        return content.title
    names = [printable(entry.path) for entry in content.index.children(b"")]
    if not names:
        return "no files"
    more = ", …" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(f"/{name}" for name in names[:_NAMES_SHOWN]) + more


def _is_blank(source: ByteSource) -> bool:
    """Tell whether there is nothing but zeros, as far as it takes reasonable time to say."""
    looked_at = 0
    for extent in source.extents():
        if extent.is_hole:
            continue
        if looked_at >= _BLANK_CHECK_BYTES:
            break
        position, end = extent.offset, extent.offset + extent.length
        while position < end and looked_at < _BLANK_CHECK_BYTES:
            data = bytes(source.read_at(position, min(MIB, end - position)))
            if not data or data.strip(b"\0"):
                return False
            position += len(data)
            looked_at += len(data)
    return True
