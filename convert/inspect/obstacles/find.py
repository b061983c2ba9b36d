"""All obstacles of a guest, each place once, in the order in which a person wants them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from convert.inspect.facts import DataFolder, Facts, Obstacle
from convert.inspect.guest import Guest
from convert.inspect.installed import Installed
from convert.inspect.obstacles import age, network, settings
from convert.inspect.obstacles.jobs import jobs
from convert.inspect.obstacles.mounts import mounts
from formats.core.finding import Action, Finding

_OBSTACLES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Found:
    """Obstacles, and the folders that data was mounted at."""

    obstacles: tuple[Obstacle, ...]
    folders: tuple[DataFolder, ...]


def find_obstacles(guest: Guest, facts: Facts, installed: Installed) -> Found:
    """Return what of the machine does not work in a container.

    :param facts: services, jobs, packages and architecture.
    """
    folders: dict[str, DataFolder] = {}
    found: dict[tuple[str, str, bytes], Obstacle] = {}
    for item in _obstacles(guest, facts, installed, folders):
        key = (item.kind, item.what, item.evidence.path)
        if len(found) >= _OBSTACLES_MAX:
            reason = "looking for what does not work in a container ended after too many findings"
            finding = Finding("obstacles-not-read", b"", Action.REPORTED, reason)
            guest.findings.append(finding)
            break
        found.setdefault(key, item)
    return Found(tuple(found.values()), tuple(folders.values()))


def _obstacles(
    guest: Guest, facts: Facts, installed: Installed, folders: dict[str, DataFolder]
) -> Iterator[Obstacle]:
    for mount in mounts(guest):
        if mount.folder is not None:
            folders.setdefault(mount.folder.path, mount.folder)
        yield mount.obstacle
    known = network.identity(guest)
    yield from network.ties(guest, known, network.said_by_services(guest, facts.services))
    yield from network.firewalls(guest)
    yield from age.nested(facts)
    yield from age.too_old(guest, facts)
    yield from age.bits(guest, facts)
    yield from settings.modules(guest)
    yield from settings.parameters(guest)
    yield from settings.limits(guest)
    yield from settings.policies(guest)
    yield from jobs(guest, facts, installed)
