"""The kinds of secrets, from ``kinds.toml`` beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from convert.reasons import Confidence
from formats.core.finding import Finding

RULE_PREFIX = "secret-"
CONFIG_RULE = f"{RULE_PREFIX}in-config"
"""Of findings about the image's config; there is no kind for it, since any can be there."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class SecretKind(_Row):
    """One kind of secret; ``kinds.toml`` says what its fields mean.

    :ivar id: kebab-case; with ``secret-`` before it, what findings name and ``--keep`` takes.
    :ivar what: for people.
    :ivar is_token: its pattern is the secret itself, which is masked wherever it would be shown.
    """

    id: str
    what: str
    confidence: Confidence
    paths: tuple[str, ...] = ()
    among: tuple[str, ...] = ()
    everywhere: bool = False
    is_token: bool = Field(default=False, alias="is-token")
    hints: tuple[str, ...] = ()
    pattern: str | None = None
    magic: tuple[str, ...] = ()
    not_values: frozenset[str] = Field(default=frozenset(), alias="not-values")

    @property
    def rule(self) -> str:
        """What findings call it."""
        return RULE_PREFIX + self.id

    @property
    def evidence(self) -> str:
        """What findings say of it, and how sure that is."""
        return f"{self.what} ({self.confidence.value} confidence)"


class TextFiles(_Row):
    """Which files are looked into though no kind names them.

    :ivar examples_in: names of folders below ``not_below`` in which nothing is looked into.
    :ivar first: endings of those that come first, where there are too many, then ``second``.
    """

    not_below: tuple[str, ...] = Field(alias="not-below")
    but_below: tuple[str, ...] = Field(alias="but-below")
    examples_in: frozenset[str] = Field(alias="examples-in")
    not_in: frozenset[str] = Field(alias="not-in")
    first: frozenset[str]
    second: frozenset[str]
    never: frozenset[str]


class _Table(_Row):
    text: TextFiles
    kind: tuple[SecretKind, ...]


@cache
def _table() -> _Table:
    text = (files("convert.secrets") / "kinds.toml").read_text(encoding="utf-8")
    return _Table.model_validate(tomllib.loads(text))


def all_kinds() -> tuple[SecretKind, ...]:
    """Return all kinds, the most telling first: of what two find at a place, the first counts."""
    return _table().kind


def text_files() -> TextFiles:
    """Return which files are looked into though no kind names them."""
    return _table().text


class Look:
    """How one kind is looked for in a file.

    Its expressions are compiled when they are needed first: of most kinds, most trees have nothing.

    :ivar any_case: the hint is in lower case, whatever the file has.
    """

    def __init__(self, kind: SecretKind) -> None:
        self.kind = kind
        self.any_case = (kind.pattern or "").startswith("(?i)")

    @cached_property
    def hint(self) -> re.Pattern[bytes] | None:
        """What has to be in a file before the pattern is tried; None: any file will do."""
        return any_of(self.kind.hints) if self.kind.hints else None

    @cached_property
    def pattern(self) -> re.Pattern[bytes] | None:
        """What it looks like; None where the name is enough."""
        return _expression(self.kind)


def any_of(words: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern for any of some words.

    It branches by one letter after the other, which :mod:`re` follows ten times as fast as whole
    words beside each other, and five times as fast as bytes are searched for each of them.
    """
    return re.compile(_branches([word.encode() for word in words]))


def _branches(words: Sequence[bytes]) -> bytes:
    if b"" in words:
        return b""
    rests: dict[bytes, list[bytes]] = {}
    for word in words:
        rests.setdefault(word[:1], []).append(word[1:])
    branches = [re.escape(first) + _branches(rest) for first, rest in sorted(rests.items())]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


@cache
def all_looks() -> tuple[Look, ...]:
    """Return how each kind is looked for, in the order of :func:`all_kinds`."""
    return tuple(map(Look, all_kinds()))


def _expression(kind: SecretKind) -> re.Pattern[bytes] | None:
    """Return the pattern of a kind, or that of its first bytes."""
    if kind.pattern is not None:
        return re.compile(kind.pattern.encode(), re.MULTILINE)
    if not kind.magic:
        return None
    heads = (_magic(item) for item in kind.magic)
    return re.compile(rb"\A(?:" + b"|".join(heads) + rb")", re.DOTALL)


def _magic(digits: str) -> bytes:
    pairs = (digits[start : start + 2] for start in range(0, len(digits), 2))
    return b"".join(b"." if pair == "??" else re.escape(bytes.fromhex(pair)) for pair in pairs)


def secret_rules() -> tuple[str, ...]:
    """Return the rules that findings about secrets name; ``--keep`` accepts what they tell of."""
    return (*(kind.rule for kind in all_kinds()), CONFIG_RULE)


def most_certain_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings about secrets in the order in which a person wants to look at them."""
    ranks = {kind.rule: list(Confidence).index(kind.confidence) for kind in all_kinds()}
    return sorted(findings, key=lambda finding: ranks.get(finding.rule, len(ranks)))
