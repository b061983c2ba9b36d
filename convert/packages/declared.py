"""Lines of what packages declare in ``NAME.d`` folders: sysusers.d(5), tmpfiles.d(5)."""

from __future__ import annotations

from collections.abc import Iterator

from convert.inspect.unit_file import split_words
from convert.packages.world import World
from formats.core.origin import printable

_PLACES = (b"etc", b"usr/local/lib", b"usr/lib")


def declared_lines(world: World, folder: bytes) -> Iterator[tuple[list[str], str]]:
    """Yield the words of each line, and where it stands: ``/usr/lib/sysusers.d/dbus.conf:3``.

    Only of files that packages bring: those of a base have been heeded. Of files with one name the
    first place counts.
    """
    files: dict[bytes, bytes] = {}
    for place in _PLACES:
        for item in world.children(place + b"/" + folder):
            if item.entry.name.endswith(b".conf") and not item.is_base:
                files.setdefault(item.entry.name, item.entry.path)
    for _, path in sorted(files.items()):
        text = (world.content(path) or b"").decode("utf-8", "surrogateescape")
        for number, line in enumerate(text.split("\n"), start=1):
            words = [] if line.lstrip().startswith("#") else split_words(line)
            if len(words) > 1:
                yield words, f"/{printable(path)}:{number}"
