"""Why packages cannot be had: everything that is missing, and who needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from convert.packages.market import Item, Market
from formats.core.errors import UnsupportedError
from formats.core.package import Package, Requirement

if TYPE_CHECKING:
    from convert.packages.resolve import Need

_MOST_VERSIONS = 3
_MOST_STEPS = 4


def unmet(
    lacks: Sequence[tuple[Item | None, Need]],
    needs: Mapping[Item, tuple[Need, ...]],
    bad: AbstractSet[Item],
    market: Market,
) -> UnsupportedError:
    """Return the error that names all that is missing, each with the way from what was asked for.

    :param lacks: what cannot be met, with who needs it; None is the request itself.
    :param bad: packages that cannot be installed since something that they need is missing.
    """
    missing = list(dict.fromkeys(_missing(lacks, needs, bad, market)))
    what = "something is" if len(missing) == 1 else f"{len(missing):,} things are"
    return UnsupportedError(
        f"{what} not in the pools: {'; '.join(missing)}",
        hint="name further pools or packages, or a base that has them: --pool, --base",
    )


def _missing(
    lacks: Iterable[tuple[Item | None, Need]],
    needs: Mapping[Item, tuple[Need, ...]],
    bad: AbstractSet[Item],
    market: Market,
) -> Iterator[str]:
    waiting: list[tuple[tuple[Item, ...], Need]] = [
        (() if item is None else (item,), need) for item, need in lacks
    ]
    waiting.reverse()
    seen: set[Item] = set()
    while waiting:
        way, need = waiting.pop()
        found = [item for group in need.groups for item in group]
        if not found:
            yield f"{_named(need.requirement, market)}{_needed_by(way, need.requirement)}"
            continue
        below = [item for item in found if item not in seen]
        for item in below[:1]:  # of what could meet it, the best says what is missing
            seen.add(item)
            waiting += [
                ((*way, item), inner)
                for inner in reversed(needs[item])
                if not inner.is_there and all(one in bad for group in inner.groups for one in group)
            ]


def _named(requirement: Requirement, market: Market) -> str:
    """Return what is missing, and what there is of the name instead."""
    text = str(requirement)
    absent = [one.name for one in requirement.alternatives if one.name in market.pools.absent]
    if absent:
        return f"{text} (an index lists it, and the file is not there)"
    called = [package for one in requirement.alternatives for package in market.called(one.name)]
    versions = list(dict.fromkeys(map(_version, called)))
    if not versions:
        return text
    more = f" and {len(versions) - _MOST_VERSIONS} more" if len(versions) > _MOST_VERSIONS else ""
    return f"{text} (there is {', '.join(versions[:_MOST_VERSIONS])}{more})"


def _version(package: Package) -> str:
    return f"{package.name} {package.version}"


def _needed_by(way: Sequence[Item], requirement: Requirement) -> str:
    if not way:
        return ", which was asked for"
    names = [item.package.name for item in reversed(way)]
    if len(names) > _MOST_STEPS:
        names = [*names[: _MOST_STEPS - 1], "…", names[-1]]
    steps = "".join(f", needed by {name}" for name in names[1:])
    return f", needed by {names[0]} ({requirement.when}){steps}"
