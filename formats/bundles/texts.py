"""Texts of a descriptor that go on into labels, reports and terminals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from formats.core.machine import Machine

HIDDEN = "(not shown)"
"""Stands for a value that is known and kept back."""

_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|private.?key|api.?key|licen[cs]e.?key", re.IGNORECASE
)
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"


def looks_secret(key: str) -> bool:
    """Tell whether a setting is named like a secret; descriptors often fail to mark them."""
    return _SECRET.search(key) is not None


def clean(text: str) -> str:
    """Return a text without what could command a terminal or not be written as UTF-8."""
    text = text.replace("\r\n", "\n").strip()
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else _UNREADABLE
        for character in text
    )


def clean_line(text: str) -> str:
    """Return a text likewise, on one line."""
    return clean(" ".join(text.split()))


def clean_facts(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that are not empty, each on one line."""
    lines = {name: clean_line(value) for name, value in facts.items()}
    return {name: line for name, line in lines.items() if line}


def clean_machine(machine: Machine) -> Machine:
    """Return a machine with all of its texts cleaned; properties may have no value."""
    return replace(
        machine,
        name=clean_line(machine.name),
        title=clean_line(machine.title or "") or None,
        vendor=clean_line(machine.vendor or "") or None,
        version=clean_line(machine.version or "") or None,
        licence=clean(machine.licence or "") or None,
        properties={clean_line(key): clean(value) for key, value in machine.properties.items()},
    )
