"""The process that has libguestfs in it. Self-contained: it runs under the system's interpreter.

Python 3.6 and later, the standard library and the distribution's ``guestfs`` module; nothing else
of this project. :mod:`formats.guestfs.worker` starts it, as the leader of a process group, and
talks to it on standard input and output.

A frame is two numbers (length of the header, length of the body; 32 bits each, big-endian), a
header in JSON and a body of bytes. Requests have ``op`` and named arguments; replies have
``value``, or ``error`` and ``errno``; ``progress`` may come before a reply. Replies come in the
order of requests. At the end of its input the process stops the appliance and ends.

Calls with paths go to the library's C interface (guestfs(3)): the binding's strings are UTF-8, and
names are not.
"""

import ctypes
import json
import os
import queue
import resource
import signal
import struct
import sys
import threading

import guestfs

_FRAME = struct.Struct(">II")
_DIRENT = struct.Struct("=qcH")
_XATTR = struct.Struct("=HI")
_STATNS_BYTES = 22 * 8
_MIB = 1 << 20
_EMULATOR_MIB = 8192
"""Address space that qemu and the library take beside the appliance's memory; TCG alone a GiB."""
_CLOSE_SECONDS = 10
_LOG_LINES = 100


class _Dirent(ctypes.Structure):
    _fields_ = (("inode", ctypes.c_int64), ("kind", ctypes.c_char), ("name", ctypes.c_char_p))


class _Xattr(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("length", ctypes.c_uint32), ("value", ctypes.c_void_p))


class _List(ctypes.Structure):
    """The form that all lists of structures have in guestfs(3)."""

    _fields_ = (("length", ctypes.c_uint32), ("items", ctypes.c_void_p))


_HANDLE = ctypes.c_void_p
_POINTER = ctypes.c_void_p
_TEXT = ctypes.c_char_p
_STRINGS = ctypes.POINTER(ctypes.c_char_p)
_READ = (_TEXT, ctypes.c_int, ctypes.c_int64, ctypes.POINTER(ctypes.c_size_t))

_SIGNATURES = {
    "last_error": (_TEXT, ()),
    "last_errno": (ctypes.c_int, ()),
    "readdir": (_POINTER, (_TEXT,)),
    "lstatnslist": (_POINTER, (_TEXT, _STRINGS)),
    "lgetxattrs": (_POINTER, (_TEXT,)),
    "lxattrlist": (_POINTER, (_TEXT, _STRINGS)),
    "readlinklist": (_POINTER, (_TEXT, _STRINGS)),
    "pread": (_POINTER, _READ),
    "pread_device": (_POINTER, _READ),
    "cryptsetup_open_argv": (ctypes.c_int, (_TEXT, _TEXT, _TEXT, _POINTER)),
    "luks_open": (ctypes.c_int, (_TEXT, _TEXT, _TEXT)),
}
"""What functions return and take, after the handle."""


class CallError(Exception):
    """The library refused a call."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno


class Reply:
    """What an operation gives: a value for the header, and bytes."""

    def __init__(self, value: object = None, body: bytes = b"") -> None:
        self.value = value
        self.body = body


class Library:
    """The C interface of a handle."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._library = ctypes.CDLL("libguestfs.so.0")
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = (_POINTER,)

    def _call(self, name: str, *arguments: object) -> "int | bytes | None":
        function = getattr(self._library, "guestfs_" + name)
        result, taken = _SIGNATURES[name]
        function.restype, function.argtypes = result, (_HANDLE, *taken)
        returned: int | bytes | None = function(self._handle, *arguments)
        return returned

    def _pointer(self, name: str, *arguments: object) -> int:
        """Call a function that returns a pointer; a null pointer is an error."""
        address = self._call(name, *arguments)
        if not isinstance(address, int):
            raise self._error()
        return address

    def _error(self) -> CallError:
        text = self._call("last_error")
        errno = self._call("last_errno")
        message = (
            text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else "no reason"
        )
        return CallError(message, errno if isinstance(errno, int) else 0)

    def _free_list(self, kind: str, address: int) -> None:
        free = getattr(self._library, "guestfs_free_" + kind + "_list")
        free.restype, free.argtypes = None, (_POINTER,)
        free(address)

    def readdir(self, folder: bytes) -> bytes:
        """Return inode number, type and name of what is in a folder, packed."""
        address = self._pointer("readdir", folder)
        try:
            found = _List.from_address(address)
            items = ctypes.cast(found.items, ctypes.POINTER(_Dirent))
            rows = []
            for index in range(found.length):
                item = items[index]
                name = item.name
                rows.append(_DIRENT.pack(item.inode, item.kind, len(name)) + name)
            return b"".join(rows)
        finally:
            self._free_list("dirent", address)

    def stats(self, folder: bytes, names: "list[bytes]") -> bytes:
        """Return ``struct guestfs_statns`` of each name, as it is in memory."""
        address = self._pointer("lstatnslist", folder, _strings(names))
        try:
            found = _List.from_address(address)
            return ctypes.string_at(found.items, found.length * _STATNS_BYTES)
        finally:
            self._free_list("statns", address)

    def xattrs(self, folder: bytes, names: "list[bytes]") -> bytes:
        """Return a flat list of extended attributes, packed.

        For each name one with an empty name comes first. Its value is their count, in decimal; it
        is empty where they cannot be listed.
        """
        return self._packed_xattrs(self._pointer("lxattrlist", folder, _strings(names)))

    def xattrs_of(self, path: bytes) -> bytes:
        """Return the extended attributes of one path, packed; there is an error where none are."""
        return self._packed_xattrs(self._pointer("lgetxattrs", path))

    def _packed_xattrs(self, address: int) -> bytes:
        try:
            found = _List.from_address(address)
            items = ctypes.cast(found.items, ctypes.POINTER(_Xattr))
            rows = []
            for index in range(found.length):
                item = items[index]
                value = ctypes.string_at(item.value, item.length) if item.length else b""
                rows.append(_XATTR.pack(len(item.name), len(value)) + item.name + value)
            return b"".join(rows)
        finally:
            self._free_list("xattr", address)

    def links(self, folder: bytes, names: "list[bytes]") -> bytes:
        """Return what symlinks hold, each with a NUL after it; nothing for all else."""
        address = self._pointer("readlinklist", folder, _strings(names))
        found = ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))
        targets = []
        index = 0
        while found[index]:
            targets.append(ctypes.string_at(found[index]) + b"\0")
            self._free(found[index])
            index += 1
        self._free(address)
        return b"".join(targets)

    def read(self, function: str, path: bytes, length: int, offset: int) -> bytes:
        """Return bytes of a file or device; fewer only at its end."""
        size = ctypes.c_size_t()
        address = self._pointer(function, path, length, offset, ctypes.byref(size))
        try:
            return ctypes.string_at(address, size.value)
        finally:
            self._free(address)

    def open_encrypted(self, device: bytes, key: bytes, name: bytes) -> None:
        """Open an encrypted device as ``/dev/mapper/NAME``."""
        if hasattr(self._library, "guestfs_cryptsetup_open_argv"):  # 1.43.2 and later
            status = self._call("cryptsetup_open_argv", device, key, name, None)
        else:
            status = self._call("luks_open", device, key, name)
        if status:
            raise self._error()


def _strings(names: "list[bytes]") -> "ctypes.Array[ctypes.c_char_p]":
    return (ctypes.c_char_p * (len(names) + 1))(*names, None)


class Session:
    """The handle, and what can be asked of it."""

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel
        self._handle = guestfs.GuestFS(python_return_dict=True)
        self._library = Library(self._handle.c_pointer())
        self._is_launched = False
        self._log = []  # type: list[str]

    def handle(self, request: "dict[str, object]", body: bytes) -> Reply:
        """Do what a request asks for."""
        arguments = {name: value for name, value in request.items() if name != "op"}
        reply: Reply = getattr(self, "do_" + str(request["op"]))(body, **arguments)
        return reply

    def do_launch(
        self, body: bytes, drives: "list[dict[str, str]]", memory_mib: int, is_verbose: bool
    ) -> Reply:
        """Start the appliance with drives that are served by NBD."""
        del body
        handle = self._handle
        handle.set_memsize(memory_mib)
        handle.set_autosync(0)  # nothing is to be kept
        for drive in drives:
            handle.add_drive_opts(
                drive["export"], format="raw", protocol="nbd", server=["unix:" + drive["socket"]]
            )
        handle.set_event_callback(self._on_progress, guestfs.EVENT_PROGRESS)
        if is_verbose:
            handle.set_verbose(1)
            events = guestfs.EVENT_APPLIANCE | guestfs.EVENT_LIBRARY
            handle.set_event_callback(self._on_log, events)
        try:
            handle.launch()
        except RuntimeError as error:
            raise CallError("\n".join([str(error), *self._log]), 0) from error
        self._is_launched = True
        return Reply()

    def _on_progress(self, event: int, number: int, text: str, numbers: "list[int]") -> None:
        del event, number, text
        if not self._is_launched:
            self._channel.send({"progress": numbers[2:4]})

    def _on_log(self, event: int, number: int, text: str, numbers: "list[int]") -> None:
        del event, number, numbers
        self._log.extend(line for line in text.splitlines() if line.strip())
        del self._log[:-_LOG_LINES]

    def do_call(
        self, body: bytes, name: str, args: "list[object]", optional: "dict[str, object]"
    ) -> Reply:
        """Call the binding by name; what comes back can be JSON."""
        del body
        function = getattr(self._handle, name, None)
        if function is None:
            raise CallError("this libguestfs has no function '" + name + "'", 0)
        return Reply(function(*args, **optional))

    def do_readdir(self, body: bytes) -> Reply:
        """List a folder."""
        return Reply(body=self._library.readdir(body))

    def do_stats(self, body: bytes) -> Reply:
        """Tell what names in a folder are; the folder comes first, NULs are in between."""
        folder, *names = body.split(b"\0")
        return Reply(body=self._library.stats(folder, names))

    def do_xattrs(self, body: bytes) -> Reply:
        """Give the extended attributes of names in a folder."""
        folder, *names = body.split(b"\0")
        return Reply(body=self._library.xattrs(folder, names))

    def do_xattrs_of(self, body: bytes) -> Reply:
        """Give the extended attributes of one path."""
        return Reply(body=self._library.xattrs_of(body))

    def do_links(self, body: bytes) -> Reply:
        """Give the targets of symlinks in a folder."""
        folder, *names = body.split(b"\0")
        return Reply(body=self._library.links(folder, names))

    def do_read(self, body: bytes, length: int, offset: int) -> Reply:
        """Read a file."""
        return Reply(body=self._library.read("pread", body, length, offset))

    def do_read_device(self, body: bytes, length: int, offset: int) -> Reply:
        """Read a device."""
        return Reply(body=self._library.read("pread_device", body, length, offset))

    def do_open_encrypted(self, body: bytes, device: str, name: str) -> Reply:
        """Open an encrypted device with the key that is the body."""
        self._library.open_encrypted(device.encode(), body, name.encode())
        return Reply()

    def close(self) -> None:
        """Stop the appliance and remove its sockets."""
        self._handle.close()


class Channel:
    """The pipes to the parent. Standard input and output are others' from now on."""

    def __init__(self) -> None:
        self._requests = os.fdopen(os.dup(0), "rb")
        self._replies = os.fdopen(os.dup(1), "wb")
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)  # what qemu prints must not get between frames

    def receive(self) -> "tuple[dict[str, object], bytes] | None":
        """Return the next request; None at the end."""
        start = self._requests.read(_FRAME.size)
        if len(start) < _FRAME.size:
            return None
        header_length, body_length = _FRAME.unpack(start)
        header = self._requests.read(header_length)
        return json.loads(header.decode("ascii")), self._requests.read(body_length)

    def send(self, header: "dict[str, object]", body: bytes = b"") -> None:
        """Send a reply."""
        encoded = json.dumps(header).encode("ascii")
        self._replies.write(_FRAME.pack(len(encoded), len(body)) + encoded + body)
        self._replies.flush()


def _read_requests(channel: Channel, requests: "queue.Queue[object]") -> None:
    """Queue requests up to the end; then make the library let go of what it may be waiting for."""
    request = channel.receive()
    while request is not None:
        requests.put(request)
        request = channel.receive()
    requests.put(None)
    if os.getpgrp() == os.getpid():
        killer = threading.Timer(_CLOSE_SECONDS, os.killpg, (os.getpgrp(), signal.SIGKILL))
        killer.daemon = True
        killer.start()
        os.killpg(os.getpgrp(), signal.SIGTERM)


def _wait_for_qemu(number: int, frame: object) -> None:
    """Do nothing at SIGTERM: qemu ends by it, and the call that waits for it returns.

    A handler, as that the signal is ignored would be inherited by qemu.
    """
    del number, frame


def main(memory_mib: int) -> None:
    """Answer requests until there are no more."""
    limit = (memory_mib + _EMULATOR_MIB) * _MIB
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGTERM, _wait_for_qemu)
    channel = Channel()
    session = Session(channel)
    requests = queue.Queue()  # type: queue.Queue[tuple[dict[str, object], bytes] | None]
    threading.Thread(target=_read_requests, args=(channel, requests), daemon=True).start()
    try:
        while True:
            request = requests.get()
            if request is None:
                return
            try:
                reply = session.handle(*request)
            except CallError as error:
                channel.send({"error": error.message, "errno": error.errno})
            except (RuntimeError, UnicodeError) as error:  # the binding's own errors
                channel.send({"error": str(error), "errno": 0})
            else:
                channel.send({"value": reply.value}, reply.body)
    except BrokenPipeError:
        pass
    finally:
        session.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
