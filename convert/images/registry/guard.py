"""Keeping a registry of the internet from sending us to this machine or its network.

Neither by a redirect nor as the place where tokens come from. That is looked at once a connection
is there, before anything is sent, so that a name that changes its address gains nothing. Behind a
proxy, which alone knows addresses, it goes by how hosts are spelled.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from formats.core.errors import RegistryError
from formats.core.origin import Origin, printable

TO_PRIVATE: Final = "sends us to an address of a private network, where nothing of it can be"


class Guard:
    """Tells which connections a registry may bring about, by where it was reached itself.

    :param host: of the registry, without its port.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._is_private: bool | None = None
        """None until the registry was reached."""

    def allows(self, host: str, peer: str) -> bool:
        """Tell whether something may be sent over a connection that is there.

        The registry itself is where the user wants to go, and has shown a certificate by then.

        :param peer: the address that it leads to.
        """
        is_private = not ipaddress.ip_address(peer.partition("%")[0]).is_global
        if host == self._host:
            # once on the internet, always: its owner decides what its name stands for
            self._is_private = is_private and self._is_private is not False
            return True
        return not is_private or self._is_private is True


def guarded_pools(guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools of connections, by scheme, that are looked at before anything is sent."""

    def check(connection: HTTPConnection) -> None:
        if not guard.allows(connection.host, connection.sock.getpeername()[0]):
            connection.close()
            raise RegistryError(TO_PRIVATE, origin=Origin((printable(connection.host),)))

    class Connection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            check(self)

    class TlsConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            check(self)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def is_spelled_private(host: str) -> bool:
    """Tell whether a host's very name is of this machine or a private network."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    try:
        # 127.1 and 2130706433 are numbers that resolvers take for an address
        return not ipaddress.ip_address(socket.inet_aton(host)).is_global
    except (OSError, UnicodeError):
        return False
