"""In which order packages are unpacked and configured: what a package needs comes before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.core.package import Package

_STRONG = frozenset({"Pre-Depends", "Depends", "Requires"})


def in_order(packages: Sequence[Package]) -> list[int]:
    """Return places in ``packages``, those that others need first.

    Where packages need each other, and where nothing says it, the given order counts.
    """
    providers: dict[str, int] = {}
    for place, package in enumerate(packages):
        providers.setdefault(package.name, place)
    for place, package in enumerate(packages):
        for relation in package.provides:
            providers.setdefault(relation.name, place)
    done: dict[int, None] = {}
    entered: set[int] = set()
    for start in range(len(packages)):
        if start in entered:
            continue
        entered.add(start)
        stack: list[tuple[int, Iterator[int]]] = [(start, _needs(packages[start], providers))]
        while stack:
            place, needs = stack[-1]
            following = next((need for need in needs if need not in entered), None)
            if following is None:
                done[place] = None
                stack.pop()
            else:
                entered.add(following)
                stack.append((following, _needs(packages[following], providers)))
    return list(done)


def _needs(package: Package, providers: dict[str, int]) -> Iterator[int]:
    """Yield the places of what a package needs: of alternatives, the first that is there."""
    for requirement in package.requirements:
        if requirement.when in _STRONG:
            named = (providers.get(relation.name) for relation in requirement.alternatives)
            place = next((place for place in named if place is not None), None)
            if place is not None:
                yield place
