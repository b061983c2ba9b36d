"""``make docs``: writes the pages that come from the code, so that they cannot be wrong.

A test compares them with what this would write.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from pydantic import BaseModel

from convert.cli.main import cli
from convert.report.schemas import DOCUMENTS
from convert.rules.reference import rule_rows
from convert.rules.table import all_rules
from convert.secrets.reference import secret_rows
from formats.core.reader import Category, Reader
from formats.core.registry import default_registry

HERE = Path(__file__).parent
_NOTE = "<!-- Written by `make docs`. Change the code instead. -->\n"

_FORMATS_INTRODUCTION = """\
What a file is, is found out from its bytes; the ending of its name never decides.
Numbered parts (`split`) are put together by their names, and then the same holds.
"""
_RULES_INTRODUCTION = """\
What is taken out of a machine so that it makes a good container.
`--keep RULE` leaves a rule out; `--profile none` applies none, `--profile strict` applies all.
Each path that a rule drops, empties or changes has a finding:
`convert inspect --json` lists them before anything is written, `convert run --report FILE` with
the image.
"""
_RULES_END = """\
`--drop GLOB` drops more: `*` and `?` stay in one folder, `**` goes below,
and a pattern starts at the root.
"""
_SECRETS_INTRODUCTION = """\
What would be in the image is looked for before anything is written, and told by path, line and
kind, never by value; values of the config are shown as `***`.

| `--secrets` | |
| --- | --- |
| `scrub` | The default: {rules} take out what is secret of the machine itself; \
everything else stays and is told. |
| `report` | These rules are not applied: everything stays and is told. |
| `fail` | As `scrub`, and a secret that would stay ends with exit code 10, \
before anything is written. |
| `keep` | Everything stays, and nothing is looked for. |

`--keep secret-KIND` accepts what is of one kind, `--drop GLOB` leaves a file out.
With `--profile none` no rule is applied, whatever `--secrets` says.
A file is looked into if its name says so, or if it is a small text outside of what packages own;
where there are too many, settings come first, and `secrets-not-looked-for` says how many were left.
"""
_JSON_INTRODUCTION = """\
Within one `version`, keys are added, never renamed. Sizes are bytes.
Names from a guest are printable text: other bytes come as `\\xNN`.
An error is `{"error": …}`, see [errors.md](errors.md).
"""

_CATEGORIES = {
    Category.COMPRESSION: "Compressed files",
    Category.DISK: "Disks",
    Category.BUNDLE: "Bundles",
    Category.VOLUMES: "Volumes",
    Category.FILESYSTEM: "Filesystems",
    Category.PACKAGE: "Packages",
    Category.ARCHIVE: "Archives",
}


def formats_page() -> str:
    """Return ``formats.md``."""
    readers = sorted(default_registry(), key=lambda reader: reader.name)
    parts = [
        "# Formats\n",
        _NOTE,
        _FORMATS_INTRODUCTION,
        "## Read\n",
    ]
    for category, title in _CATEGORIES.items():
        found = [item for item in readers if item.category is category and item.doc.reads]
        if found:
            parts += [f"### {title}\n", *(_reader_section(reader) for reader in found)]
    refused = [reader for reader in readers if not reader.doc.reads]
    parts += [
        "## Recognised, and refused by name\n",
        _table(
            ("", "what", "what to do"),
            ((f"`{item.name}`", item.doc.title, item.doc.refuses) for item in refused),
        ),
    ]
    return "\n".join(parts)


def _reader_section(reader: Reader) -> str:
    doc = reader.doc
    rows = {
        "files": " ".join(f"`{ending}`" for ending in doc.extensions),
        "reads": doc.reads,
        "refuses by name": doc.refuses,
        "written from": doc.specification,
    }
    lines = [f"- {name}: {text}" for name, text in rows.items() if text]
    return "\n".join([f"**`{reader.name}`** {doc.title}", "", *lines, ""])


def rules_page() -> str:
    """Return ``rules.md``."""
    secret = [f"`{rule.id}`" for rule in all_rules() if rule.is_secret]
    return "\n".join(
        [
            "# Rules\n",
            _NOTE,
            _RULES_INTRODUCTION,
            _table(("rule", "profiles", "what", "why"), rule_rows()),
            _RULES_END,
            "## Secrets\n",
            _SECRETS_INTRODUCTION.format(rules=", ".join(secret)),
            _table(("rule", "what", "confidence", "where"), secret_rows()),
        ]
    )


def json_page() -> str:
    """Return ``json.md``."""
    parts = [
        "# JSON documents\n",
        _NOTE,
        _JSON_INTRODUCTION,
    ]
    seen: set[type[BaseModel]] = set()
    for name, model in DOCUMENTS.items():
        command = "run --split" if name == "split" else name
        parts.append(f"## `convert {command} --json`\n")
        parts += _model_tables(model, seen)
    return "\n".join(parts)


def _model_tables(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    doc = (model.__doc__ or "").partition("\n")[0]
    rows = (
        (f"`{name}`", _type_name(field.annotation), field.description or "")
        for name, field in model.model_fields.items()
    )
    yield f"**{model.__name__.removesuffix('Document')}**: {doc}\n"
    yield _table(("key", "type", ""), rows)
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            yield from _model_tables(inner, seen)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _type_name(annotation: object) -> str:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_type_name(item) for item in arguments)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"object of {_type_name(arguments[1])}"
    if origin is typing.Literal:
        return repr(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__.removesuffix("Document")
    return _PLAIN_TYPES[annotation]


_PLAIN_TYPES: dict[object, str] = {
    str: "text",
    int: "number",
    bool: "true or false",
    object: "anything",
    type(None): "null",
}


def commands_page() -> str:
    """Return ``commands.md``: the help texts."""
    group = click.Context(cli, info_name="convert", help_option_names=["-h", "--help"])
    parts = ["# Commands\n", _NOTE]
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        if command is None:
            continue
        with click.Context(command, info_name=name, parent=group, max_content_width=96) as context:
            parts.append(f"## convert {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES: dict[str, Callable[[], str]] = {
    "formats.md": formats_page,
    "rules.md": rules_page,
    "json.md": json_page,
    "commands.md": commands_page,
}

if __name__ == "__main__":
    for page, text in PAGES.items():
        (HERE / page).write_text(text(), encoding="utf-8")
