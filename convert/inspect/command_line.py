"""Command lines of units: systemd.service(5) "Command lines", systemd.unit(5) "Specifiers"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from convert.inspect.text import ARGUMENT_MAX, ARGUMENTS_MAX, encoded, replaced
from convert.inspect.unit_file import BadQuotingError, Word, split_words, words_of

_PREFIX = re.compile(r"[@:|+-]|!!?")
_PRIVILEGES = "+!"
_SPECIFIER = re.compile(r"%(.)")
_WHOLE_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(
    r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\@-]*)?"
    r"\.(service|socket|target|timer|mount|automount|path|slice|swap|device|scope)"
)


@dataclass(frozen=True, slots=True)
class UnitName:
    """A unit's name in its parts: ``getty@tty1.service``.

    :ivar full: the whole name.
    """

    full: str

    @property
    def is_valid(self) -> bool:
        """Tell whether systemd takes it for a unit's name: systemd.unit(5), "Description"."""
        return len(self.full) < 256 and _NAME.fullmatch(self.full) is not None

    @property
    def kind(self) -> str:
        """``service``."""
        return self.full.rpartition(".")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix: ``getty@tty1``."""
        return self.full.rpartition(".")[0] or self.full

    @property
    def prefix(self) -> str:
        """What stands before the ``@``: ``getty``."""
        return self.stem.partition("@")[0]

    @property
    def instance(self) -> str:
        """What stands after the ``@``: ``tty1``; empty if there is none."""
        return self.stem.partition("@")[2]

    @property
    def is_template(self) -> bool:
        """Tell whether it needs an instance before it is a unit."""
        return "@" in self.stem and not self.instance

    @property
    def template(self) -> str | None:
        """The file that an instance is made from: ``getty@.service``."""
        return f"{self.prefix}@.{self.kind}" if self.instance else None


def unescape_unit(text: str) -> str:
    r"""Undo systemd-escape(1): ``-`` is ``/``, ``\xNN`` a byte."""
    raw = re.sub(
        rb"\\x([0-9a-f]{2})",
        lambda match: bytes([int(match[1], 16)]),
        encoded(text.replace("-", "/")),
    )
    return raw.decode("utf-8", "surrogateescape")


def specifiers(name: UnitName) -> dict[str, str]:
    """Return what each ``%`` letter stands for in a unit of the system manager, which is root's.

    Those that tell of the running machine (``%H``, ``%m``, ``%b``, ``%v``) are left out: there is
    none.
    """
    return {
        "n": name.full,
        "N": name.stem,
        "p": name.prefix,
        "P": unescape_unit(name.prefix),
        "i": name.instance,
        "I": unescape_unit(name.instance),
        "j": name.prefix.rpartition("-")[2],
        "J": unescape_unit(name.prefix.rpartition("-")[2]),
        "f": "/" + unescape_unit(name.instance or name.prefix),
        "t": "/run",
        "S": "/var/lib",
        "C": "/var/cache",
        "L": "/var/log",
        "E": "/etc",
        "T": "/tmp",  # noqa: S108  the guest's folder, by its name in the manual
        "V": "/var/tmp",  # noqa: S108  the same
        "h": "/root",
        "u": "root",
        "U": "0",
        "g": "root",
        "G": "0",
        "%": "%",
    }


def expand_specifiers(text: str, known: Mapping[str, str]) -> str:
    """Replace ``%`` letters; unknown ones stay as they are."""
    return replaced(_SPECIFIER, text, lambda match: known.get(match[1], match[0]))


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One command of an ``Exec…=`` setting, before environment variables are put in.

    :ivar words: the program first.
    :ivar prefixes: those of ``@-:+!`` that it had.
    """

    words: tuple[str, ...]
    prefixes: frozenset[str]

    def argv(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the words with variables replaced: ``${X}`` in place, ``$X`` split into words.

        Empty if that is more than a program can be started with.
        """
        if ":" in self.prefixes:
            return self.words
        result = [self.words[0]]
        length = 0
        splits: dict[str, list[str]] = {}
        for word in self.words[1:]:
            match = _WHOLE_VARIABLE.fullmatch(word)
            if match is None:
                added = [_expand(word, environment)]
            else:
                name = match[1]
                if name not in splits:
                    splits[name] = split_words(environment.get(name, ""))
                added = splits[name]
            result += added
            length += sum(len(item) + 1 for item in added)
            if length > ARGUMENTS_MAX:
                return ()
        return tuple(result)


def _expand(word: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else environment.get(match[1], "")

    return replaced(_VARIABLE, word, value)


def parse_commands(value: str, known: Mapping[str, str]) -> list[CommandLine]:
    r"""Return the commands of one ``ExecStart=`` value; a lone ``;`` stands between two.

    Those before a quote that is not closed; none of a value that no program could be started with.

    With the prefix ``@`` the second word is what the program is told its own name is; it is left
    out, since an image config cannot say it.
    """
    commands: list[CommandLine] = []
    words: list[str] = []
    if len(value) > ARGUMENT_MAX:
        return []
    try:
        for word in chain(words_of(value), [Word(";", ";")]):
            if word.raw != ";":
                text = ";" if word.raw == "\\;" else word.text
                words.append(expand_specifiers(text, known))
            elif words:
                commands.append(_command(words))
                words = []
    except BadQuotingError:
        pass
    return commands


def _command(words: list[str]) -> CommandLine:
    """Return a command without its prefixes; each kind of them counts once."""
    found: dict[str, str] = {}
    position = 0
    while match := _PREFIX.match(words[0], position):
        kind = _PRIVILEGES if match[0][0] in _PRIVILEGES else match[0]
        if kind in found:
            break
        found[kind] = match[0]
        position = match.end()
    arguments = words[2:] if "@" in found else words[1:]
    return CommandLine((words[0][position:], *arguments), frozenset(found.values()))
