"""PHP sites: the folders that web servers serve, and that have an ``index.php``.

Apache HTTP Server, core features, "DocumentRoot"; nginx, ngx_http_core_module, "root";
composer.json: https://getcomposer.org/doc/04-schema.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import TypedDict

from convert.inspect.applications.context import (
    Context,
    json_object,
    name_of,
    sayable,
)
from convert.inspect.applications.runtimes import runtime
from convert.inspect.config_files import config_lines
from convert.inspect.evidence import Evidence
from convert.inspect.facts import Application
from convert.inspect.programs import program_of
from convert.inspect.text import encoded
from formats.core.entry import Kind, join

_ROOT = re.compile(
    r"(?:DocumentRoot |(?:.*[{;] ?)?root |server\.document-root ?= ?)[\"']?(/[^\s;\"']+)",
    re.IGNORECASE,
)
_INDEX = b"index.php"
_VERSION_MAX = 100_000
"""As far into a file as its version is looked for."""
_SITES_MAX = 200


class _Row(TypedDict, total=False):
    name: str
    file: str
    beside: str
    version: str


@cache
def _rows() -> Sequence[_Row]:
    text = files("convert.inspect.applications").joinpath("sites.toml").read_text("utf-8")
    rows: list[_Row] = tomllib.loads(text)["site"]
    return rows


def php_sites(context: Context) -> Iterator[Application]:
    """Yield each folder once, however many names it is served by."""
    seen: set[bytes] = set()
    for path, evidence in _served(context):
        folder = context.guest.index.resolve(path)
        if folder is None or folder.kind is not Kind.FOLDER or folder.path in seen:
            continue
        if not context.is_file(join(folder.path, _INDEX)) or len(seen) >= _SITES_MAX:
            continue
        seen.add(folder.path)
        if not context.installed.owns(join(folder.path, _INDEX)):
            yield _site(context, folder.path, evidence)


def _served(context: Context) -> Iterator[tuple[bytes, Evidence]]:
    """Yield the folders that the configurations of started web servers name."""
    for service in context.services:
        program = program_of(service)
        if program is None:
            continue
        for line in config_lines(context.guest, program, service):
            match = _ROOT.match(line.text)
            if match is not None:
                rule = f"{program.name}-config"
                yield encoded(match[1]), Evidence(line.path, line.number, rule)


def _site(context: Context, folder: bytes, evidence: Evidence) -> Application:
    for row in _rows():
        for top in (folder, folder.rpartition(b"/")[0]):
            if top and context.is_file(join(top, row["file"].encode())):
                version = _version(context, top, row)
                php = runtime(context, "php")
                return Application("php-site", row["name"], folder, evidence, version, php)
    for top in (folder, folder.rpartition(b"/")[0]):
        composer = json_object(context.guest.text(join(top, b"composer.json")) if top else None)
        name = sayable((composer or {}).get("name"))
        if composer is not None and name is not None:
            version = sayable(composer.get("version"))
            break
    else:
        name, version = name_of(folder), None
    return Application("php-site", name, folder, evidence, version, runtime(context, "php"))


def _version(context: Context, top: bytes, row: _Row) -> str | None:
    path = join(top, row.get("beside", row["file"]).encode())
    match = re.search(row["version"], (context.guest.text(path) or "")[:_VERSION_MAX])
    return ".".join(match.groups()) if match is not None else None
