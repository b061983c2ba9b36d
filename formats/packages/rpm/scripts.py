"""Scriptlets and triggers of an rpm: shown, never run.

Specification: rpm.org "Tag Listing", "Trigger scriptlets", "File triggers".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from formats.core.package import Script
from formats.packages.rpm import tags
from formats.packages.rpm.header import Header, as_text
from formats.packages.rpm.relations import sensed

_SHELL = "/bin/sh"

_SCRIPTLETS = (
    ("%pretrans", tags.PRETRANS, tags.PRETRANSPROG),
    ("%pre", tags.PREIN, tags.PREINPROG),
    ("%post", tags.POSTIN, tags.POSTINPROG),
    ("%posttrans", tags.POSTTRANS, tags.POSTTRANSPROG),
    ("%preuntrans", tags.PREUNTRANS, tags.PREUNTRANSPROG),
    ("%preun", tags.PREUN, tags.PREUNPROG),
    ("%postun", tags.POSTUN, tags.POSTUNPROG),
    ("%postuntrans", tags.POSTUNTRANS, tags.POSTUNTRANSPROG),
    ("%verifyscript", tags.VERIFYSCRIPT, tags.VERIFYSCRIPTPROG),
)


class _TriggerTags(NamedTuple):
    """Tags that make one kind of triggers; ``prefix`` is in front of ``triggerin`` and so on."""

    prefix: str
    scripts: int
    programs: int
    names: int
    indexes: int
    versions: int
    flags: int


_TRIGGERS = (
    _TriggerTags(
        "%",
        tags.TRIGGERSCRIPTS,
        tags.TRIGGERSCRIPTPROG,
        tags.TRIGGERNAME,
        tags.TRIGGERINDEX,
        tags.TRIGGERVERSION,
        tags.TRIGGERFLAGS,
    ),
    _TriggerTags(
        "%file",
        tags.FILETRIGGERSCRIPTS,
        tags.FILETRIGGERSCRIPTPROG,
        tags.FILETRIGGERNAME,
        tags.FILETRIGGERINDEX,
        tags.FILETRIGGERVERSION,
        tags.FILETRIGGERFLAGS,
    ),
    _TriggerTags(
        "%transfile",
        tags.TRANSFILETRIGGERSCRIPTS,
        tags.TRANSFILETRIGGERSCRIPTPROG,
        tags.TRANSFILETRIGGERNAME,
        tags.TRANSFILETRIGGERINDEX,
        tags.TRANSFILETRIGGERVERSION,
        tags.TRANSFILETRIGGERFLAGS,
    ),
)
_TRIGGER_KINDS = (
    (tags.SENSE_TRIGGERPREIN, "triggerprein"),
    (tags.SENSE_TRIGGERIN, "triggerin"),
    (tags.SENSE_TRIGGERUN, "triggerun"),
    (tags.SENSE_TRIGGERPOSTUN, "triggerpostun"),
)


def scripts_of(header: Header) -> tuple[Script, ...]:
    """Return all scriptlets and scripts of triggers; those of triggers are named with conditions.

    :raises CorruptError: if tags that belong together do not fit.
    """
    found = [
        Script(name, _interpreter(header, program), header.string(tag))
        for name, tag, program in _SCRIPTLETS
        if tag in header or program in header
    ]
    for kind in _TRIGGERS:
        scripts = header.strings(kind.scripts)
        programs = header.texts(kind.programs)
        names = dict(_named_triggers(header, kind))
        for number, script in enumerate(scripts):
            program = programs[number] if number < len(programs) else _SHELL
            found.append(Script(names.get(number, f"{kind.prefix}trigger"), program, script))
    return tuple(found)


def triggers_of(header: Header) -> tuple[str, ...]:
    """Return what sets off the triggers: ``%triggerin -- sendmail (<< 8.14)``."""
    return tuple(name for kind in _TRIGGERS for _, name in _named_triggers(header, kind))


def _named_triggers(header: Header, kind: _TriggerTags) -> Iterator[tuple[int, str]]:
    """Yield numbers of scripts with what sets them off."""
    conditions = sensed(header, kind.names, kind.flags, kind.versions)
    indexes = header.numbers(kind.indexes) or tuple(range(len(conditions)))
    if len(indexes) != len(conditions):
        raise header.corrupt(
            f"{len(conditions):,} triggers refer to scripts {len(indexes):,} times"
        )
    grouped: dict[int, tuple[str, list[str]]] = {}
    for index, condition in zip(indexes, conditions, strict=True):
        name = next((name for flag, name in _TRIGGER_KINDS if condition.flags & flag), "trigger")
        grouped.setdefault(index, (name, []))[1].append(str(condition.relation()))
    for index, (name, wanted) in grouped.items():
        yield index, f"{kind.prefix}{name} -- {', '.join(wanted)}"


def _interpreter(header: Header, tag: int) -> str:
    return " ".join(as_text(word) for word in header.strings(tag)) or _SHELL
