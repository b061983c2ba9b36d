"""Reading XML of others: no document types, no entities, bounded size, depth and count.

The parser is expat with defusedxml around it, which refuses what could read other files or grow
without bounds (CVE-2014-3485).
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.origin import Origin
from formats.core.source import ByteSource

_MAX_DEPTH = 64
_MAX_ELEMENTS = 100_000
_FEED_BYTES = 1 << 16


class _BoundedBuilder(TreeBuilder):
    """Counts what is built; the parser's own limits are about entities only."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = origin
        self._depth = self._count = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._count += 1
        if self._depth > _MAX_DEPTH or self._count > _MAX_ELEMENTS:
            what = f"nested deeper than {_MAX_DEPTH}" if self._depth > _MAX_DEPTH else "too many"
            raise LimitError(f"has XML elements that are {what}", origin=self._origin)
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def parse_xml(source: ByteSource, limits: Limits) -> Element:
    """Return the document's element.

    :raises CorruptError: if it is no XML, with line and column.
    :raises UnsupportedError: if it has a document type, or is in an unknown encoding.
    :raises LimitError: if it is too large.
    """
    if source.size > limits.descriptor_bytes:
        raise LimitError(
            f"has {source.size:,} bytes, more than the {limits.descriptor_bytes:,} that an XML"
            " document may have",
            origin=source.origin,
        )
    parser = DefusedXMLParser(target=_BoundedBuilder(source.origin), forbid_dtd=True)
    try:
        for offset in range(0, source.size, _FEED_BYTES):
            parser.feed(bytes(source.read_at(offset, _FEED_BYTES)))
        root = parser.close()
    except ParseError as error:
        raise CorruptError(f"is not sound XML: {error}", origin=source.origin) from error
    except DefusedXmlException as error:
        raise UnsupportedError(
            "has a document type definition, which is not followed",
            origin=source.origin,
            hint="remove the DOCTYPE if the descriptor is trusted",
        ) from error
    except (LookupError, ValueError) as error:  # how expat and codecs say it
        raise UnsupportedError(
            f"is XML in an encoding that is not read: {error}",
            origin=source.origin,
            hint="save it as UTF-8",
        ) from error
    if not isinstance(root, Element):
        raise CorruptError("is XML without an element", origin=source.origin)
    return root


def local_name(name: str) -> str:
    """Return a tag or attribute without its namespace."""
    return name.rpartition("}")[2]


def namespace(name: str) -> str:
    """Return the namespace of a tag or attribute; "" where it has none."""
    return name[1:].partition("}")[0] if name.startswith("{") else ""


def children(element: Element, *names: str) -> Iterator[Element]:
    """Yield the children with one of these names, in whatever namespace."""
    for child in element:
        if local_name(child.tag) in names:
            yield child


def child_text(element: Element, *names: str) -> str | None:
    """Return the text of the first child with one of these names, stripped; None if empty."""
    for child in children(element, *names):
        if text := (child.text or "").strip():
            return text
    return None


def attribute(element: Element, name: str) -> str | None:
    """Return an attribute, whatever its namespace; the element's own namespace goes first."""
    own = namespace(element.tag)
    for key in (f"{{{own}}}{name}", name):
        if key in element.attrib:
            return element.attrib[key]
    for key, value in element.attrib.items():
        if local_name(key) == name:
            return value
    return None
