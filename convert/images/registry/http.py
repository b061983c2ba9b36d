"""HTTP as registries need it: pooled, streamed, and careful where it goes.

- ``Authorization`` never follows a redirect to another scheme, host or port.
- A registry of the internet cannot send us to an address of this machine or its network:
  :mod:`convert.images.registry.guard`.
- From ``https`` nothing leads to ``http``.

urllib3 is used below its own redirects and retries, which know none of this; retries are those of
:mod:`convert.images.registry.patience`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from convert.images.registry.access import RegistryAccess
from convert.images.registry.credentials import Credentials
from convert.images.registry.guard import TO_PRIVATE, Guard, guarded_pools, is_spelled_private
from formats.core.errors import RegistryError, quoted
from formats.core.origin import Origin, printable

MOST_REDIRECTS: Final = 5
_CONNECT_SECONDS: Final = 30.0
_STALL_SECONDS: Final = 120.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PORTS: Final = {"https": 443, "http": 80}
_AGENT: Final = "oci-convert"
_CONNECTION: Final = re.compile(r"\A\w+\(host=[^)]*\): ")
"""What urllib3 calls a connection in its messages."""


class Transport:
    """Sends requests on behalf of one registry, and on to where it redirects.

    :param host: ``HOST[:PORT]`` of the registry; if that is reached on a private network, it may
        send us to others there.
    """

    def __init__(self, host: str, access: RegistryAccess) -> None:
        self._access = access
        self._origin = Origin((host,))
        self._host = _host_of(urlsplit(f"//{host}"), self._origin)
        self._pools = guarded_pools(Guard(self._host))
        self._context = _context(access, host)
        self._managers: dict[str, urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers.values():
            manager.clear()

    def send(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        authorization: str | None = None,
        form: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        """Return the head of the answer to a request; whoever asks reads the rest and closes it.

        :param form: POSTed; without one it is a GET.
        :raises RegistryError: where it leads to what is not asked.
        :raises urllib3.exceptions.HTTPError: if the connection fails.
        """
        for _ in range(MOST_REDIRECTS + 1):
            sent = {**headers, "User-Agent": _AGENT, "Accept-Encoding": "identity"}
            if authorization is not None:
                sent["Authorization"] = authorization
            response = self._send_once(url, sent, form)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            if form is not None:
                raise self._refused("a request with credentials is redirected")
            following = self._redirected(url, location)
            if origin_of(following) != origin_of(url):
                authorization = None
            url = following
        raise self._refused(f"redirects more than {MOST_REDIRECTS} times")

    def _send_once(
        self, url: str, headers: dict[str, str], form: Mapping[str, str] | None
    ) -> BaseHTTPResponse:
        manager = self._manager(url)
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return manager.urlopen(
            "GET" if form is None else "POST",
            url,
            body=None if form is None else urlencode(form),
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_STALL_SECONDS),
        )

    def _redirected(self, url: str, location: str) -> str:
        try:
            following = urljoin(url, location)
            parts = urlsplit(following)
        except ValueError as error:
            raise self._refused("redirects to what is no address") from error
        before = urlsplit(url).scheme
        if parts.scheme not in _PORTS or (parts.scheme == "http" and before == "https"):
            raise self._refused(f"redirects from {before} to {quoted(parts.scheme[:20])}")
        _host_of(parts, self._origin)
        return following

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Return the connections that a request may take."""
        parts = urlsplit(url)
        host = _host_of(parts, self._origin)
        proxy = self._proxy(parts.scheme, parts.netloc)
        if proxy is not None and is_spelled_private(host) and (not is_spelled_private(self._host)):
            raise self._refused(TO_PRIVATE)
        key = proxy or ""
        if key not in self._managers:
            self._managers[key] = self._new_manager(proxy)
        return self._managers[key]

    def _new_manager(self, proxy: str | None) -> urllib3.PoolManager:
        if proxy is not None:
            return self._through(proxy)
        manager = urllib3.PoolManager(ssl_context=self._context)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def _proxy(self, scheme: str, netloc: str) -> str | None:
        proxies = self._access.proxies
        proxy = proxies.get(scheme) or proxies.get("all")
        if proxy is None or _is_direct(netloc, proxies.get("no", "")):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"  # as curl(1) has it

    def _through(self, proxy: str) -> urllib3.ProxyManager:
        try:
            user, _, password = (urllib3.util.parse_url(proxy).auth or "").partition(":")
            headers = {"Proxy-Authorization": Credentials(unquote(user), unquote(password)).basic}
            return urllib3.ProxyManager(
                proxy, ssl_context=self._context, proxy_headers=headers if user else None
            )
        except HTTPError:
            # the cause is left out: it shows the address, which may hold a password
            raise self._refused(
                "cannot be reached: the proxy has an address that is none"
            ) from None

    def _refused(self, what: str) -> RegistryError:
        return RegistryError(what, origin=self._origin)


def _is_direct(netloc: str, without: str) -> bool:
    """Tell whether a host is reached without a proxy: ``no_proxy`` lists domains, or ``*``."""
    host = urlsplit(f"//{netloc}").hostname or ""
    names = [name.strip().lower().lstrip(".") for name in without.split(",")]
    return "*" in names or any(
        name and (name in {host, netloc} or host.endswith(f".{name}")) for name in names
    )


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: what has to stay the same for credentials to be sent."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def failure(error: HTTPError) -> str:
    """Return what happened to a connection, without the address: that may hold a signature."""
    cause = error.args[-1] if error.args else error
    return f"cannot be reached: {printable(_CONNECTION.sub('', str(cause))[:300])}"


def _host_of(parts: SplitResult, origin: Origin) -> str:
    try:
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RegistryError("names an address that is none", origin=origin) from error
    if not host:
        raise RegistryError("names an address without a host", origin=origin)
    return host


def _context(access: RegistryAccess, host: str) -> ssl.SSLContext:
    """Return how certificates are verified: with the system's, and those kept for this host."""
    context = ssl.create_default_context()
    for folder in access.certificate_folders:
        for file in sorted(_certificates(folder / host)):
            try:
                context.load_verify_locations(file)
            except (OSError, ssl.SSLError) as error:
                raise RegistryError(
                    f"the certificate cannot be read: {error}", origin=Origin((str(file),))
                ) from error
    return context


def _certificates(folder: Path) -> list[Path]:
    return list(folder.glob("*.crt"))
