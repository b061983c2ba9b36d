"""All applications of a guest, by kind and then in the order of their paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from convert.inspect.applications.context import Context
from convert.inspect.applications.dotnet import dotnet_applications
from convert.inspect.applications.java import java_programs, web_applications
from convert.inspect.applications.marks import find_marks
from convert.inspect.applications.node import node_applications
from convert.inspect.applications.php import php_sites
from convert.inspect.applications.programs import programs
from convert.inspect.applications.python import python_applications
from convert.inspect.applications.ruby import ruby_applications
from convert.inspect.facts import Application, Facts
from convert.inspect.guest import Guest
from convert.inspect.installed import Installed
from convert.inspect.text import can_be_said

_FINDERS: tuple[Callable[[Context], Iterator[Application]], ...] = (
    java_programs,
    web_applications,
    node_applications,
    python_applications,
    php_sites,
    ruby_applications,
    dotnet_applications,
    programs,
)


def find_applications(guest: Guest, facts: Facts, installed: Installed) -> tuple[Application, ...]:
    """Return what was put on the system by hand, and what runtimes serve.

    :param facts: services that start: they know best how an application is started.
    """
    services = [service for service in facts.services if service.not_workload is None]
    context = Context(guest, find_marks(guest.index), installed, services)
    found: list[Application] = []
    for finder in _FINDERS:
        found += sorted(finder(context), key=lambda application: application.path)
    return tuple(item for item in found if _is_sayable(item))


def _is_sayable(application: Application) -> bool:
    """Tell whether its command is one that JSON can hold; its name and so on always are."""
    return application.start is None or all(map(can_be_said, application.start.argv))
