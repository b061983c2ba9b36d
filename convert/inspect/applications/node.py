"""Applications for Node.js: package.json(5) of npm, "scripts", "main", "engines".

https://docs.npmjs.com/cli/v10/configuring-npm/package-json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from convert.inspect.applications.context import (
    Context,
    below,
    evidence_of,
    json_object,
    member,
    name_of,
    sayable,
    words_of,
)
from convert.inspect.applications.marks import Mark
from convert.inspect.applications.runtimes import runtime
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Application, Command
from formats.core.entry import Entry

_DEFAULT_SERVER = b"server.js"
"""What ``npm start`` runs where there is no script of that name."""


def node_applications(context: Context) -> Iterator[Application]:
    """Yield the packages that can be started; what is inside of one belongs to it."""
    found: list[bytes] = []
    for entry in context.marks.get(Mark.NODE, ()):
        if any(entry.path.startswith(folder + b"/") for folder in found):
            continue
        text = context.guest.text(entry.path)
        package = json_object(text)
        if package is None:
            continue
        start = _start(context, entry, package, text)
        if start is None or context.installed.owns(entry.path):
            continue
        found.append(entry.parent)
        yield Application(
            "node",
            sayable(package.get("name")) or name_of(entry.parent),
            entry.parent,
            evidence_of(entry, text, r'"name"\s*:', "package-json"),
            version=sayable(package.get("version")),
            runtime=_runtime(context, package),
            start=start,
        )


def _runtime(context: Context, package: Mapping[str, object]) -> str | None:
    wanted = sayable(member(package, "engines").get("node"))
    found = runtime(context, "node")
    if wanted is None:
        return found
    return f"{found or 'node'}, wants {wanted}"


def _start(
    context: Context, entry: Entry, package: Mapping[str, object], text: str | None
) -> Command | None:
    """Return how it is started: by a service, by its own script, as npm would, or its main file.

    A package whose main file is all that it has may be a library: only one with what it needs
    installed is an application.
    """
    by_service = context.started_by_service(entry.parent)
    if by_service is not None:
        return by_service
    script = sayable(member(package, "scripts").get("start"))
    if script is not None:
        evidence = evidence_of(entry, text, r'"start"\s*:', "package-json")
        return Command(words_of(script), evidence)
    if context.is_file(below(entry, _DEFAULT_SERVER)):
        return Command(("node", _DEFAULT_SERVER.decode()), Evidence(entry.path, None, "npm-start"))
    main = sayable(package.get("main"))
    is_installed = context.guest.index.resolve(below(entry, b"node_modules")) is not None
    if main is not None and is_installed and context.is_file(below(entry, main.encode())):
        return Command(("node", main), evidence_of(entry, text, r'"main"\s*:', "package-json"))
    return None
