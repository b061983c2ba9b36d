"""Being let in by a registry: tokens as in distribution's "Token Authentication Specification" and
"OAuth2 Token Authentication", or a name and a password (RFC 7617).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode, urlsplit

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from convert.images.registry.access import RegistryAccess
from convert.images.registry.answers import body, failed, not_let_in, refusal
from convert.images.registry.challenge import Challenge, parse_challenges
from convert.images.registry.credentials import Credentials, find_credentials
from convert.images.registry.http import Transport, failure
from convert.images.registry.patience import AGAIN, Patience
from convert.oci.documents import decode
from convert.oci.names import DockerName
from formats.core.errors import quoted
from formats.core.origin import Origin

_CLIENT: Final = "oci-convert"


class Authorizer:
    """Finds out what has to stand in ``Authorization`` for one repository.

    :param sleep: waits for seconds, before a failed request is tried again.
    """

    def __init__(
        self,
        name: DockerName,
        access: RegistryAccess,
        transport: Transport,
        origin: Origin,
        sleep: Callable[[float], None],
    ) -> None:
        self._name = name
        self._access = access
        self._transport = transport
        self._origin = origin
        self._sleep = sleep

    def authorization(self, response: BaseHTTPResponse, url: str) -> str:
        """Return what a registry wants to see that answered with 401.

        :param url: what it was asked for.
        :raises RegistryError: if it cannot be had.
        """
        scheme = urlsplit(url).scheme
        challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        credentials = find_credentials(self._name, self._access.auth_files)
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return f"Bearer {self._token(challenge, credentials, scheme)}"
            if challenge.scheme == "basic" and credentials is not None:
                return credentials.basic
        raise not_let_in(self._name, self._origin)

    def _token(self, challenge: Challenge, credentials: Credentials | None, scheme: str) -> str:
        realm = self._checked_realm(challenge.parameters.get("realm", ""), scheme)
        scope = challenge.parameters.get("scope") or f"repository:{self._name.repository}:pull"
        query = {"scope": scope}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        patience = Patience(self._sleep)
        while True:
            try:
                response = self._ask(realm, query, credentials)
                if response.status == 200:
                    return self._read_token(response)
                if response.status not in AGAIN or not patience.wait(response):
                    raise refusal(response, self._name, self._origin)
                response.close()
            except HTTPError as error:
                if not patience.wait_after(error):
                    raise failed(self._origin, failure(error)) from error

    def _ask(
        self, realm: str, query: dict[str, str], credentials: Credentials | None
    ) -> BaseHTTPResponse:
        if credentials is not None and credentials.identity_token:
            form = {
                **query,
                "client_id": _CLIENT,
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
            }
            return self._transport.send(realm, {}, form=form)
        joint = "&" if urlsplit(realm).query else "?"
        authorization = credentials.basic if credentials is not None else None
        url = f"{realm}{joint}{urlencode(query)}"
        return self._transport.send(url, {}, authorization=authorization)

    def _checked_realm(self, realm: str, scheme: str) -> str:
        """Refuse to ask for tokens, and to send a password, where nobody could warrant it.

        That it is on no private network unless the registry is, the transport sees to.
        """
        try:
            parts = urlsplit(realm)
            host = parts.hostname
        except ValueError:
            host = None
        if not host or parts.scheme not in {"https", "http"} or parts.username is not None:
            raise failed(self._origin, f"sends us for a token to {quoted(realm[:100])}")
        is_plain = scheme == "http" and self._access.may_be_plain(parts.netloc)
        if parts.scheme == "http" and not is_plain:
            raise failed(self._origin, f"sends us for a token to {quoted(host)}, without TLS")
        return realm

    def _read_token(self, response: BaseHTTPResponse) -> str:
        document = decode(body(response, self._origin), "the token", self._origin)
        token = document.optional_text("token") or document.optional_text("access_token") or ""
        # a header ends at the first line break: what follows would be further headers
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise failed(self._origin, "gives no token")
        return token
