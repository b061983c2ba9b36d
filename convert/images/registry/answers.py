"""Answers of registries: read in bounded memory, and put into words where they say no."""

from __future__ import annotations

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from convert.oci.documents import DOCUMENT_BYTES, decode
from convert.oci.names import DockerName
from formats.core.errors import ConvertError, LimitError, RegistryError, quoted
from formats.core.limits import KIB
from formats.core.origin import Origin

_PIECE_BYTES = 64 * KIB
_MESSAGE_CHARACTERS = 200


def body(response: BaseHTTPResponse, origin: Origin) -> bytes:
    """Return a whole document, and close the answer.

    :raises LimitError: if it is larger than one may be.
    :raises urllib3.exceptions.HTTPError: if the connection fails.
    """
    parts: list[bytes] = []
    size = 0
    try:
        for piece in response.stream(_PIECE_BYTES, decode_content=False):
            parts.append(piece)
            size += len(piece)
            if size > DOCUMENT_BYTES:
                raise LimitError(
                    f"a document has more than {DOCUMENT_BYTES:,} bytes", origin=origin
                )
    finally:
        response.close()
    return b"".join(parts)


def refusal(response: BaseHTTPResponse, name: DockerName, origin: Origin) -> RegistryError:
    """Return the error for an answer that gives nothing, and close it."""
    why = _why(response, origin)
    if response.status in {401, 403}:
        return not_let_in(name, origin, why)
    if response.status == 404:
        return RegistryError(
            f"is not there{why}",
            origin=origin,
            hint="check the name and the tag; a private image is only shown after a login",
        )
    return failed(origin, f"answers with {response.status}{why}")


def not_let_in(name: DockerName, origin: Origin, why: str = "") -> RegistryError:
    """Return the error where credentials are missing, or not enough."""
    return RegistryError(
        f"the registry does not let us in{why}",
        origin=origin,
        hint=f"log in: podman login {name.domain}, or docker login {name.domain}",
    )


def failed(origin: Origin, what: str) -> RegistryError:
    """Return the error for a registry that does what it should not."""
    return RegistryError(f"the registry {what}", origin=origin)


def _why(response: BaseHTTPResponse, origin: Origin) -> str:
    """Return what the registry says itself (distribution-spec, "Error Codes"), if anything."""
    try:
        errors = decode(body(response, origin), "the answer", origin).objects("errors")
        texts = [error.optional_text("message") or error.text("code") for error in errors]
    except (ConvertError, HTTPError):  # it is only there to explain
        return ""
    return f": {quoted(', '.join(texts)[:_MESSAGE_CHARACTERS])}" if texts else ""
