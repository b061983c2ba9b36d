"""Running podman in tests, with a storage of its own that is gone afterwards."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.support.programs import need, need_root, run

_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


class Podman:
    """podman with runc. Host networking: no test needs a network that has to be set up."""

    def __init__(self, folder: Path) -> None:
        self._storage = ("--root", f"{folder}/store", "--runroot", f"{folder}/run")

    def __call__(self, *arguments: str | Path, check: bool = True) -> bytes:
        """Run podman to its end and return what it printed."""
        return run("podman", *self._storage, *arguments, check=check).stdout

    def log(self, name: str) -> str:
        """Return what a container wrote to its output and to its errors."""
        done = run("podman", *self._storage, "logs", name, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    def run(self, image: str, *options: str, command: tuple[str, ...] = ()) -> bytes:
        """Run a container to its end and return what it printed."""
        return run(*self._command("--rm", *options, image, *command)).stdout

    def start(
        self, image: str, name: str, *, network: str = "host"
    ) -> subprocess.CompletedProcess[bytes]:
        """Start a container in the background.

        :param network: "none" for what is only asked from inside: its ports are its own.
        """
        return run(*self._command("--detach", "--name", name, image, network=network))

    def _command(self, *arguments: str, network: str = "host") -> tuple[str, ...]:
        settings = ("--runtime", "runc", "run", "--network", network, *_LIMITS)
        return ("podman", *self._storage, *settings, *arguments)


@contextmanager
def podman() -> Iterator[Podman]:
    """Give a podman; everything it stored is removed at the end."""
    need("podman", "runc")
    need_root()
    # podman takes no runroot that is longer than 50 characters, as pytest's folders are
    folder = Path(tempfile.mkdtemp(prefix="oc-"))
    engine = Podman(folder)
    try:
        yield engine
    finally:
        engine("rm", "--all", "--force", "--time", "1", check=False)
        engine("rmi", "--all", "--force", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def front_page(seconds: float = 30) -> str:
    """Return what the web server on this machine shows, as soon as it answers."""
    deadline = time.monotonic() + seconds
    while True:
        with closing(HTTPConnection("127.0.0.1", 80, timeout=5)) as connection:
            try:
                connection.request("GET", "/")
                return connection.getresponse().read().decode()
            except OSError:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.2)
