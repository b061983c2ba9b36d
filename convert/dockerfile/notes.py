"""``NOTES.md``: what of the machine is not in the Dockerfile, and what to look after by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from convert.dockerfile.draft import Draft
from convert.dockerfile.place import Placed
from convert.dockerfile.text import ARCHIVE, SOURCES_ARCHIVE
from convert.oci.config import ImageConfig
from formats.core.finding import Finding
from formats.core.origin import printable

_SHOWN = 200
"""Of any list: a longer one is for ``--json``."""
_CRON = frozenset({"cron", "crond", "cronie", "dcron"})
_GUESSED = (
    "No record says which packages somebody asked for: those are named that no other one needs."
    " Some of them may not be wanted."
)
_MODES = (
    "`COPY` takes modes from the files of this folder. git keeps only whether a file is"
    " executable: where a mode matters, say so with `COPY --chmod`."
)


def notes_text(draft: Draft) -> str:
    """Return the notes as Markdown."""
    lines = [
        "# What is not in the Dockerfile",
        "",
        "The Dockerfile starts from the official image, installs what was asked for on the",
        "machine, and copies what was changed or put there by hand. Read it as a draft. Packages",
        "come in the versions that their sources have today.",
        *_base(draft),
        *_packages(draft),
        *_sources(draft),
        *_files(draft),
        *_settings(draft.plan.config, draft.plan.decisions.config.config),
        *_machine(draft),
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, text: str, items: Iterable[str]) -> Iterator[str]:
    """Yield a list below a heading; nothing where there is none."""
    found = list(items)
    if not found:
        return
    yield from ("", f"## {title}", "")
    if text:
        yield from (text, "")
    yield from (f"- {item}" for item in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"- … and {len(found) - _SHOWN:,} more; `--json` lists them"


def _base(draft: Draft) -> Iterator[str]:
    note = draft.base.note
    if note is not None:
        yield from _section("The official image", "", [f"{_code(draft.base.image)}: {note}."])


def _packages(draft: Draft) -> Iterator[str]:
    chosen = draft.chosen
    if not draft.wanted.is_known:
        yield from _section(
            "Packages",
            "",
            [_GUESSED],
        )
    by_reason: dict[str, list[str]] = {}
    for name, why in chosen.left_out:
        by_reason.setdefault(why, []).append(name)
    yield from _section(
        "Packages that were asked for and are not installed",
        "",
        (f"{_codes(names)}: {why}." for why, names in by_reason.items()),
    )
    left_out = {name for name, _ in chosen.left_out}
    weak = [name for name in chosen.weak if name not in left_out]
    if weak:
        yield from _section(
            "Packages that came along",
            "The machine has them, and nothing that is installed depends on them: they were"
            " recommended, or belong to what is left out. Add those that are missed.",
            [_codes(weak)],
        )


def _sources(draft: Draft) -> Iterator[str]:
    sources = draft.sources
    yield from _section(
        "Sources of packages beside the distribution",
        "Their files and keys are copied. Look whether you trust them, and whether they still"
        " have the packages.",
        map(_code, sources.hosts),
    )
    yield from _section(
        "Lines of /etc/apt/sources.list",
        "They name other places than the distribution's, and are not copied.",
        map(_code, sources.untold),
    )


def _files(draft: Draft) -> Iterator[str]:
    differences = draft.differences
    yield from _section(
        "Settings and files that differ from their packages",
        "They are copied over what the package brings. A newer package may want another form.",
        (_path(path) for path in sorted(differences.changed)),
    )
    yield from _section(
        "What somebody removed",
        "The Dockerfile removes it as well.",
        (_path(path) for path in differences.removed),
    )
    for placed, name in ((draft.before, SOURCES_ARCHIVE), (draft.after, ARCHIVE)):
        yield from _archived(placed, name)
    yield from _section(
        "Left out, or to be looked at", "", (_told(finding) for finding in draft.findings)
    )
    if draft.after.files:
        yield from _section(
            "Modes",
            "",
            [_MODES],
        )


def _archived(placed: Placed, name: str) -> Iterator[str]:
    yield from _section(
        f"In {name}",
        "`COPY` would not keep all of their owners, modes, xattrs or names, or they are too many.",
        (_path(entry.path) for entry in placed.special),
    )


def _settings(config: ImageConfig, told: ImageConfig) -> Iterator[str]:
    names = [
        item.partition("=")[0]
        for item, shown in zip(config.env, told.env, strict=True)
        if item != shown
    ]
    items = [f"the variable {_code(name)}" for name in names]
    if (config.entrypoint, config.cmd) != (told.entrypoint, told.cmd):
        items.append("the command line, where it says `***`")
    yield from _section("Secrets to give when it runs", "", items)


def _machine(draft: Draft) -> Iterator[str]:
    facts = draft.plan.decisions.facts
    yield from _section(
        "How it is started", "", map(_sentence, draft.plan.decisions.entrypoint.evidence)
    )
    yield from _section(
        "Data",
        "Folders of services are not copied: mount them as volumes, and fill them by the service's"
        " own tools.",
        (_code(folder.path) for folder in facts.volumes),
    )
    yield from _section(
        "What does not work in a container",
        "",
        (f"{_code(item.what)}: {_sentence(item.advice)}" for item in facts.obstacles),
    )
    entrypoint = draft.plan.decisions.entrypoint
    if entrypoint.init is not None:
        return
    jobs = () if entrypoint.service in _CRON else facts.jobs
    yield from _section(
        "Jobs that nothing starts",
        "",
        (f"{_code(job.time)} {_code(job.command)} ({job.evidence})" for job in jobs),
    )
    yield from _section("Timers that nothing starts", "", map(_code, facts.timers))


def _told(finding: Finding) -> str:
    where = f"{_path(finding.path)}: " if finding.path else ""
    return f"{where}{_sentence(finding.evidence)}"


def _codes(names: Sequence[str]) -> str:
    return ", ".join(map(_code, names))


def _path(path: bytes) -> str:
    return _ticked(f"/{printable(path)}")


def _code(text: str) -> str:
    """Return a guest's text as Markdown that holds no markup."""
    return _ticked(printable(text))


def _ticked(text: str) -> str:
    """Return a text inside of as many ticks as needed."""
    ticks = "`"
    while ticks in text:
        ticks += "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _sentence(text: str) -> str:
    """Return a text, parts of which a guest may have written, with no markup in it."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_[]<>|&" else letter for letter in printable(text)
    )
