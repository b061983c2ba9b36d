"""Programs that nobody's package brought: those in Go and Rust, and others that need no library."""

from __future__ import annotations

from collections.abc import Iterator

from convert.inspect.applications.context import Context, name_of, sayable
from convert.inspect.applications.elf import elf_program
from convert.inspect.applications.marks import Mark
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Application
from formats.core.errors import ConvertError

_LOCAL = (b"usr/local/bin/", b"usr/local/sbin/")
"""Where whatever is there was put by hand."""
_ELF = b"\x7fELF"
_PROGRAMS_MAX = 100


def programs(context: Context) -> Iterator[Application]:
    """Yield them: all of ``/usr/local/bin``; elsewhere those that stand for themselves."""
    count = 0
    for entry in context.marks.get(Mark.PROGRAM, ()):
        if count >= _PROGRAMS_MAX or context.guest.index.head(entry, 4) != _ELF:
            continue
        try:
            source = context.source(entry)
            found = elf_program(source) if source is not None else None
        except ConvertError:  # whoever reads the whole of it will tell
            continue
        if found is None or context.installed.owns(entry.path):
            continue
        start = context.started_by_service(entry.path)
        stands_alone = found.is_static or found.made_with is not None
        if not (stands_alone or start is not None or entry.path.startswith(_LOCAL)):
            continue
        count += 1
        libraries = "static" if found.is_static else "with the system's libraries"
        yield Application(
            "program",
            sayable(found.name) or name_of(entry.path),
            entry.path,
            Evidence(entry.path, None, "elf-program"),
            version=sayable(found.version),
            runtime=", ".join(filter(None, (found.made_with, libraries))),
            start=start,
        )
