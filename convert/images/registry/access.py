"""How registries are reached: where credentials may come from, proxies, and whom to trust."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_PROXY: Final = "_proxy"
_CONTAINERS: Final = Path("containers", "auth.json")
_CERTIFICATES: Final = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """What the user's surroundings say of registries. Nothing of it is read before it is needed.

    :ivar auth_files: as containers-auth.json(5) describes them, the most important first; those
        that are missing are passed over.
    :ivar proxies: URL by scheme (``https``, ``http``, ``all``), and under ``no`` the hosts that are
        reached without.
    :ivar plain_http: ``HOST[:PORT]`` of registries that may be spoken to without TLS, where they
        have none. Those of this machine (localhost) always may.
    :ivar certificate_folders: of containers-certs.d(5): certificates to trust beside the system's,
        in ``HOST[:PORT]/*.crt``.
    """

    auth_files: tuple[Path, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    plain_http: frozenset[str] = frozenset()
    certificate_folders: tuple[Path, ...] = ()

    @classmethod
    def usual(
        cls, environment: Mapping[str, str], home: Path, plain_http: Iterable[str] = ()
    ) -> RegistryAccess:
        """Return what podman, skopeo and docker would take from an environment.

        :param plain_http: what the user allows beyond that; see the class.
        """
        settings = _settings(environment, home)
        folders = (settings / "containers/certs.d", *_CERTIFICATES)
        return cls(
            tuple(_auth_files(environment, home)),
            _proxies(environment),
            frozenset(plain_http),
            folders,
        )

    def may_be_plain(self, netloc: str) -> bool:
        """Tell whether ``HOST[:PORT]`` may be spoken to without TLS."""
        host = urlsplit(f"//{netloc}").hostname or ""
        return netloc in self.plain_http or host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _settings(environment: Mapping[str, str], home: Path) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config")


def _auth_files(environment: Mapping[str, str], home: Path) -> list[Path]:
    """Return the files of containers-auth.json(5), in its order."""
    stated = environment.get("REGISTRY_AUTH_FILE")
    if stated:
        return [Path(stated)]
    runtime = environment.get("XDG_RUNTIME_DIR")
    settings = _settings(environment, home)
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    found = [Path(runtime) / _CONTAINERS] if runtime else []
    return [*found, settings / _CONTAINERS, docker / "config.json"]


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies by scheme; as in curl(1), lower case comes before upper case."""
    found: dict[str, str] = {}
    for name, value in sorted(environment.items()):  # upper case first, lower case over it
        if name.lower().endswith(_PROXY) and value:
            found[name.lower().removesuffix(_PROXY)] = value
    return found
