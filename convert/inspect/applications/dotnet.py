""".NET applications: ``NAME.runtimeconfig.json`` beside ``NAME.dll``.

https://learn.microsoft.com/dotnet/core/runtime-config and "Application publishing".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from convert.inspect.applications.context import (
    Context,
    below,
    evidence_of,
    json_object,
    member,
    sayable,
    text_of,
)
from convert.inspect.applications.marks import Mark
from convert.inspect.applications.runtimes import runtime
from convert.inspect.facts import Application, Command
from convert.inspect.text import can_be_said
from formats.core.entry import Entry

_ENDING = b".runtimeconfig.json"


def dotnet_applications(context: Context) -> Iterator[Application]:
    """Yield the published applications; tools of the SDK are packages' own."""
    for entry in context.marks.get(Mark.DOTNET, ()):
        name = entry.name.removesuffix(_ENDING)
        library = below(entry, name + b".dll")
        if not can_be_said(text_of(name)) or context.installed.owns(entry.path):
            continue
        text = context.guest.text(entry.path)
        options = member(json_object(text), "runtimeOptions")
        is_whole = "includedFrameworks" in options and context.is_file(below(entry, name))
        if not (is_whole or context.is_file(library)):
            continue
        evidence = evidence_of(entry, text, r'"(?:framework|includedFrameworks)"', "dotnet")
        program = below(entry, name)
        own = (f"/{text_of(program)}",) if is_whole else ("dotnet", f"/{text_of(library)}")
        yield Application(
            "dotnet",
            text_of(name),
            program if is_whole else library,
            evidence,
            runtime=_framework(context, entry, options, is_whole=is_whole),
            start=context.started_by_service(entry.parent) or Command(own, evidence),
        )


def _framework(
    context: Context, entry: Entry, options: Mapping[str, object], *, is_whole: bool
) -> str | None:
    """Return which runtime it wants: the one framework, or the first of several."""
    stated = options.get("includedFrameworks" if is_whole else "frameworks")
    several = stated if isinstance(stated, list) else []
    first = member({"x": several[0]}, "x") if several else member(options, "framework")
    words = [sayable(first.get("name")), sayable(first.get("version"))]
    wanted = " ".join(filter(None, words)) or entry.name.decode("ascii", "replace")
    if is_whole:
        return f"{wanted}, in itself"
    return f"{runtime(context, 'dotnet') or 'dotnet'}, wants {wanted}"
