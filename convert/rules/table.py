"""The table of rules, from ``rules.toml`` beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convert.options import Profile
from convert.rules.globs import components


class Verb(Enum):
    """What is done to a path; the values are the keys of ``rules.toml``."""

    DROP = "drop"
    """Drop it, and all that is in it."""
    DROP_FILES = "drop-files"
    """Drop it, unless it is a folder: services do not start without their folders."""
    DROP_LINKS = "drop-links"
    """Drop it if it is a symlink."""
    EMPTY = "empty"
    """Leave a file with nothing in it; its owner and mode stay."""
    REPLACE = "replace"
    """Give a file another content; its owner and mode stay."""
    REMOVE_LINES = "remove-lines"
    """Take lines out of a file."""


def _is_pattern(pattern: str) -> str:
    placeholder, _, rest = pattern.rpartition("}")
    if rest or not placeholder:
        components(rest)
    return pattern


Pattern = Annotated[str, AfterValidator(_is_pattern)]
"""As in :mod:`convert.rules.globs`; ``{home}``, ``{swap-file}`` and ``{authorized-keys}`` at the
start stand for each home of ``/etc/passwd``, each swap file of ``/etc/fstab`` and each file of keys
that may log in."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Replaced(_Row):
    """A file and its new content."""

    path: Pattern
    content: str


class Shortened(_Row):
    """Files that lose some of their lines.

    :ivar starting: what the lines begin with.
    :ivar containing: what is anywhere in them; comments (``#``) stay.
    """

    paths: tuple[Pattern, ...]
    starting: tuple[str, ...] = ()
    containing: tuple[str, ...] = ()


class Rule(_Row):
    """One rule.

    :ivar id: kebab-case; what findings name and ``--keep`` takes.
    :ivar profiles: those that apply it.
    :ivar what: for the reference, what it takes away.
    :ivar is_secret: what it takes away is secret, so that ``--secrets`` decides about it, too.
    :ivar why: the reason that its findings give.
    :ivar spare_mounts_below: folders in which it leaves the volumes that fstab mounts there: they
        hold what the machine is for, whatever the folder's name.
    :ivar with_init: it is only applied where an init system stays, which would start things.
    :ivar stop: services and units that an init system that stays does not start: masked, or
        without their links in runlevels. Shell patterns; ``getty@`` is a template.
    :ivar report: what else is told where a service of ``stop`` is there and no init system stays.
    :ivar create: files to make where an init system stays, if their folder is there.
    """

    id: str
    profiles: tuple[Profile, ...]
    what: str
    why: str
    is_secret: bool = Field(default=False, alias="is-secret")
    drop: tuple[Pattern, ...] = ()
    drop_files: tuple[Pattern, ...] = Field(default=(), alias="drop-files")
    drop_links: tuple[Pattern, ...] = Field(default=(), alias="drop-links")
    empty: tuple[Pattern, ...] = ()
    replace: tuple[Replaced, ...] = ()
    remove_lines: tuple[Shortened, ...] = Field(default=(), alias="remove-lines")
    spare_mounts_below: tuple[str, ...] = Field(default=(), alias="spare-mounts-below")
    with_init: bool = Field(default=False, alias="with-init")
    stop: tuple[str, ...] = ()
    report: str | None = None
    create: tuple[Replaced, ...] = ()

    def plain_patterns(self) -> Iterator[tuple[Verb, str]]:
        """Yield the patterns of the verbs that need nothing else, in the order that counts."""
        for verb, patterns in (
            (Verb.DROP_LINKS, self.drop_links),
            (Verb.DROP, self.drop),
            (Verb.DROP_FILES, self.drop_files),
            (Verb.EMPTY, self.empty),
        ):
            for pattern in patterns:
                yield verb, pattern


class _Table(_Row):
    rule: tuple[Rule, ...]


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return all rules, in the order in which they are asked."""
    text = (files("convert.rules") / "rules.toml").read_text(encoding="utf-8")
    return _Table.model_validate(tomllib.loads(text)).rule


def rules_of(profile: Profile) -> tuple[Rule, ...]:
    """Return the rules that a profile applies."""
    return tuple(rule for rule in all_rules() if profile in rule.profiles)
