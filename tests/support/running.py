"""A converted disk as a running container: asked on its ports from outside, then stopped."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command import succeed
from tests.support.containers import Podman, podman
from tests.support.programs import need, run

ELSEWHERE = "127.0.0.2"
"""An address that what listens on the machine's own address alone does not answer on."""

GRACE_SECONDS = 10
"""What podman and docker give a container to end, before they kill it."""

_START_SECONDS = 60
_KILLED = 128 + 9

# An exchange in a container's network: arguments are host, port, and what to say.
_CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
    connection.sendall(sys.argv[3].encode())
    while received := connection.recv(65536):
        sys.stdout.buffer.write(received)
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the container, as the host sees it.

    :ivar command: its arguments, each with the NUL byte that ends it.
    """

    user_id: int
    command: str


@dataclass(frozen=True, slots=True)
class Stop:
    """How a container ended that was asked to."""

    seconds: float
    exit_code: int

    @property
    def is_in_order(self) -> bool:
        """Tell whether it ended by itself and in time."""
        return self.exit_code != _KILLED and self.seconds < GRACE_SECONDS


class Running:
    """A container that runs with nothing but its image's config, in a network of its own."""

    def __init__(self, engine: Podman, name: str) -> None:
        self.engine = engine
        self.name = name
        self.process = int(engine("inspect", "--format", "{{.State.Pid}}", name))

    def asked(self, port: int, said: str, *, host: str = ELSEWHERE) -> str:
        """Return everything that is answered on a port, as soon as something listens there.

        :raises AssertionError: with the container's log, if that takes too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        client = ("nsenter", "--target", str(self.process), "--net", sys.executable, "-c", _CLIENT)
        while True:
            done = run(*client, host, str(port), said, check=False, timeout=60)
            if done.returncode == 0 and done.stdout:
                return done.stdout.decode()
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.name}: {done.stderr.decode()}\n{self.engine.log(self.name)}"
                )
            time.sleep(0.2)

    def ran(self, *command: str) -> str:
        """Return what a program of the image prints, as soon as it ends well.

        :raises AssertionError: with the container's log, if that takes too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return self.engine("exec", self.name, *command).decode()
            except AssertionError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(self.engine.log(self.name)) from error
            time.sleep(0.2)

    def got(self, port: int, path: str) -> str:
        """Return what a web server has at a path; headers too."""
        return self.asked(port, f"GET {path} HTTP/1.0\r\nHost: {self.name}\r\n\r\n")

    def processes(self) -> list[Process]:
        """Return all that run in it, the one that was started first in front."""
        listed = {int(number) for number in self.engine("top", self.name, "hpid").split()[1:]}
        return [_process(number) for number in (self.process, *sorted(listed - {self.process}))]

    def stop(self) -> Stop:
        """Ask it to end as any runtime does: by the image's own signal, with a time to end in."""
        begun = time.monotonic()
        self.engine("stop", "--time", str(GRACE_SECONDS), self.name)
        seconds = time.monotonic() - begun
        code = self.engine("inspect", "--format", "{{.State.ExitCode}}", self.name)
        return Stop(seconds, int(code))


def _process(number: int) -> Process:
    folder = Path("/proc", str(number))
    return Process(folder.stat().st_uid, (folder / "cmdline").read_bytes().decode())


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a converted disk, as skopeo reads it.

    :ivar reference: as skopeo and podman take it.
    :ivar config: ``config`` of the image's own config.
    """

    reference: str
    config: dict[str, Any]

    @classmethod
    def of(cls, reference: str) -> Image:
        """Return an image that is there."""
        need("skopeo")
        shown = json.loads(run("skopeo", "inspect", "--config", reference).stdout)
        return cls(reference, shown["config"])

    @property
    def user(self) -> int:
        """Its user's number; 0 for root."""
        return int(self.config.get("User", "").partition(":")[0] or 0)

    @property
    def ports(self) -> list[int]:
        """The ports that it exposes."""
        return sorted(int(port.partition("/")[0]) for port in self.config.get("ExposedPorts", {}))


def converted(disk: Path, layout: Path, *options: str) -> Image:
    """Convert a disk with no option that says anything about its config."""
    reference = f"oci:{layout}:latest"
    succeed("run", "-q", *options, disk, reference)
    return Image.of(reference)


@contextmanager
def running(image: Image, name: str) -> Iterator[Running]:
    """Start a container of an image, with no option that says anything about its config."""
    need("nsenter")
    with podman() as engine:
        engine.start(image.reference, name, network="none")
        yield Running(engine, name)


def user_of_disk(disk: Path, name: str) -> int:
    """Return a user's number as a disk's own ``/etc/passwd`` has it."""
    need("debugfs")
    passwd = run("debugfs", "-R", "cat /etc/passwd", disk).stdout.decode()
    rows = (line.split(":") for line in passwd.splitlines())
    return next(int(row[2]) for row in rows if row[0] == name)
