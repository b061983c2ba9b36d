"""The server, as clients that nobody here wrote see it: qemu's and libnbd's."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from formats.core.errors import CorruptError
from formats.core.origin import Origin
from formats.core.source import BytesLike, MemorySource
from formats.guestfs.nbd import NbdServer
from formats.guestfs.overlay import Budget, Overlay
from tests.images.ext_everything import noise
from tests.support.programs import need, run

SIZE = (5 << 20) + 100
CONTENT = noise(SIZE, 5)
PADDED = CONTENT + bytes(-SIZE % 512)
ORIGIN = Origin(("disk",))


class DamagedSource(MemorySource):
    def read_at(self, offset: int, length: int) -> BytesLike:
        if offset + length > 1 << 20:
            raise CorruptError("a cluster is damaged", origin=self.origin, offset=1 << 20)
        return super().read_at(offset, length)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NbdServer]:
    budget = Budget(1 << 20)
    exports = {
        "0": Overlay(MemorySource(CONTENT, ORIGIN), budget),
        "small": Overlay(MemorySource(b"x" * 4096, ORIGIN), budget),
        "damaged": Overlay(DamagedSource(CONTENT, ORIGIN), budget),
    }
    serving = NbdServer(exports, tmp_path / "nbd")
    yield serving
    serving.close()
    assert not serving.path.exists()


def uri(server: NbdServer, name: str = "0") -> str:
    return f"nbd+unix:///{name}?socket={server.path}"


def test_qemu_reads_what_the_source_holds(server: NbdServer, tmp_path: Path) -> None:
    need("qemu-img")
    copy = tmp_path / "copy"
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri(server), copy)
    assert copy.read_bytes() == PADDED


def test_what_qemu_writes_is_there_for_the_next_client_and_not_in_the_source(
    server: NbdServer, tmp_path: Path
) -> None:
    need("qemu-io", "qemu-img")
    run("qemu-io", "-f", "raw", "-c", "write -P 0x5a 1000k 70k", "-c", "flush", uri(server))
    run("qemu-io", "-f", "raw", "-c", "read -P 0x5a 1000k 70k", "-c", "read 0 3M", uri(server))
    copy = tmp_path / "copy"
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri(server), copy)
    start, stop = 1000 << 10, 1070 << 10
    assert copy.read_bytes() == PADDED[:start] + b"\x5a" * (stop - start) + PADDED[stop:]


def test_a_write_beyond_the_memory_set_aside_fails_at_the_client(server: NbdServer) -> None:
    need("qemu-io")
    done = run("qemu-io", "-f", "raw", "-c", "write 0 2M", uri(server), check=False)
    assert b"No space left" in done.stdout + done.stderr


def test_an_error_of_the_source_is_an_error_at_the_client_and_is_remembered(
    server: NbdServer, tmp_path: Path
) -> None:
    need("qemu-img")
    target = tmp_path / "copy"
    command = ("qemu-img", "convert", "-f", "raw", "-O", "raw", uri(server, "damaged"), target)
    done = run(*command, check=False)
    assert done.returncode
    assert b"Input/output error" in done.stderr
    assert isinstance(server.problem, CorruptError)
    assert server.problem.offset == 1 << 20


def test_libnbd_lists_the_exports(server: NbdServer) -> None:
    need("nbdinfo")
    listed = json.loads(run("nbdinfo", "--json", "--list", uri(server)).stdout)
    sizes = {export["export-name"]: export["export-size"] for export in listed["exports"]}
    assert sizes == {"0": len(PADDED), "damaged": len(PADDED), "small": 4096}
    assert listed["protocol"] == "newstyle-fixed"
    assert not any(export["is_read_only"] for export in listed["exports"])


def test_an_export_that_is_not_there_is_refused(server: NbdServer) -> None:
    need("qemu-img")
    done = run("qemu-img", "info", "-f", "raw", uri(server, "other"), check=False)
    assert done.returncode
    assert b"export" in done.stderr.lower()


def raw_connection(server: NbdServer) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(server.path))
    greeting = client.recv(18, socket.MSG_WAITALL)
    assert greeting == b"NBDMAGICIHAVEOPT\x00\x03"
    return client


_OPTION = b"IHAVEOPT"


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 64,
        b"\0\0\0\x03GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x03" + _OPTION + b"\0\0\0\x07\xff\xff\xff\xff",
        b"\0\0\0\x03" + _OPTION + b"\0\0\0\x01\0\0\0\x05other",
        b"\0\0\0\x03" + _OPTION + b"\0\0\0\x01\0\0\0\x010" + b"\xff" * 28,
    ],
    ids=["flags", "no option", "huge option", "no such export", "no request"],
)
def test_what_is_not_the_protocol_ends_that_connection_and_no_other(
    server: NbdServer, sent: bytes
) -> None:
    with raw_connection(server) as client:
        client.sendall(sent)
        with contextlib.suppress(ConnectionResetError):  # it did not read all of it
            while client.recv(4096):
                pass
    need("qemu-img")
    assert b"4 KiB" in run("qemu-img", "info", "-f", "raw", uri(server, "small")).stdout


def test_closing_ends_open_connections(server: NbdServer) -> None:
    with raw_connection(server) as client:
        server.close()
        assert client.recv(1) == b""
