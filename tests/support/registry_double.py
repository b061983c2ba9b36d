"""A registry that does what a test tells it to, well or badly."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.layers import Layout


@dataclass(frozen=True)
class Request:
    """What was asked: ``path`` with its query, headers by lower-case name, and a form's text."""

    path: str
    headers: Mapping[str, str]
    body: str = ""


@dataclass(frozen=True)
class Reply:
    """An answer.

    :ivar cut: close the connection after so many bytes of the body.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


Answer = Callable[[Request], Reply]


@dataclass
class Server:
    """A server on this machine.

    :ivar host: ``HOST:PORT``.
    :ivar requests: what was asked, in order.
    :ivar answer: what it says.
    """

    host: str
    answer: Answer
    requests: list[Request] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Give a server, which ends with the context; it speaks TLS if it is given how."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers, body)
            server.requests.append(request)
            self._send(server.answer(request))

        do_POST = do_GET  # noqa: N815 - likewise

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            """Say nothing: a TLS client knocks first."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # of those who hang up
    server = Server(f"127.0.0.1:{http.server_port}", answer)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join(10)


def repository(layout: Layout, tags: Mapping[str, dict[str, object]]) -> Answer:
    """Return what a good registry answers that has these blobs, and names for some of them."""

    def answer(request: Request) -> Reply:
        reference = request.path.rpartition("/")[2]
        entry = tags.get(reference)
        digest = str(entry["digest"]) if entry else reference
        if digest not in layout.blobs:
            error = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            return Reply(404, error)
        kind = str(entry["mediaType"]) if entry else "application/octet-stream"
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest}
        return Reply(200, layout.blobs[digest], headers)

    return answer
