"""What a stanza of fields says of a package: in the package itself, and in indexes.

Specification: deb-control(5); Debian Policy, chapters 5 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from formats.core.errors import CorruptError, quoted
from formats.core.package import Package, PackageSystem, Relation, Requirement
from formats.packages.deb.relations import parse_relations, parse_requirements
from formats.packages.deb.stanzas import Fields
from formats.packages.deb.version import is_version

FACTS = (
    "package-type",
    "section",
    "priority",
    "maintainer",
    "origin",
    "homepage",
    "installed-size",
    "multi-arch",
    "protected",
    "replaces",
    "built-using",
    "static-built-using",
    "auto-built-package",
)
"""Fields that become facts of the package, under their own names."""

_STRENGTHS = ("Pre-Depends", "Depends", "Recommends", "Suggests")
_CONFLICTS = ("conflicts", "breaks")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_ARCHITECTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_SOURCE = re.compile(r"(?P<name>[^\s()]+)(?:\s*\((?P<version>[^\s()]+)\))?")
_LONGEST_NAME = 200


def describe(fields: Fields, record: bytes = b"", facts: Sequence[str] = FACTS) -> Package:
    """Return the package that a stanza is about.

    Its scripts, configuration files, triggers and digests are not in there.

    :param record: the stanza itself, where that shall be kept.
    :param facts: fields to take as facts.
    :raises CorruptError: without origin: for names that could mean something else in a path, for
        fields that are missing or make no sense.
    """
    name = _checked(fields, "package", is_package_name)
    source = _SOURCE.match(fields.get("source", "")) or _SOURCE.match(name)
    kept = {fact: " ".join(fields[fact].split()) for fact in facts if fields.get(fact)}
    if source is not None and source["version"]:
        kept["source-version"] = source["version"]
    return Package(
        system=PackageSystem.DEB,
        name=name,
        version=_checked(fields, "version", is_version),
        architecture=_checked(fields, "architecture", _is_architecture),
        summary=fields.get("description", "").partition("\n")[0],
        source=source["name"] if source is not None else name,
        requirements=_requirements(fields),
        provides=_relations(fields, "provides"),
        conflicts=tuple(found for field in _CONFLICTS for found in _relations(fields, field)),
        is_essential=fields.get("essential", "").lower() == "yes",
        record=record,
        facts=kept,
    )


def is_package_name(name: str) -> bool:
    """Tell whether packages may have that name; dpkg allows more than the Policy does."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _is_architecture(name: str) -> bool:
    return _ARCHITECTURE.fullmatch(name) is not None


def _checked(fields: Fields, field: str, is_right: Callable[[str], bool]) -> str:
    value = fields.get(field, "")
    if not value:
        raise CorruptError(f"does not say what its {field} is")
    if not is_right(value):
        raise CorruptError(f"says that its {field} is {quoted(value[:120])}, which none can be")
    return value


def _requirements(fields: Fields) -> tuple[Requirement, ...]:
    found: list[Requirement] = []
    for strength in _STRENGTHS:
        if value := fields.get(strength.lower()):
            found += parse_requirements(value, strength)
    return tuple(found)


def _relations(fields: Fields, field: str) -> tuple[Relation, ...]:
    value = fields.get(field)
    return parse_relations(value) if value else ()
