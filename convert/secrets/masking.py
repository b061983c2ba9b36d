"""Values that must not be shown: masked in all that is told of a conversion.

A secret is told by having been found in the tree, by how it looks (tokens), and by what it is named
(``DB_PASSWORD=…``, ``--password …``, ``scheme://user:…@host``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from convert.secrets.kinds import all_kinds

MASKED = "***"

_VALUES_MAX = 2_000
_TELLING_LENGTH = 6
"""A shorter value, or one plain word, would mask what has nothing to do with it."""

_QUOTED = r"""(?:'[^']*'|"[^"]*"|[^\s'",;|&]+)"""
_NAME = (
    r"(?:passw(?:or)?d|passphrase|(?<![a-z])pass|(?<=[_.-])pwd|secret|secret[_-]?key|api[_-]?key|auth[_-]?key"
    r"|access[_-]?key|encryption[_-]?key|private[_-]?key|token|credentials?|requirepass|masterauth)"
)
_GAP = r"\s{0,8}"
_USER = r"(?:-u|--user|--proxy-user)[ =]?[\"']?"
_SHOWN = re.compile(
    "|".join(
        (
            # NAME=value, name: value, "name": "value"; in units, environments, mount options
            rf"(?i:(?P<n1>{_NAME}[\w-]{{0,8}}[\"']?(?:{_GAP}=>{_GAP}|{_GAP}={_GAP}|:\s{{1,8}}))){_QUOTED}",
            # --password value, -password:value, --requirepass value
            rf"(?i:(?P<n2>(?<![\w-])--?[a-z-]{{0,40}}{_NAME}[ :]{_GAP}))(?!-){_QUOTED}",
            rf"(?P<n3>(?<!\w)(?:requirepass|masterauth)\s{{1,8}}){_QUOTED}",
            # curl -u user:password, --user=user:password
            rf"(?P<n4>\b(?:curl|wget)\b[^|;&\n]{{0,200}}?\s{_USER}[^\s:\"'/]{{1,100}}:){_QUOTED}",
            # mysql -pPASSWORD, sshpass -p PASSWORD, redis-cli -a PASSWORD
            rf"(?P<n5>\b(?:mysql|mariadb)\w{{0,20}}\b[^|;&\n]{{0,200}}?\s-p){_QUOTED}",
            rf"(?P<n6>\bsshpass\s{{1,8}}-p{_GAP}){_QUOTED}",
            rf"(?P<n7>\bredis-cli\b[^|;&\n]{{0,200}}?\s-a\s{{1,8}}){_QUOTED}",
            # Authorization: Bearer …
            r"(?i:(?P<n8>\b(?:Bearer|Basic)\s{1,8}))[A-Za-z0-9+/=._~-]{8,}",
            # scheme://user:password@
            r"(?P<n9>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:/@\"']{0,100}:)[^\s@/\"']{1,200}(?=@)",
        )
    )
)
"""All of it bounded: a guest's command line must not take longer than it is long."""

_IS_SECRET_NAME = re.compile(rf"{_NAME}(?:[_.-]?(?:base64|b64))?$", re.IGNORECASE)


class Mask:
    """Replaces secrets in texts: those given, those that can be told by how they look or are named.

    :param values: of secrets that were found; never shown themselves.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: dict[str, str] = {}
        """Texts that were masked: thousands of findings have a few reasons."""
        telling = sorted(filter(_is_telling, set(values)), key=lambda value: (-len(value), value))
        self._values = telling[:_VALUES_MAX]

    def __call__(self, text: str) -> str:
        """Return the text with every secret in it masked."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._masked(text)
        return known

    def _masked(self, text: str) -> str:
        text = _SHOWN.sub(_kept_name, text)
        for pattern in _tokens():
            text = pattern.sub(MASKED, text)
        for value in self._values:
            if value in text:
                text = text.replace(value, MASKED)
        return text

    def variable(self, item: str) -> str:
        """Return ``NAME=value``; of a name that says so, the whole value is masked."""
        name, separator, value = item.partition("=")
        if separator and value and _IS_SECRET_NAME.search(name):
            return f"{name}={MASKED}"
        return self(item)

    def words(self, command: Iterable[str]) -> tuple[str, ...]:
        """Return the words of a command; one that follows a telling option is masked."""
        masked: list[str] = []
        before = ""
        for word in command:
            is_named = before.startswith("-") and _IS_SECRET_NAME.search(before)
            is_value = is_named and not word.startswith("-")
            masked.append(MASKED if is_value else self.variable(word))
            before = word
        return tuple(masked)


def _kept_name(match: re.Match[str]) -> str:
    name = next(value for value in match.groupdict().values() if value is not None)
    return name + MASKED


def _is_telling(value: str) -> bool:
    is_word = value.isalpha() and (value.islower() or value.istitle() or value.isupper())
    return len(value) >= _TELLING_LENGTH and not value.isdigit() and not is_word


@cache
def _tokens() -> tuple[re.Pattern[str], ...]:
    """Return the patterns of what can be told as a secret wherever it is."""
    return tuple(
        re.compile(kind.pattern)
        for kind in all_kinds()
        if kind.is_token and kind.pattern is not None
    )
