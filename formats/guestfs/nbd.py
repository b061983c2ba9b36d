"""Serving byte sources as disks: the server's side of the NBD protocol on a Unix socket.

Specification: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. Done: the fixed
newstyle handshake, ``NBD_OPT_GO``, ``INFO``, ``EXPORT_NAME``, ``LIST`` and ``ABORT``; reads, writes
and flushes with simple replies. Not done, and refused as the protocol has it: TLS, structured
replies, metadata contexts, trimming.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Mapping
from pathlib import Path

from formats.core.errors import ConvertError
from formats.core.limits import MIB
from formats.guestfs.overlay import BLOCK_BYTES, SECTOR_BYTES, Overlay, OverlayFullError

PAYLOAD_BYTES_MAX = 32 * MIB
"""What one request may ask for; the limit that clients take where none is stated."""
_OPTION_BYTES_MAX = 8192

_GREETING = struct.Struct(">8sQH")
_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_EXPORT = struct.Struct(">QH")
_INFO_EXPORT = struct.Struct(">HQH")
_INFO_BLOCK_SIZE = struct.Struct(">HIII")
_REQUEST = struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")

_INIT_MAGIC = b"NBDMAGIC"
_OPTION_MAGIC = b"IHAVEOPT"
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_REQUEST_MAGIC = 0x25609513
_REPLY_MAGIC = 0x67446698

_FLAG_FIXED_NEWSTYLE = 1
_FLAG_NO_ZEROES = 2
_EXPORT_HAS_FLAGS = 1
_EXPORT_SEND_FLUSH = 4
_EXPORT_FLAGS = _EXPORT_HAS_FLAGS | _EXPORT_SEND_FLUSH

_OPT_EXPORT_NAME, _OPT_ABORT, _OPT_LIST, _OPT_INFO, _OPT_GO = 1, 2, 3, 6, 7
_REP_ACK, _REP_SERVER, _REP_INFO = 1, 2, 3
_REP_ERR_UNSUP, _REP_ERR_INVALID, _REP_ERR_UNKNOWN = 0x80000001, 0x80000003, 0x80000006
_INFO_TYPE_EXPORT, _INFO_TYPE_BLOCK_SIZE = 0, 3
_CMD_READ, _CMD_WRITE, _CMD_DISCONNECT, _CMD_FLUSH = 0, 1, 2, 3


class NbdServer:
    """Serves overlays by name to whoever may open the socket, a thread a connection.

    :param path: of the socket, in a folder that only this user may enter.
    :ivar problem: the first error that a source gave; the client is only told that there was one.
    """

    def __init__(self, exports: Mapping[str, Overlay], path: Path) -> None:
        self.path = path
        self.problem: ConvertError | None = None
        self._exports = dict(exports)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._is_closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        threading.Thread(target=self._accept, name="nbd", daemon=True).start()

    def close(self) -> None:
        """End all connections and remove the socket."""
        with self._lock:
            self._is_closed = True
            connections = list(self._connections)
        for open_socket in (self._listener, *connections):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_closed:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="nbd-connection", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                export = _Handshake(connection, self._exports).run()
                if export is not None:
                    self._transmit(connection, export)
            except (OSError, _ViolationError):
                pass  # a hard disconnect, from either side: qemu opens again, or gives up
            finally:
                with self._lock:
                    self._connections.discard(connection)

    def _transmit(self, connection: socket.socket, export: Overlay) -> None:
        """Answer requests in their order, up to the client's disconnect."""
        while True:
            magic, _, command, cookie, offset, length = _REQUEST.unpack(
                _receive(connection, _REQUEST.size)
            )
            if magic != _REQUEST_MAGIC or length > PAYLOAD_BYTES_MAX:
                raise _ViolationError
            if command == _CMD_DISCONNECT:
                return
            written = _receive(connection, length) if command == _CMD_WRITE else memoryview(b"")
            try:
                data = self._answer(export, command, offset, length, written)
            except OSError as error:
                connection.sendall(_REPLY.pack(_REPLY_MAGIC, error.errno or errno.EIO, cookie))
            else:
                connection.sendall(_REPLY.pack(_REPLY_MAGIC, 0, cookie))
                connection.sendall(data)

    def _answer(
        self, export: Overlay, command: int, offset: int, length: int, written: memoryview
    ) -> bytes | memoryview:
        """Return what a request asks for.

        :raises OSError: with one of the error numbers that the protocol knows.
        """
        is_inside = offset + length <= export.size
        try:
            if command == _CMD_READ and is_inside:
                return export.read(offset, length)
            if command == _CMD_WRITE:
                if not is_inside:
                    raise OSError(errno.ENOSPC, "beyond the end")
                export.write(offset, written)
                return b""
        except ConvertError as error:
            with self._lock:
                self.problem = self.problem or error
            raise OSError(errno.EIO, error.message) from error
        except OverlayFullError as error:
            raise OSError(errno.ENOSPC, "no memory left for writes") from error
        if command == _CMD_FLUSH:
            return b""
        raise OSError(errno.EINVAL, "no such request")


class _ViolationError(Exception):
    """The other side does not keep to the protocol."""


class _Handshake:
    """The haggling about options, up to the choice of an export."""

    def __init__(self, connection: socket.socket, exports: Mapping[str, Overlay]) -> None:
        self._connection = connection
        self._exports = exports

    def run(self) -> Overlay | None:
        """Return the export that the client chose; None if it wants none."""
        flags = _FLAG_FIXED_NEWSTYLE | _FLAG_NO_ZEROES
        options = int.from_bytes(_OPTION_MAGIC, "big")
        self._connection.sendall(_GREETING.pack(_INIT_MAGIC, options, flags))
        client_flags = int.from_bytes(_receive(self._connection, 4), "big")
        if client_flags & ~flags:
            raise _ViolationError
        while True:
            magic, option, length = _OPTION.unpack(_receive(self._connection, _OPTION.size))
            if magic != _OPTION_MAGIC or length > _OPTION_BYTES_MAX:
                raise _ViolationError
            data = bytes(_receive(self._connection, length))
            if option == _OPT_EXPORT_NAME:
                return self._export_name(data, with_zeroes=not client_flags & _FLAG_NO_ZEROES)
            if option == _OPT_ABORT:
                self._reply(option, _REP_ACK)
                return None
            if option == _OPT_LIST:
                self._list(data)
            elif option in {_OPT_GO, _OPT_INFO}:
                export = self._info(option, data)
                if export is not None and option == _OPT_GO:
                    return export
            else:
                self._reply(option, _REP_ERR_UNSUP)

    def _export_name(self, data: bytes, *, with_zeroes: bool) -> Overlay:
        export = self._exports.get(data.decode("utf-8", "replace"))
        if export is None:
            raise _ViolationError  # there is no way to say so but to hang up
        padding = bytes(124) if with_zeroes else b""
        self._connection.sendall(_EXPORT.pack(export.size, _EXPORT_FLAGS) + padding)
        return export

    def _list(self, data: bytes) -> None:
        if data:
            self._reply(_OPT_LIST, _REP_ERR_INVALID)
            return
        for name in sorted(self._exports):
            encoded = name.encode()
            self._reply(_OPT_LIST, _REP_SERVER, struct.pack(">I", len(encoded)) + encoded)
        self._reply(_OPT_LIST, _REP_ACK)

    def _info(self, option: int, data: bytes) -> Overlay | None:
        """Tell what there is to know of an export: name length, name, count of wishes, wishes."""
        name_length = int.from_bytes(data[:4], "big")
        name = data[4 : 4 + name_length]
        wishes = data[4 + name_length :]
        if len(wishes) < 2 or len(wishes) != 2 + 2 * int.from_bytes(wishes[:2], "big"):
            self._reply(option, _REP_ERR_INVALID)
            return None
        export = self._exports.get(name.decode("utf-8", "replace"))
        if export is None:
            self._reply(option, _REP_ERR_UNKNOWN)
            return None
        self._reply(
            option, _REP_INFO, _INFO_EXPORT.pack(_INFO_TYPE_EXPORT, export.size, _EXPORT_FLAGS)
        )
        sizes = (SECTOR_BYTES, BLOCK_BYTES, PAYLOAD_BYTES_MAX)
        self._reply(option, _REP_INFO, _INFO_BLOCK_SIZE.pack(_INFO_TYPE_BLOCK_SIZE, *sizes))
        self._reply(option, _REP_ACK)
        return export

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        header = _OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(data))
        self._connection.sendall(header + data)


def _receive(connection: socket.socket, length: int) -> memoryview:
    """Return exactly so many bytes.

    :raises OSError: if the connection ends before.
    """
    data = memoryview(bytearray(length))
    done = 0
    while done < length:
        count = connection.recv_into(data[done:])
        if not count:
            raise ConnectionResetError
        done += count
    return data
