"""A registry's side of fetching an image (distribution-spec, "Pull").

Blobs go into temporary files. A download that breaks off goes on where it was (``Range``), and only
what has the digest and size that were asked for is given away.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from ssl import SSLCertVerificationError
from typing import Final

from urllib3.exceptions import HTTPError, ProtocolError, SSLError
from urllib3.response import BaseHTTPResponse

from convert.images.layers import Workshop
from convert.images.manifests import INDEX_TYPES, MANIFEST_TYPES
from convert.images.registry.access import RegistryAccess
from convert.images.registry.answers import body, failed, refusal
from convert.images.registry.authorization import Authorizer
from convert.images.registry.http import Transport, failure
from convert.images.registry.patience import AGAIN, Patience
from convert.oci.descriptor import Descriptor
from convert.oci.digest import Digest
from convert.oci.documents import decode
from convert.oci.names import DockerName
from formats.core.errors import CorruptError, quoted
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.source import FileSource

_API_HOSTS: Final = {"docker.io": "registry-1.docker.io"}
"""Where the registry answers whose name is not that of its host."""
_ACCEPT: Final = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
_PIECE_BYTES: Final = MIB


class RegistryClient:
    """Fetches from one repository.

    :param sleep: waits for seconds, before a failed request is tried again.
    """

    def __init__(
        self,
        name: DockerName,
        access: RegistryAccess,
        workshop: Workshop,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.origin = Origin((f"docker://{name.domain}/{name.repository}",))
        self._name = name
        self._access = access
        self._workshop = workshop
        self._sleep = sleep or time.sleep
        self._host = _API_HOSTS.get(name.domain, name.domain)
        self._transport = Transport(self._host, access)
        workshop.on_close(self._transport.close)
        self._authorizer = Authorizer(name, access, self._transport, self.origin, self._sleep)
        self._scheme: str | None = None
        self._authorization: str | None = None
        self._documents: dict[Digest, bytes] = {}

    def entry(self, reference: str, digest: Digest | None) -> Descriptor:
        """Return the descriptor of the manifest or index that a tag, or a digest, names.

        :raises RegistryError: if there is none.
        :raises CorruptError: if the registry gives another than it says.
        """
        response, data = self._document(f"manifests/{digest or reference}", _ACCEPT)
        found = Digest.of(data)
        stated = response.headers.get("Docker-Content-Digest")
        for claimed in (str(digest) if digest else None, stated):
            if claimed is not None and claimed != str(found):
                raise CorruptError(
                    f"the manifest has the digest {found}, not {quoted(claimed[:100])}",
                    origin=self.origin,
                )
        self._documents[found] = data
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if media_type not in {*MANIFEST_TYPES, *INDEX_TYPES}:
            document = decode(data, "the manifest", self.origin)
            media_type = document.optional_text("mediaType") or media_type
        return Descriptor(media_type, found, len(data))

    def document(self, descriptor: Descriptor, what: str) -> bytes:
        """See :class:`convert.images.manifests.Documents`."""
        del what
        if descriptor.digest not in self._documents:
            is_manifest = descriptor.media_type in {*MANIFEST_TYPES, *INDEX_TYPES}
            kind = "manifests" if is_manifest else "blobs"
            accept = descriptor.media_type if is_manifest else "*/*"
            _, data = self._document(f"{kind}/{descriptor.digest}", accept)
            self._documents[descriptor.digest] = data
        return self._documents[descriptor.digest]

    def blob(self, descriptor: Descriptor) -> FileSource:
        """Fetch a blob.

        :raises CorruptError: if it has not the digest and size that its descriptor says.
        :raises RegistryError: if it cannot be had.
        """
        sha256 = hashlib.sha256()
        origin = self._origin_of(descriptor)
        source = self._workshop.spooled(self._pieces(descriptor, sha256.update), origin)
        if Digest(sha256.hexdigest()) != descriptor.digest:
            raise CorruptError(f"has the digest sha256:{sha256.hexdigest()}", origin=origin)
        return source

    def _pieces(self, descriptor: Descriptor, tap: Callable[[bytes], object]) -> Iterator[bytes]:
        """Yield a blob in pieces, going on where the connection broke."""
        done = 0
        patience = Patience(self._sleep)
        while done < descriptor.size:
            try:
                for piece in self._rest(descriptor, done, patience):
                    tap(piece)
                    yield piece
                    done += len(piece)
                    patience.renew()
                    self._workshop.progress("downloading", done, descriptor.size)
            except HTTPError as error:
                if not patience.wait_after(error):
                    raise failed(self.origin, failure(error)) from error

    def _origin_of(self, descriptor: Descriptor) -> Origin:
        return self.origin.child(str(descriptor.digest))

    def _rest(self, descriptor: Descriptor, start: int, patience: Patience) -> Iterator[bytes]:
        """Yield a blob from a byte on, in pieces."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._get(f"blobs/{descriptor.digest}", headers, patience)
        try:
            skipped = start  # a server is free to send all of it again
            if response.status == 206:
                skipped = 0
                begin = response.headers.get("Content-Range", "").partition("-")[0]
                if begin != f"bytes {start}":
                    raise failed(self.origin, "gives another part of a blob than was asked for")
            missing = descriptor.size - start
            for piece in response.stream(_PIECE_BYTES, decode_content=False):
                wanted = piece[min(skipped, len(piece)) :]
                skipped -= len(piece) - len(wanted)
                missing -= len(wanted)
                if missing < 0:
                    raise CorruptError(
                        f"has more than the {descriptor.size:,} bytes it should",
                        origin=self._origin_of(descriptor),
                    )
                if wanted:
                    yield wanted
            if missing:
                raise ProtocolError(f"the connection ended {missing:,} bytes too early")
        finally:
            response.close()

    def _document(self, path: str, accept: str) -> tuple[BaseHTTPResponse, bytes]:
        """Fetch a small document, whole."""
        patience = Patience(self._sleep)
        while True:
            try:
                response = self._get(path, {"Accept": accept}, patience)
                return response, body(response, self.origin)
            except HTTPError as error:
                if not patience.wait_after(error):
                    raise failed(self.origin, failure(error)) from error

    def _get(self, path: str, headers: Mapping[str, str], patience: Patience) -> BaseHTTPResponse:
        """Return the head of a good answer, asking for what it takes to be let in."""
        may_authorize = True
        while True:
            url = f"{self._base()}/v2/{self._name.repository}/{path}"
            response = self._transport.send(url, headers, authorization=self._authorization)
            if response.status in {200, 206}:
                return response
            if response.status == 401 and may_authorize:
                may_authorize = False  # a token that was just given and is refused stays so
                response.close()
                self._authorization = self._authorizer.authorization(response, url)
                continue
            if response.status in AGAIN and patience.wait(response):
                response.close()
                continue
            raise refusal(response, self._name, self.origin)

    def _base(self) -> str:
        """Return scheme and host; without TLS only where that is allowed, and there is none."""
        if self._scheme is None:
            self._scheme = self._spoken() if self._access.may_be_plain(self._host) else "https"
        return f"{self._scheme}://{self._host}"

    def _spoken(self) -> str:
        try:
            self._transport.send(f"https://{self._host}/v2/", {}).close()
        except SSLError as error:
            if any(isinstance(cause, SSLCertVerificationError) for cause in error.args):
                raise failed(self.origin, failure(error)) from error
            return "http"
        return "https"
