"""What a package says of itself, whatever system it belongs to.

Specification: deb-control(5), deb-version(7), Debian Policy chapter 7; rpm-tags(7), rpm-version(7),
RPM's "Dependencies" manual. Readers fill it from a package's own header, pools from their indexes,
so that a package is resolved in the same way wherever it was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class PackageSystem(Enum):
    """Whose rules for versions, names and relations hold."""

    DEB = "deb"
    RPM = "rpm"
    APK = "apk"
    """Alpine's; known from databases only, as is the next."""
    PACMAN = "pacman"


class Operator(Enum):
    """How the version of a relation compares; the ones of Debian's ``<<`` and ``>>`` are strict."""

    ANY = ""
    LESS = "<<"
    AT_MOST = "<="
    EQUAL = "="
    AT_LEAST = ">="
    GREATER = ">>"


@dataclass(frozen=True, slots=True)
class Relation:
    """A name, and the versions of it that are meant.

    :ivar name: of a package, or of something that packages provide: a virtual package, a library
        (``libc.so.6(GLIBC_2.34)(64bit)``), a path (``/bin/sh``).
    :ivar version: ``[epoch:]version[-release]``; "" with :attr:`Operator.ANY`.
    :ivar architecture: the qualifier behind a Debian name: ``any``, ``native``, ``amd64``; "".
    """

    name: str
    operator: Operator = Operator.ANY
    version: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        name = f"{self.name}:{self.architecture}" if self.architecture else self.name
        return f"{name} ({self.operator.value} {self.version})" if self.version else name


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a package cannot do without: one of several relations.

    :ivar alternatives: in order of preference; RPM's rich dependencies as far as they are an
        ``or``.
    :ivar when: the field: ``Depends``, ``Pre-Depends``, ``Requires``, ``Recommends``.
    """

    alternatives: tuple[Relation, ...]
    when: str = "Depends"

    def __str__(self) -> str:
        return " | ".join(map(str, self.alternatives))


@dataclass(frozen=True, slots=True)
class Script:
    """A maintainer script or scriptlet; shown, never run.

    :ivar name: ``preinst``, ``postinst``, ``%pre``, ``%post``, ``%triggerin``, …
    :ivar interpreter: from its shebang or tag: ``/bin/sh``, ``<lua>``.
    """

    name: str
    interpreter: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Package:
    """A package's own description.

    :ivar version: whole: ``[epoch:]version[-release]``.
    :ivar architecture: in the words of its system: ``amd64``, ``all``, ``x86_64``, ``noarch``.
    :ivar source: name of the source package, or of the source rpm.
    :ivar requirements: of all strengths; only ``Depends``, ``Pre-Depends`` and ``Requires`` must
        be met.
    :ivar provides: what it stands for beside its own name.
    :ivar conflicts: what it cannot be installed beside: Conflicts and Breaks, or Conflicts and
        Obsoletes.
    :ivar is_essential: whether every system of its kind has it (``Essential: yes``).
    :ivar record: what the database of installed packages holds of it, byte for byte: the control
        stanza of a deb, the header of an rpm (from its index on, without magic); b"" if unknown.
    :ivar configuration: paths of configuration files (conffiles, ``%config``), as in
        :class:`~formats.core.entry.Entry`.
    :ivar digests: of its files, by path likewise: (algorithm as :mod:`hashlib` names it,
        lower-case hexadecimal).
    :ivar facts: what else is worth showing: licence, vendor, build time, signatures.
    """

    system: PackageSystem
    name: str
    version: str
    architecture: str
    summary: str = ""
    source: str = ""
    requirements: tuple[Requirement, ...] = ()
    provides: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    is_essential: bool = False
    record: bytes = b""
    configuration: tuple[bytes, ...] = ()
    scripts: tuple[Script, ...] = ()
    triggers: tuple[str, ...] = ()
    digests: Mapping[bytes, tuple[str, str]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.architecture})"
