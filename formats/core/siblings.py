"""The files beside an input, and nothing else.

Extents, backing images and split parts name other files. An image is untrusted, so the name is
too: only a plain name in the same folder is followed, never a path and never a symlink
(CVE-2015-1850, CVE-2022-47951, CVE-2024-32498). ``--allow-backing DIR`` widens that to ``DIR``.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from formats.core.errors import CorruptError, UnsupportedError, quoted
from formats.core.origin import Origin
from formats.core.source import FileSource

_HINT = "only files beside the image are opened; allow a folder with --allow-backing DIR"


class FolderSiblings:
    """Siblings on the host's filesystem.

    :param on_open: told the ``close`` of every source that is opened.
    """

    def __init__(
        self, folder: Path, allowed: Sequence[Path], on_open: Callable[[Callable[[], None]], None]
    ) -> None:
        self._folder = folder
        self._allowed = tuple(path.resolve() for path in allowed)
        self._on_open = on_open

    def exists(self, name: str) -> bool:
        """See :class:`~formats.core.reader.Siblings`."""
        if _is_plain(name):
            return stat.S_ISREG(_mode(self._folder / name))
        return self._inside_allowed(name) is not None

    def open(self, name: str, origin: Origin) -> FileSource:
        """See :class:`~formats.core.reader.Siblings`."""
        allowed = self._inside_allowed(name)
        if allowed is None and not _is_plain(name):
            raise UnsupportedError(
                f"refers to {quoted(name)}, which is not a plain name in the same folder",
                origin=origin,
                hint=_HINT,
            )
        path = allowed or self._folder / name
        mode = _mode(path)
        if stat.S_ISLNK(mode):
            raise UnsupportedError(
                f"refers to {quoted(name)}, which is a symlink", origin=origin, hint=_HINT
            )
        if not stat.S_ISREG(mode):
            raise CorruptError(
                f"needs {quoted(name)}, which is missing",
                origin=origin,
                hint="put all parts of the image into one folder",
            )
        source = FileSource(path, origin.child(path.name), follow=False)
        self._on_open(source.close)
        return source

    def beside(self, name: str) -> FolderSiblings:
        """Return the files beside one of these, which may be in an allowed folder."""
        path = self._inside_allowed(name)
        if path is None:
            return self
        return FolderSiblings(path.parent, self._allowed, self._on_open)

    def _inside_allowed(self, name: str) -> Path | None:
        try:
            path = (self._folder / name).resolve()
        except (OSError, RuntimeError, ValueError):  # no name of a file, or a loop of symlinks
            return None
        inside = any(path.is_relative_to(folder) for folder in self._allowed)
        return path if inside and stat.S_ISREG(_mode(path)) else None


def _mode(path: Path) -> int:
    """Return the type and mode of a file, or symlink; 0 where there is none."""
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):  # longer than any name, or none at all
        return 0


def _is_plain(name: str) -> bool:
    return name not in {"", ".", ".."} and not set(name) & {"/", "\\", "\0", ":"}


class NoSiblings:
    """For what is not a file among files."""

    def exists(self, name: str) -> bool:
        """Return False."""
        del name
        return False

    def open(self, name: str, origin: Origin) -> FileSource:
        """Refuse."""
        raise UnsupportedError(
            f"refers to {quoted(name)}, which cannot be reached from inside a container",
            origin=origin,
        )
