"""Applications in Python: virtual environments, and projects with an entry for a web server.

PEP 405 (``pyvenv.cfg``), PEP 376 and 610 (``*.dist-info``, ``direct_url.json``), the entry points
specification, PEP 3333 (WSGI).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.applications.context import Context, name_of, sayable, text_of
from convert.inspect.applications.marks import Mark
from convert.inspect.applications.runtimes import runtime
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Application, Command
from convert.inspect.text import encoded
from formats.core.entry import Entry, join

_USUAL_NAMES = frozenset({"venv", ".venv", "env", ".env", "virtualenv", "virtualenvs", "py3"})
"""Names of environments that say nothing of what is in them."""
_SETTING = re.compile(r"\s*([\w-]+)\s*=\s*(.*?)\s*")
_SCRIPT = re.compile(r"\s*([\w.-]+)\s*=\s*[\w.]+:\w+")
_DISTRIBUTION = re.compile(rb"([\w.-]+?)-([\w.!+]+)\.dist-info")
_OWN = b"direct_url.json"
"""What pip leaves beside a distribution that came from no index: it was made here."""
_SERVERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # The program of an environment that serves a module, and how
    ("gunicorn", ("{module}:application",)),
    ("uvicorn", ("{module}:application",)),
    ("uwsgi", ("--http", ":8000", "--module", "{module}:application")),
)
_MODULES = {b"wsgi.py": frozenset({"gunicorn", "uwsgi"}), b"asgi.py": frozenset({"uvicorn"})}


def python_applications(context: Context) -> Iterator[Application]:
    """Yield the virtual environments, and the projects that have none."""
    projects: list[bytes] = []
    for entry in context.marks.get(Mark.VENV, ()):
        project, application = _environment(context, entry)
        projects.append(project)
        yield application
    seen: set[bytes] = set()
    for entry in context.marks.get(Mark.PYTHON, ()):
        folder = _project(entry)
        if folder in seen or any(_is_in(folder, project) for project in projects):
            continue
        if not context.installed.owns(entry.path):
            seen.add(folder)
            yield Application(
                "python",
                name_of(folder),
                folder,
                Evidence(entry.path, None, f"python-{text_of(entry.name)}"),
                runtime=runtime(context, "python"),
                start=context.started_by_service(folder),
            )


def _is_in(folder: bytes, project: bytes) -> bool:
    return bool(project) and (folder == project or folder.startswith(project + b"/"))


def _project(entry: Entry) -> bytes:
    """Return the folder of a project: where ``manage.py`` is, and above a package's module."""
    return entry.parent if entry.name == b"manage.py" else entry.parent.rpartition(b"/")[0]


def _environment(context: Context, entry: Entry) -> tuple[bytes, Application]:
    folder = entry.parent
    settings = {
        match[1].lower(): (match[2], number)
        for number, line in context.guest.lines(entry.path)
        if (match := _SETTING.fullmatch(line))
    }
    version, line = settings.get("version") or settings.get("version_info") or ("", None)
    home = settings.get("home", ("", 0))[0]
    own = _own_distribution(context, folder)
    project = folder.rpartition(b"/")[0] if name_of(folder) in _USUAL_NAMES else folder
    name, own_version, start = own if own is not None else (name_of(project), None, None)
    by_service = context.started_by_service(folder)
    where = f" ({home})" if sayable(home) else ""
    application = Application(
        "python-venv",
        name,
        folder,
        Evidence(entry.path, line, "pyvenv-cfg"),
        version=own_version,
        runtime=f"python {sayable(version) or ''}".rstrip() + where,
        start=by_service or start or _served(context, folder, project),
    )
    return project, application


def _own_distribution(context: Context, folder: bytes) -> tuple[str, str, Command | None] | None:
    """Return name, version and command of the only distribution that was made here."""
    found: list[tuple[str, str, Command | None]] = []
    for entry in context.guest.glob(join(folder, b"lib*/python*/site-packages/*.dist-info")):
        match = _DISTRIBUTION.fullmatch(entry.name)
        if match is None or not context.is_file(join(entry.path, _OWN)):
            continue
        scripts = list(_scripts(context, folder, join(entry.path, b"entry_points.txt")))
        start = scripts[0] if len(scripts) == 1 else None
        found.append((text_of(match[1]), text_of(match[2]), start))
    return found[0] if len(found) == 1 else None


def _scripts(context: Context, folder: bytes, path: bytes) -> Iterator[Command]:
    """Yield the programs that a distribution brings: its console scripts."""
    section = ""
    for number, line in context.guest.lines(path):
        if line.startswith("["):
            section = line.strip()
            continue
        match = _SCRIPT.match(line)
        if match is not None and section == "[console_scripts]":
            program = join(folder, b"bin/" + encoded(match[1]))
            if context.is_file(program):
                evidence = Evidence(path, number, "console-script")
                yield Command((f"/{text_of(program)}",), evidence)


def _served(context: Context, folder: bytes, project: bytes) -> Command | None:
    """Return the command for a web server of the environment and the only module for it."""
    modules = [
        entry
        for entry in context.marks.get(Mark.PYTHON, ())
        if entry.name in _MODULES and _is_in(entry.path, project) and not _is_in(entry.path, folder)
    ]
    for program, arguments in _SERVERS:
        path = join(folder, b"bin/" + program.encode())
        fitting = [entry for entry in modules if program in _MODULES[entry.name]]
        if len(fitting) == 1 and context.is_file(path):
            inside = fitting[0].path.removeprefix(project + b"/").removesuffix(b".py")
            module = text_of(inside).replace("/", ".")
            words = tuple(word.format(module=module) for word in arguments)
            evidence = Evidence(fitting[0].path, None, f"python-{text_of(fitting[0].name)}")
            return Command((f"/{text_of(path)}", *words), evidence)
    return None
