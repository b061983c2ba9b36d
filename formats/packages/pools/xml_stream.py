"""Reading long XML documents of others, element by element, in bounded memory.

The parser is expat with defusedxml around it, as in :mod:`formats.bundles.xml`. What defusedxml
refuses it refuses; what is found goes from expat straight to the target, without the elements that
would be made of it: an index has millions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar
from xml.parsers.expat import ExpatError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from formats.core.errors import ConvertError, CorruptError, UnsupportedError
from formats.core.origin import Origin
from formats.core.source import BytesLike

Found = TypeVar("Found")


class Target(Protocol[Found]):
    """Takes what the parser finds; names of elements come as ``namespace}name``."""

    def start(self, tag: str, attributes: dict[str, str]) -> object:
        """Take the start of an element."""
        ...

    def end(self, tag: str) -> object:
        """Take the end of an element."""
        ...

    @property
    def data(self) -> Callable[[str], object]:
        """What takes some of the text of an element."""
        ...

    def taken(self) -> list[Found]:
        """Return what was made of the elements since it was asked last."""
        ...


def stream_xml(
    blocks: Iterable[BytesLike], target: Target[Found], origin: Origin
) -> Iterator[Found]:
    """Yield what ``target`` makes of a document while it is read.

    :raises CorruptError: if it is no XML, with line and column.
    :raises UnsupportedError: if it has a document type, or is in an unknown encoding.
    """
    parser = DefusedXMLParser(forbid_dtd=True)
    expat = parser.parser
    expat.ordered_attributes = False
    expat.buffer_text = True  # lines are not told one by one
    expat.StartElementHandler = target.start
    expat.EndElementHandler = target.end
    expat.CharacterDataHandler = target.data
    try:
        for block in blocks:
            expat.Parse(bytes(block), False)  # noqa: FBT003 - takes it by position only
            yield from target.taken()
        expat.Parse(b"", True)  # noqa: FBT003
        yield from target.taken()
    except ExpatError as error:
        raise CorruptError(f"is not sound XML: {error}", origin=origin) from error
    except DefusedXmlException as error:
        raise UnsupportedError(
            "has a document type definition, which is not followed", origin=origin
        ) from error
    except ConvertError as error:
        raise error.at(origin) from error
    except (LookupError, ValueError) as error:  # how expat and codecs say it
        raise UnsupportedError(
            f"is XML in an encoding that is not read: {error}", origin=origin
        ) from error
