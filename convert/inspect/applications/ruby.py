"""Applications in Ruby: a ``config.ru`` of Rack, or a Gemfile with an application around it.

Rack specification (https://github.com/rack/rack/blob/main/SPEC.rdoc), gemfile(5) of Bundler,
"The Rails Initialization Process".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convert.inspect.applications.context import Context, name_of
from convert.inspect.applications.marks import Mark
from convert.inspect.applications.runtimes import runtime
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Application, Command
from formats.core.entry import join

_LOCK = b"Gemfile.lock"
_LOCKED = re.compile(r" {4}(rails|sinatra|puma|unicorn|passenger|thin) \(([\w.]+)\)")
_SERVERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("puma", ("bundle", "exec", "puma", "--config", "config/puma.rb")),
    ("unicorn", ("bundle", "exec", "unicorn")),
    ("thin", ("bundle", "exec", "thin", "start")),
)
_OF_RAILS = b"config/application.rb"
_ANYWHERE = "0.0.0.0"  # noqa: S104 - a container is reached from outside of it
_RAILS_SERVER = ("bin/rails", "server", "--binding", _ANYWHERE, "--environment", "production")


def ruby_applications(context: Context) -> Iterator[Application]:
    """Yield the applications that a web server for Ruby can start, or a service does."""
    seen: set[bytes] = set()
    for entry in context.marks.get(Mark.RUBY, ()):
        folder = entry.parent
        is_rack = context.is_file(join(folder, b"config.ru"))
        by_service = context.started_by_service(folder)
        if folder in seen or not (is_rack or by_service):
            continue
        if context.installed.owns(entry.path):
            continue
        seen.add(folder)
        is_rails = context.is_file(join(folder, _OF_RAILS))
        locked = _locked(context, folder)
        name = f"{name_of(folder)} (Rails {locked['rails']})" if "rails" in locked else None
        rule = "rails" if is_rails else "rack"
        evidence = Evidence(entry.path, None, rule)
        yield Application(
            "ruby",
            name or name_of(folder),
            folder,
            evidence,
            runtime=_runtime(context, folder),
            start=by_service or _start(context, folder, evidence, locked, is_rails=is_rails),
        )


def _locked(context: Context, folder: bytes) -> dict[str, str]:
    """Return the versions that were installed of what matters here."""
    return {
        match[1]: match[2]
        for _, line in context.guest.lines(join(folder, _LOCK))
        if (match := _LOCKED.fullmatch(line))
    }


def _runtime(context: Context, folder: bytes) -> str | None:
    wanted = next((line for _, line in context.guest.lines(join(folder, b".ruby-version"))), "")
    found = runtime(context, "ruby")
    if not re.fullmatch(r"[\w.-]{1,40}", wanted):
        return found
    return f"{found or 'ruby'}, wants {wanted}"


def _start(
    context: Context,
    folder: bytes,
    evidence: Evidence,
    locked: dict[str, str],
    *,
    is_rails: bool,
) -> Command:
    for server, words in _SERVERS:
        needed = next((word for word in words if word.startswith("config/")), "config.ru")
        if server in locked and context.is_file(join(folder, needed.encode())):
            return Command(words, evidence)
    if is_rails and context.is_file(join(folder, b"bin/rails")):
        return Command(_RAILS_SERVER, evidence)
    return Command(("bundle", "exec", "rackup", "--host", _ANYWHERE), evidence)
