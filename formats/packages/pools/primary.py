"""``primary.xml`` and ``filelists.xml``: what an rpm repository says of its packages.

Specification: createrepo.baseurl.org, "primary, filelists" (the schemas of "rpm-md").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache

from formats.core.errors import CorruptError, LimitError, quoted
from formats.core.finding import Action, Finding
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.package import Package, PackageSystem, Relation
from formats.core.source import ByteSource
from formats.packages.pools.blocks import index_blocks
from formats.packages.pools.offer import Offer
from formats.packages.pools.xml_stream import stream_xml
from formats.packages.rpm import tags
from formats.packages.rpm.package import UNREAD_RELATIONS
from formats.packages.rpm.relations import Sensed, is_boolean, requirements

CHECKSUMS = {"sha": "sha1", "md5": "md5"} | {
    name: name for name in ("sha1", "sha224", "sha256", "sha384", "sha512")
}
"""Kinds of checksums → as :mod:`hashlib` names them."""

_COMMON = "http://linux.duke.edu/metadata/common}"
_RPM = "http://linux.duke.edu/metadata/rpm}"
_FILELISTS = "http://linux.duke.edu/metadata/filelists}"
_LISTED_PACKAGE = f"{_FILELISTS}package"
_LISTED_FILE = f"{_FILELISTS}file"

_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_SIZE = re.compile(r"[0-9]{1,18}")
_SENSES = {
    "EQ": tags.SENSE_EQUAL,
    "LT": tags.SENSE_LESS,
    "GT": tags.SENSE_GREATER,
    "LE": tags.SENSE_LESS | tags.SENSE_EQUAL,
    "GE": tags.SENSE_GREATER | tags.SENSE_EQUAL,
}
_STRENGTHS = {
    f"{_RPM}{name}": name.capitalize()
    for name in ("requires", "recommends", "suggests", "supplements", "enhances")
}
_CONFLICTS = frozenset({f"{_RPM}conflicts", f"{_RPM}obsoletes"})
_PROVIDES = f"{_RPM}provides"
_LISTS = frozenset({*_STRENGTHS, *_CONFLICTS, _PROVIDES})
_ENTRY = f"{_RPM}entry"
_PACKAGE = f"{_COMMON}package"
_FILE = f"{_COMMON}file"
_NAME = f"{_COMMON}name"
_ARCH = f"{_COMMON}arch"
_SUMMARY = f"{_COMMON}summary"
_SOURCE = f"{_RPM}sourcerpm"
_CHECKSUM = f"{_COMMON}checksum"
_VERSION = f"{_COMMON}version"
_LOCATION = f"{_COMMON}location"
_PACKED = f"{_COMMON}size"
_TEXTS = frozenset({_NAME, _ARCH, _SUMMARY, _SOURCE, _CHECKSUM})
"""Elements whose text is kept."""
_ATTRIBUTES = frozenset({_CHECKSUM, _VERSION, _LOCATION, _PACKED})
"""Elements whose attributes are."""
_MOST_TEXT = 1 << 20
_MOST_ELEMENTS = 400_000
"""Of one package; a relation is one, and so is a file."""
_CACHED = 1 << 15


def is_hexadecimal(value: str) -> bool:
    """Tell whether a checksum is one, in lower case."""
    return _HEXADECIMAL.fullmatch(value) is not None


def read_primary(
    source: ByteSource, limits: Limits, note: Callable[[Finding], None] | None = None
) -> Iterator[Offer]:
    """Yield what ``primary.xml`` lists; it may be compressed.

    A package that makes no sense is left out and noted: one out of thousands shall not make the
    others useless.

    :raises CorruptError: if it is damaged.
    :raises LimitError: for more packages than ``limits.entries``.
    """
    target = _Primary(source.origin, note)
    for number, offer in enumerate(
        stream_xml(index_blocks(source, limits), target, source.origin), 1
    ):
        if number > limits.entries:
            raise LimitError(f"lists more than {limits.entries:,} packages", origin=source.origin)
        yield offer


def read_filelists(
    source: ByteSource, wanted: AbstractSet[str], limits: Limits
) -> Iterator[tuple[str, str]]:
    """Yield those of some absolute paths that ``filelists.xml`` lists, with package checksums.

    :raises CorruptError: if it is damaged.
    """
    target = _FileLists(wanted)
    yield from stream_xml(index_blocks(source, limits), target, source.origin)


@lru_cache(maxsize=_CACHED)
def _sensed(name: str, flags: str, epoch: str, version: str, release: str) -> Sensed:
    whole = f"{version}-{release}" if release else version
    if epoch and epoch != "0":
        whole = f"{epoch}:{whole}"
    return Sensed(name, _SENSES.get(flags, 0), whole if flags in _SENSES else "")


class _Texts:
    """The text of the element that is being read.

    :ivar data: takes some of it; straight into the list, as it is called for each element.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.data = self._parts.append

    def text(self) -> str:
        """Return it whole."""
        return "".join(self._parts)

    def check(self) -> None:
        """Refuse a text without end.

        :raises LimitError: without origin.
        """
        if sum(map(len, self._parts)) > _MOST_TEXT:
            raise LimitError(f"has a text of more than {_MOST_TEXT:,} characters")


class _Primary(_Texts):
    """Makes offers of the elements ``package``."""

    def __init__(self, origin: Origin, note: Callable[[Finding], None] | None) -> None:
        super().__init__()
        self._origin = origin
        self._note = note
        self._found: list[Offer] = []
        self._texts: dict[str, str] = {}
        self._attributes: dict[str, dict[str, str]] = {}
        self._lists: dict[str, list[Sensed]] = {}
        self._files: list[str] = []
        self._list: list[Sensed] | None = None
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """See :class:`~formats.packages.pools.xml_stream.Target`."""
        self._count += 1
        if self._count > _MOST_ELEMENTS:
            raise LimitError(f"has more than {_MOST_ELEMENTS:,} elements in one package")
        if tag == _ENTRY:
            self._add(attributes)
        elif tag in _ATTRIBUTES:
            self._attributes[tag] = attributes
        elif tag in _LISTS:
            self._list = self._lists.setdefault(tag, [])
        elif tag == _PACKAGE:
            self._texts, self._attributes, self._lists = {}, {}, {}
            self._files, self._count = [], 0
        self._parts.clear()

    def _add(self, attributes: dict[str, str]) -> None:
        if self._list is None:
            raise CorruptError("has an entry that is part of no list")
        get = attributes.get
        self._list.append(
            _sensed(
                get("name", ""),
                get("flags", ""),
                get("epoch", ""),
                get("ver", ""),
                get("rel", ""),
            )
        )

    def end(self, tag: str) -> None:
        """See :class:`~formats.packages.pools.xml_stream.Target`."""
        if tag == _ENTRY:
            return
        if tag in _TEXTS:
            self._texts[tag] = self.text()
        elif tag == _FILE:
            self._files.append(self.text())
        elif tag in _LISTS:
            self._list = None
        elif tag == _PACKAGE:
            self._finish()
        self._parts.clear()

    def taken(self) -> list[Offer]:
        """See :class:`~formats.packages.pools.xml_stream.Target`."""
        self.check()
        found, self._found = self._found, []
        return found

    def _finish(self) -> None:
        try:
            self._found.append(self._offer())
        except CorruptError as error:
            if self._note is not None:
                where = str(self._origin).encode("utf-8", "surrogateescape")
                name = quoted(self._texts.get(_NAME, ""))
                evidence = f"the package {name} {error.message}; it is left out"
                self._note(Finding("package-not-listed", where, Action.REPORTED, evidence))

    def _offer(self) -> Offer:
        texts, attributes = self._texts, self._attributes
        path = attributes.get(_LOCATION, {}).get("href", "")
        if not path:
            raise CorruptError("does not say where its file is")
        size = attributes.get(_PACKED, {}).get("package", "")
        checksum = texts.get(_CHECKSUM, "").lower()
        kind = attributes.get(_CHECKSUM, {}).get("type", "")
        algorithm = CHECKSUMS.get(kind)
        is_known = algorithm is not None and is_hexadecimal(checksum)
        return Offer(
            package=self._package(),
            path=path,
            size=int(size) if _SIZE.fullmatch(size) else None,
            digest=(algorithm, checksum) if algorithm is not None and is_known else None,
        )

    def _package(self) -> Package:
        texts = self._texts
        name = texts.get(_NAME, "")
        version = self._attributes.get(_VERSION, {})
        if not name or not version.get("ver"):
            raise CorruptError("has no name or version")
        own = _sensed(name, "EQ", version.get("epoch", ""), version["ver"], version.get("rel", ""))
        needed = requirements(
            (when, one)
            for tag, when in _STRENGTHS.items()
            for one in self._lists.get(tag, ())
            if not one.name.startswith("rpmlib(")
        )
        against = [one for tag in sorted(_CONFLICTS) for one in self._lists.get(tag, ())]
        unread = [
            *needed.unread,
            *(f"Conflicts: {one.name}" for one in against if is_boolean(one.name)),
        ]
        return Package(
            system=PackageSystem.RPM,
            name=name,
            version=own.version,
            architecture=texts.get(_ARCH, "noarch"),
            summary=texts.get(_SUMMARY, ""),
            source=texts.get(_SOURCE, ""),
            requirements=needed.met,
            provides=self._provides(name),
            conflicts=_relations(one for one in against if not is_boolean(one.name)),
            facts={UNREAD_RELATIONS: "; ".join(unread)} if unread else {},
        )

    def _provides(self, name: str) -> tuple[Relation, ...]:
        listed = self._lists.get(_PROVIDES, ())
        provided = _relations(one for one in listed if one.name != name)
        return (*provided, *map(Relation, self._files))


def _relations(listed: Iterator[Sensed]) -> tuple[Relation, ...]:
    return tuple(map(_relation, dict.fromkeys(listed)))


@lru_cache(maxsize=_CACHED)
def _relation(one: Sensed) -> Relation:
    return one.relation()


class _FileLists(_Texts):
    """Finds paths in the elements ``file``."""

    def __init__(self, wanted: AbstractSet[str]) -> None:
        super().__init__()
        self._wanted = wanted
        self._checksum = ""
        self._found: list[tuple[str, str]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """See :class:`~formats.packages.pools.xml_stream.Target`."""
        if tag == _LISTED_PACKAGE:
            self._checksum = attributes.get("pkgid", "").lower()
        self._parts.clear()

    def end(self, tag: str) -> None:
        """See :class:`~formats.packages.pools.xml_stream.Target`."""
        if tag == _LISTED_FILE and (path := self.text()) in self._wanted:
            self._found.append((path, self._checksum))
        self._parts.clear()

    def taken(self) -> list[tuple[str, str]]:
        """See :class:`~formats.packages.pools.xml_stream.Target`."""
        self.check()
        found, self._found = self._found, []
        return found
