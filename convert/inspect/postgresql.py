"""PostgreSQL clusters of Debian and Ubuntu, which only a generator turns into services.

pg_createcluster(1), "start.conf"; postgresql.service itself runs ``/bin/true``.
"""

from __future__ import annotations

from collections.abc import Iterator

from convert.inspect.evidence import Evidence
from convert.inspect.guest import Guest

UMBRELLA = "postgresql.service"


def cluster_units(guest: Guest) -> Iterator[tuple[str, Evidence]]:
    """Yield the unit of each cluster that starts by itself: ``postgresql@15-main.service``."""
    for config in guest.glob(b"etc/postgresql/*/*/postgresql.conf"):
        folder = config.parent
        version, cluster = folder.split(b"/")[-2:]
        start = folder + b"/start.conf"
        words = [line.partition("#")[0].strip() for _, line in guest.lines(start)]
        if next(filter(None, words), "auto") == "auto":
            name = f"{version.decode()}-{cluster.decode('utf-8', 'surrogateescape')}"
            yield f"postgresql@{name}.service", Evidence(start, None, "postgresql-generator")
