"""What archives are made of: members, as their headers describe them."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from formats.core.entry import Kind

Content = TypeVar("Content")


class Member(NamedTuple, Generic[Content]):
    """A member as the archive describes it; a named tuple, as one is made for each path.

    :ivar path: as written; ``./`` in front, doubled and trailing slashes do not matter. One that
        is ``.`` describes the root folder.
    :ivar size: bytes of content of a file; of all else it is not looked at.
    :ivar target: what a symlink holds; for a hard link, the path of another member, as written.
    :ivar xattrs: in any order.
    :ivar content: the reader's own handle, given back to its :class:`Contents`.
    """

    path: bytes
    kind: Kind
    mode: int
    content: Content
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    target: bytes | None = None
    device: tuple[int, int] | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
