"""Breadcrumbs: where in an artifact a thing was found, and how to print what a guest named."""

from __future__ import annotations

from dataclasses import dataclass

SEPARATOR = " › "


def printable(name: bytes | str) -> str:
    r"""Return a guest's name in a form that is safe in a terminal, a log and JSON.

    Bytes that are not UTF-8 and characters that are not printable come out as ``\xNN`` or
    ``\uNNNN``; a backslash is doubled so that the result is unambiguous.
    """
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The whole path from the file the user named to one thing inside it.

    ``str()`` gives ``server.ova › disk1.vmdk › gpt:2 › ext4``.
    """

    parts: tuple[str, ...]

    def child(self, part: str) -> Origin:
        """Return the breadcrumb of ``part`` inside this thing."""
        return Origin((*self.parts, printable(part)))

    def __str__(self) -> str:
        return SEPARATOR.join(self.parts)


def file_origin(tree: Origin, path: bytes) -> Origin:
    """Return the breadcrumb of a file inside of a tree."""
    return tree.child(path.decode("utf-8", "surrogateescape"))
