"""A draft as the text of a Dockerfile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from convert.configuration import LABEL_CREATED, LABEL_SERVICE, LABEL_TITLE, LABEL_VERSION
from convert.dockerfile import instructions
from convert.dockerfile.accounts import Line
from convert.dockerfile.draft import Draft
from convert.dockerfile.instructions import (
    can_be_written,
    escaped,
    quoted_value,
    runs,
    words,
)
from convert.dockerfile.place import CONTEXT_FOLDER, Placed
from convert.inspect.entrypoint import PATH
from convert.inspect.facts import RuntimeFolder
from convert.oci.config import ImageConfig
from convert.version import VERSION
from formats.core.entry import Entry
from formats.core.origin import printable
from formats.core.package import PackageSystem

ARCHIVE = "rootfs.tar"
SOURCES_ARCHIVE = "sources.tar"
_UPDATE_CERTIFICATES = {
    PackageSystem.DEB: "update-ca-certificates",
    PackageSystem.APK: "update-ca-certificates",
    PackageSystem.RPM: "update-ca-trust",
    PackageSystem.PACMAN: "update-ca-trust",
}
_DEFAULT_STOP = "SIGTERM"
_REMOVED_AT_ONCE = 100
_OWN_LABELS = frozenset({LABEL_CREATED, LABEL_SERVICE, LABEL_TITLE, LABEL_VERSION})
"""What ``convert run`` says of an image of the whole system."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def dockerfile_text(draft: Draft) -> str:
    """Return the Dockerfile."""
    return "\n".join([*_head(draft), *_build(draft), *_config(draft)]).rstrip("\n") + "\n"


def _head(draft: Draft) -> Iterator[str]:
    system = draft.plan.decisions.facts.operating_system
    name = printable(system.pretty_name) if system is not None else "a system"
    platform = draft.plan.config.platform
    yield f"# {name}, for {platform}; drafted by oci-convert {VERSION}."
    yield "# NOTES.md says what of the machine is not in here, and why."
    yield ""
    yield f"ARG BASE={draft.base.image}"
    yield "FROM ${BASE}"


def _section(comment: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield instructions below a comment; nothing where there are none."""
    found = list(lines)
    if found:
        yield from ("", f"# {comment}", *found)


def _build(draft: Draft) -> Iterator[str]:
    yield from _section(
        "Users and groups with the numbers that they have on the machine.",
        _accounts(draft.groups, draft.users),
    )
    yield from _section("Where packages come from, beside the distribution.", _sources(draft))
    yield from _section(f"Asked for, says {draft.wanted.basis}.", _install(draft))
    yield from _section(
        "Settings that were changed, and what belongs to no package.",
        _placed(draft.after, ARCHIVE, draft),
    )
    yield from _section("What was removed, and what has to be there.", _finish(draft))


def _accounts(groups: Sequence[Line], users: Sequence[Line]) -> Iterator[str]:
    yield from runs([*_added(groups, "/etc/group"), *_added(users, "/etc/passwd")])


def _added(lines: Iterable[Line], file: str) -> Iterator[str]:
    for line in lines:
        known = shlex.quote(f"^{line.name.replace('.', '[.]').replace('$', '[$]')}:")
        text = shlex.quote(line.text)
        yield f"{{ grep -q {known} {file} || printf '%s\\n' {text} >> {file}; }}"


def _sources(draft: Draft) -> Iterator[str]:
    is_apt = draft.base.manager.system is PackageSystem.DEB
    if draft.sources.is_tls and is_apt:
        yield from runs(_commands(draft, ["ca-certificates"]))
    yield from _placed(draft.before, SOURCES_ARCHIVE, draft)
    if draft.sources.lines:
        lines = words(filter(can_be_written, draft.sources.lines))
        yield from runs([f"printf '%s\\n' {lines} >> /etc/apk/repositories"])


def _install(draft: Draft) -> Iterator[str]:
    if draft.chosen.names:
        yield from runs(_commands(draft, draft.chosen.names))


def _commands(draft: Draft, packages: Sequence[str]) -> list[str]:
    named = instructions.wrapped(packages)
    return [command.replace("{packages}", named) for command in draft.base.manager.install]


def _placed(placed: Placed, archive: str, draft: Draft) -> Iterator[str]:
    """Yield what puts files at their places, in the order that :class:`Placed` says."""
    yield from runs(_made(folder, draft) for folder in placed.folders)
    for item in placed.copies:
        end = "/" if item.target else ""
        sources = [f"{CONTEXT_FOLDER}/{source}{end * item.is_folder}" for source in item.sources]
        yield instructions.copy(sources, f"/{item.target}{end}", item.owner)
    if placed.special:
        yield f"ADD {archive} /"
    yield from runs(map(_linked, placed.links))


def _made(folder: Entry | RuntimeFolder, draft: Draft) -> str:
    owner = draft.accounts.owner(folder.uid, folder.gid)
    path = shlex.quote(f"/{_text(folder.path)}")
    return f"mkdir -p {path} && chown {owner} {path} && chmod {folder.mode:04o} {path}"


def _linked(link: Entry) -> str:
    return f"ln -sfn -- {words([_text(link.target or b''), f'/{_text(link.path)}'])}"


def _finish(draft: Draft) -> Iterator[str]:
    yield from runs(_finishing(draft))


def _finishing(draft: Draft) -> Iterator[str]:
    removed = [f"/{_text(path)}" for path in draft.differences.removed]
    removed = [path for path in removed if can_be_written(path)]
    for start in range(0, len(removed), _REMOVED_AT_ONCE):
        yield f"rm -f -- {instructions.wrapped(removed[start : start + _REMOVED_AT_ONCE])}"
    for folder in draft.runtime_folders:
        if can_be_written(_text(folder.path)):
            yield _made(folder, draft)
    if draft.has_certificates:
        yield _UPDATE_CERTIFICATES[draft.base.manager.system]


def _config(draft: Draft) -> Iterator[str]:
    told = draft.plan.decisions.config.config
    settings = list(_settings(draft.plan.config, told))
    if draft.health is not None:
        settings.append(f"HEALTHCHECK CMD {instructions.json_words(draft.health)}")
    yield from _section("How it runs.", settings)


def _settings(config: ImageConfig, told: ImageConfig) -> Iterator[str]:
    """Yield the settings of an image's config.

    :param told: the same without secrets: a variable that differs is left out.
    """
    for item, shown in zip(config.env, told.env, strict=True):
        name, _, value = item.partition("=")
        is_usual = name == "PATH" and value == PATH
        can_be_said = can_be_written(value) and _VARIABLE.fullmatch(name)
        if item == shown and not is_usual and can_be_said:
            yield f"ENV {name}={quoted_value(value)}"
    for (name, value), shown_label in zip(config.labels, told.labels, strict=True):
        is_own = name in _OWN_LABELS
        can_be_said = can_be_written(value) and _VARIABLE.fullmatch(name)
        if (name, value) == shown_label and not is_own and can_be_said:
            yield f"LABEL {name}={quoted_value(value)}"
    ports = [port for port in config.exposed_ports if can_be_written(port)]
    if ports:
        yield f"EXPOSE {' '.join(port.removesuffix('/tcp') for port in ports)}"
    volumes = [path for path in config.volumes if can_be_written(path)]
    if volumes:
        yield f"VOLUME {instructions.json_words(map(escaped, volumes))}"
    if config.working_dir and can_be_written(config.working_dir):
        yield f"WORKDIR {escaped(config.working_dir)}"
    if config.user and can_be_written(config.user):
        yield f"USER {escaped(config.user)}"
    if config.stop_signal and config.stop_signal != _DEFAULT_STOP:
        yield f"STOPSIGNAL {config.stop_signal}"
    if told.entrypoint:
        yield f"ENTRYPOINT {instructions.json_words(told.entrypoint)}"
    if told.cmd:
        yield f"CMD {instructions.json_words(told.cmd)}"


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
