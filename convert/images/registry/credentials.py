"""Credentials for a registry, as containers-auth.json(5) and ``docker login`` keep them.

Files are read when a registry asks, and not before. The most specific entry counts
(``host/team/web``, then ``host/team``, then ``host``), in the first file that has one. Helpers are
programs that keep the secret themselves (``docker-credential-NAME get``, as docker's
"Credential helpers" describe them).
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from convert.oci.documents import DOCUMENT_BYTES, Document, decode
from convert.oci.names import DockerName
from formats.core.errors import (
    ConvertError,
    CorruptError,
    InputReadError,
    MissingDependencyError,
    RegistryError,
    quoted,
)
from formats.core.origin import Origin

_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_HELPER_SECONDS: Final = 30
_NOT_FOUND: Final = "credentials not found"
"""How every helper says so; the protocol has no other way."""
_IDENTITY_USER: Final = "<token>"
"""In the place of a name: the secret is an identity token."""
_DEFAULT_DOMAIN: Final = "docker.io"
_DEFAULT_KEY: Final = "index.docker.io"
"""Under this name, from before there were others, ``docker login`` keeps the default registry's."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a secret; neither is ever part of a message.

    :ivar identity_token: to be exchanged for access tokens, in the place of a password.
    """

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a header for basic authentication (RFC 7617)."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def find_credentials(name: DockerName, files: tuple[Path, ...]) -> Credentials | None:
    """Return the credentials for a repository; None if there are none.

    :raises InputReadError: if a file is there and cannot be read.
    :raises CorruptError: if a file or a helper's answer cannot be understood.
    :raises MissingDependencyError: if the helper that has them is not installed.
    :raises RegistryError: if a helper fails.
    """
    for file in files:
        document = _document(file)
        found = _in_document(document, name) if document is not None else None
        if found is not None:
            return found
    return None


def _document(file: Path) -> Document | None:
    origin = Origin((str(file),))
    try:
        with file.open("rb") as stream:
            data = stream.read(DOCUMENT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputReadError(
            f"the credentials cannot be read: {error.strerror}", origin=origin
        ) from error
    return decode(data, "the file of credentials", origin) if data.strip() else None


def _in_document(document: Document, name: DockerName) -> Credentials | None:
    helpers = document.mapping("credHelpers")
    helper = next((helpers[host] for host in _hosts(name) if host in helpers), None)
    if helper is None:
        helper = document.optional_text("credsStore")
    if helper:
        found = _ask(helper, name, document.origin)
        if found is not None:
            return found
    entries = document.optional_object("auths")
    if entries is None:
        return None
    by_key = {_plain_key(key): key for key in sorted(entries.values)}
    for key in _keys(name):
        if key in by_key and (entry := entries.optional_object(by_key[key])) is not None:
            found = _of_entry(entry)
            if found is not None:
                return found
    return None


def _hosts(name: DockerName) -> Iterator[str]:
    yield name.domain
    if name.domain == _DEFAULT_DOMAIN:
        yield _DEFAULT_KEY


def _keys(name: DockerName) -> Iterator[str]:
    """Yield under what an entry may stand, the most specific first."""
    parts = name.repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([name.domain, *parts[:count]])
    yield from _hosts(name)


def _plain_key(key: str) -> str:
    """Return a key without what old versions of docker put around a host: ``https://HOST/v1/``."""
    if "://" not in key:
        return key.rstrip("/")
    return key.partition("://")[2].partition("/")[0]


def _of_entry(entry: Document) -> Credentials | None:
    token = entry.optional_text("identitytoken") or ""
    pair = entry.optional_text("auth") or ""
    if not pair:
        return Credentials(identity_token=token) if token else None
    try:
        user, colon, password = base64.b64decode(pair, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, colon, password = "", "", ""
    if not colon:
        # the cause is left out: it would show the secret
        raise entry.bad("auth", "is not NAME:PASSWORD in base64") from None
    return Credentials(user, password.rstrip("\0"), token)


def _ask(helper: str, name: DockerName, origin: Origin) -> Credentials | None:
    """Ask a helper for the credentials of a host."""
    if not _HELPER.fullmatch(helper):
        raise CorruptError(f"{quoted(helper)} is no name of a credential helper", origin=origin)
    program = f"docker-credential-{helper}"
    server = name.domain
    if server == _DEFAULT_DOMAIN:
        server = f"https://{_DEFAULT_KEY}/v1/"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise MissingDependencyError(
            f"{program}, which keeps the credentials for {server}, is not installed",
            origin=origin,
            hint="install it, or name another file with REGISTRY_AUTH_FILE",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError(f"{program} did not answer", origin=origin) from error
    if done.returncode:
        if _NOT_FOUND in done.stdout.decode(errors="replace").lower():
            return None
        raise RegistryError(f"{program} failed with exit code {done.returncode}", origin=origin)
    return _of_answer(done.stdout, program, origin)


def _of_answer(answer: bytes, program: str, origin: Origin) -> Credentials:
    try:
        document = decode(answer, f"the answer of {program}", origin)
        user, secret = document.text("Username"), document.text("Secret")
    except ConvertError as error:
        # the cause may quote the answer, and with it the secret
        raise CorruptError(f"the answer of {program} cannot be understood", origin=origin) from (
            None if error.__cause__ else error
        )
    if user == _IDENTITY_USER:
        return Credentials(identity_token=secret)
    return Credentials(user, secret)
