"""Alternatives: which of several programs a common name leads to; update-alternatives(1).

Those of a root are in automatic mode unless a package sets one: of each name the choice with the
highest priority counts, the first of equals. ``/etc/alternatives`` has a link for each name, and
``/var/lib/dpkg/alternatives`` a file for dpkg to know them by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several.

    :ivar path: absolute.
    :ivar followers: paths by the name of what goes with it: a manual page.
    """

    path: str
    priority: int
    followers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Alternative:
    """A common name.

    :ivar link: the path that users know: ``/usr/bin/awk``.
    :ivar follower_links: the same of what goes with it, by name.
    :ivar chosen: path that was set by hand; None in automatic mode.
    """

    name: str
    link: str
    follower_links: dict[str, str] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    chosen: str | None = None

    @property
    def best(self) -> Choice | None:
        """The choice that counts."""
        set_by_hand = (choice for choice in self.choices if choice.path == self.chosen)
        by_priority = max(self.choices, key=lambda choice: choice.priority, default=None)
        return next(set_by_hand, by_priority)

    def add(self, choice: Choice) -> None:
        """Add a choice, or change the one with its path."""
        self.choices = [item for item in self.choices if item.path != choice.path]
        self.choices.append(choice)

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield each link and what it leads to: the common names, and those in the middle."""
        best = self.best
        if best is None:
            return
        yield self.link, f"/etc/alternatives/{self.name}"
        yield f"/etc/alternatives/{self.name}", best.path
        for name, link in self.follower_links.items():
            if name in best.followers:
                yield link, f"/etc/alternatives/{name}"
                yield f"/etc/alternatives/{name}", best.followers[name]

    def unused_links(self) -> Iterator[str]:
        """Yield the links of what does not go with the choice that counts."""
        followers = self.best.followers if self.best is not None else {}
        for name, link in self.follower_links.items():
            if name not in followers:
                yield from (link, f"/etc/alternatives/{name}")

    def record(self) -> str:
        """Return dpkg's file of it."""
        names = sorted(self.follower_links)
        lines = ["auto" if self.chosen is None else "manual", self.link]
        for name in names:
            lines += [name, self.follower_links[name]]
        lines.append("")
        for choice in sorted(self.choices, key=lambda choice: choice.path):
            lines += [choice.path, str(choice.priority)]
            lines += [choice.followers.get(name, "") for name in names]
        return "\n".join([*lines, "", ""])


def parse_record(name: str, text: str) -> Alternative | None:
    """Return what a file of dpkg's says; None where it is none."""
    lines = iter(text.split("\n"))
    try:
        mode, link = next(lines), next(lines)
        found = Alternative(name, link)
        while follower := next(lines):
            found.follower_links[follower] = next(lines)
        while path := next(lines):
            priority = int(next(lines))
            followers = {key: next(lines) for key in found.follower_links}
            kept = {key: value for key, value in followers.items() if value}
            found.add(Choice(path, priority, kept))
    except (StopIteration, ValueError, RuntimeError):
        return None
    if mode not in {"auto", "manual"}:
        return None
    return found


def parse_install(arguments: tuple[str, ...]) -> tuple[Alternative, Choice] | None:
    """Return what ``--install link name path priority [--slave link name path]…`` asks for.

    Options of no effect here are passed over; None where the words are something else.
    """
    words = [word for word in arguments if word not in _WITHOUT_EFFECT]
    if len(words) < 5 or words[0] != "--install" or not _is_priority(words[4]):
        return None
    _, link, name, path, priority = words[:5]
    found = Alternative(name, link)
    followers: dict[str, str] = {}
    rest = words[5:]
    while rest:
        if rest[0] not in {"--slave", "--follower"} or len(rest) < 4:
            return None
        _, follower_link, follower, follower_path = rest[:4]
        found.follower_links[follower] = follower_link
        followers[follower] = follower_path
        rest = rest[4:]
    absolute = [link, path, *found.follower_links.values(), *followers.values()]
    names = [name, *followers]
    is_sound = all(item.startswith("/") and "\n" not in item for item in absolute)
    if not is_sound or any("/" in item or "\n" in item or not item for item in names):
        return None
    return found, Choice(path, int(priority), followers)


_WITHOUT_EFFECT = frozenset({"--quiet", "--verbose", "--force", "--skip-auto", "--keep-missing"})


def _is_priority(word: str) -> bool:
    digits = word.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10


class Alternatives:
    """All common names of a root."""

    def __init__(self) -> None:
        self._by_name: dict[str, Alternative] = {}
        self.changed: set[str] = set()

    def know(self, alternative: Alternative) -> None:
        """Take one that the base has."""
        self._by_name[alternative.name] = alternative

    def get(self, name: str) -> Alternative | None:
        """Return the one of that name."""
        return self._by_name.get(name)

    def install(self, asked: Alternative, choice: Choice) -> None:
        """Add a choice to a name, and the name if it is new."""
        known = self._by_name.setdefault(asked.name, asked)
        known.link = asked.link
        known.follower_links.update(asked.follower_links)
        known.add(choice)
        self.changed.add(asked.name)

    def set_by_hand(self, name: str, path: str | None) -> bool:
        """Choose one, or go back to automatic mode; tell whether there is such a choice."""
        known = self._by_name.get(name)
        if known is None or (path is not None and all(c.path != path for c in known.choices)):
            return False
        known.chosen = path
        self.changed.add(name)
        return True

    def new(self) -> list[Alternative]:
        """Return those that packages asked for, by name."""
        return [self._by_name[name] for name in sorted(self.changed)]
