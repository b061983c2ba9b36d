"""A compose file for the images of one machine (compose-spec, version 3 and later).

What the images say themselves (command, user, variables) is not said again, but for variables that
people change. The services share one network and one ``/run``, as on the machine: what its
configuration calls 127.0.0.1 and /run/NAME.sock stays right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import yaml

from convert.oci.config import ImageConfig
from convert.services.order import Care, in_order

Yaml: TypeAlias = bool | int | str | list["Yaml"] | dict[str, "Yaml"] | None

_NOT_A_NAME: Final = re.compile(r"[^a-z0-9_-]+")
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9/._@-]*")
_RUN: Final = "/run"
_USUAL_STOP_SECONDS: Final = 90
"""systemd-system.conf(5), ``DefaultTimeoutStopSec=``."""


@dataclass(frozen=True, slots=True)
class ComposeService:
    """One service, as its image has it.

    :ivar name: of the service in the guest.
    :ivar image: what engines call the image.
    :ivar health: command that succeeds when it answers.
    :ivar hidden: variables whose values are not to be shown.
    """

    name: str
    image: str
    config: ImageConfig
    care: Care
    health: tuple[str, ...] | None = None
    hidden: frozenset[str] = frozenset()


def compose_name(service: str) -> str:
    """Return what a service is called in a compose file, and as a tag: ``postgresql-15-main``."""
    return _NOT_A_NAME.sub("-", service.lower()).strip("-_") or "service"


def compose_document(services: Sequence[ComposeService]) -> dict[str, Yaml]:
    """Return the file as an object, in the order in which it is read."""
    named = names_of(service.name for service in services)
    by_name = {service.name: service for service in services}
    order = in_order({service.name: service.care for service in services})
    first = by_name[order[0]]
    volumes = {_volume_name(path): path for service in services for path in service.config.volumes}
    shared = {"run": _RUN} if len(services) > 1 else {}
    document: dict[str, Yaml] = {
        "services": {
            named[name]: _service(by_name[name], first, services, named, shared) for name in order
        }
    }
    if volumes or shared:
        document["volumes"] = dict.fromkeys([*sorted(volumes), *shared])
    return document


def names_of(services: Iterable[str]) -> dict[str, str]:
    """Return the names in a compose file by those in the guest, no two alike."""
    found: dict[str, str] = {}
    for service in services:
        base = name = compose_name(service)
        number = 1
        while name in found.values():
            number += 1
            name = f"{base}-{number}"
        found[service] = name
    return found


class _Dumper(yaml.SafeDumper):
    """Quotes whatever one of the versions of YAML could take for a number, a date or a truth."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = None if _PLAIN.fullmatch(data) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def yaml_of(document: Mapping[str, Yaml]) -> str:
    """Return a document as YAML that all of 1.1 and 1.2 read as the same."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _service(
    service: ComposeService,
    first: ComposeService,
    services: Sequence[ComposeService],
    named: Mapping[str, str],
    shared: Mapping[str, str],
) -> Yaml:
    config = service.config
    found: dict[str, Yaml] = {"image": service.image}
    environment: dict[str, Yaml] = {
        name: value.replace("$", "$$")
        for name, _, value in (item.partition("=") for item in config.env)
        if name != "PATH" and name not in service.hidden
    }
    if environment:
        found["environment"] = environment
    if service is first:
        ports = dict.fromkeys(port for item in services for port in item.config.exposed_ports)
        if ports:
            found["ports"] = [_published(port) for port in ports]
    else:
        found["network_mode"] = f"service:{named[first.name]}"
    mounts = {_volume_name(path): path for path in config.volumes} | dict(shared)
    if mounts:
        found["volumes"] = [f"{name}:{path}" for name, path in mounts.items()]
    behind = _behind(service, first, services)
    if behind:
        found["depends_on"] = {
            named[other.name]: {
                "condition": "service_started" if other.health is None else "service_healthy"
            }
            for other in behind
        }
    if service.health is not None:
        found["healthcheck"] = {
            "test": ["CMD", *(word.replace("$", "$$") for word in service.health)],
            "interval": "10s",
            "timeout": "5s",
            "retries": 6,
            "start_period": "60s",
        }
    if config.stop_signal:
        found["stop_signal"] = config.stop_signal
    found["stop_grace_period"] = f"{service.care.stop_seconds or _USUAL_STOP_SECONDS}s"
    found["restart"] = service.care.restart or "unless-stopped"
    return found


def _behind(
    service: ComposeService, first: ComposeService, services: Sequence[ComposeService]
) -> list[ComposeService]:
    """Return what starts before a service, without what would go in circles."""
    order = in_order({item.name: item.care for item in services})
    place = {name: number for number, name in enumerate(order)}
    wanted = service.care.behind | ({first.name} if service is not first else frozenset())
    return [
        item
        for item in sorted(services, key=lambda item: place[item.name])
        if item.name in wanted and place[item.name] < place[service.name]
    ]


def _published(port: str) -> str:
    """Return ``8080:8080`` or ``53:53/udp``."""
    number, _, protocol = port.partition("/")
    return f"{number}:{number}" + (f"/{protocol}" if protocol not in {"", "tcp"} else "")


def _volume_name(path: str) -> str:
    return compose_name(path)
