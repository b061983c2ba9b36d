"""Starting the appliance: the environment, KVM or not, and the reason where it does not start."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from formats.core.errors import CorruptError, LimitError, MissingDependencyError
from formats.core.limits import MIB
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.guestfs.binding import Binding, find_binding
from formats.guestfs.installation import find_obstacle
from formats.guestfs.nbd import NbdServer
from formats.guestfs.overlay import Budget, Overlay
from formats.guestfs.settings import EngineSettings
from formats.guestfs.worker import CallError, Json, Worker

STAGE = "starting libguestfs"
"""What progress is reported as."""

_BACKEND_SETTINGS = "LIBGUESTFS_BACKEND_SETTINGS"
_FORCE_TCG = "force_tcg"
_TEST_TOOL = "see what 'libguestfs-test-tool' prints at its end"
_SOCKET_PATH_MAX = 100
"""Unix socket addresses have 108 bytes (unix(7))."""
_QUICK_SECONDS = 60
_KVM = Path("/dev/kvm")
_KVM_GET_API_VERSION = 0xAE00


class Machine:
    """What runs: the child process, and the disks that it is served; see :func:`start`.

    :ivar is_emulated: whether it runs without KVM.
    """

    def __init__(
        self,
        binding: Binding,
        worker: Worker,
        server: NbdServer,
        budget: Budget,
        resources: ExitStack,
        *,
        is_emulated: bool,
    ) -> None:
        self.is_emulated = is_emulated
        self.binding = binding
        self.worker = worker
        self.server = server
        self.budget = budget
        self._resources = resources

    def close(self) -> None:
        """Stop it, and remove what it left."""
        self._resources.close()


def start(
    sources: Sequence[ByteSource],
    settings: EngineSettings,
    origin: Origin,
    progress: Callable[[str, int, int], None],
) -> Machine:
    """Start an appliance with these disks.

    :raises MissingDependencyError: if it cannot be started here, with the reason and the remedy.
    :raises LimitError: if it does not start in time.
    """
    binding = find_binding(settings)
    with ExitStack() as resources:
        folder = _private_folder()
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        budget = Budget(settings.overlay_mib * MIB)
        exports = {str(number): Overlay(source, budget) for number, source in enumerate(sources)}
        server = NbdServer(exports, folder / "nbd")
        resources.callback(server.close)
        launcher = _Launcher(binding, settings, server, len(sources), folder, origin, progress)
        worker, is_emulated = launcher.launch()
        resources.callback(worker.close)
        return Machine(
            binding, worker, server, budget, resources.pop_all(), is_emulated=is_emulated
        )


def _private_folder() -> Path:
    """Make a folder for sockets whose path is short enough for them."""
    folder = Path(tempfile.mkdtemp(prefix="oci-convert-"))
    if len(os.fsencode(folder)) + len("/nbd") > _SOCKET_PATH_MAX:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="oci-convert-", dir="/tmp"))
    return folder


class _Launcher:
    """The attempts at starting."""

    def __init__(
        self,
        binding: Binding,
        settings: EngineSettings,
        server: NbdServer,
        drive_count: int,
        folder: Path,
        origin: Origin,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._binding = binding
        self._settings = settings
        self._folder = folder
        self._origin = origin
        self._progress = progress
        self._drives: list[Json] = [
            {"export": str(number), "socket": str(server.path)} for number in range(drive_count)
        ]

    def launch(self) -> tuple[Worker, bool]:
        """Return the child with a running appliance, and whether it had to do without KVM."""
        force_tcg = self._settings.force_tcg
        if not force_tcg and is_kvm_usable():
            worker = self._attempt(without_kvm=False)
            if isinstance(worker, Worker):
                return worker, False
            if force_tcg is False:
                raise self._failed(worker)
        began = time.monotonic()
        worker = self._attempt(without_kvm=True)
        if isinstance(worker, Worker):
            return worker, True
        if time.monotonic() - began < _QUICK_SECONDS:  # once more, with the log on
            worker = self._attempt(without_kvm=True, is_verbose=True)
            if isinstance(worker, Worker):
                return worker, True
        raise self._failed(worker)

    def _failed(self, refusal: CallError) -> MissingDependencyError:
        """Return what keeps the appliance from starting, or else what the library says of it."""
        obstacle = find_obstacle(self._binding, self._settings)
        if obstacle is not None:
            return MissingDependencyError(obstacle.reason, hint=obstacle.remedy)
        return MissingDependencyError(
            f"the appliance of libguestfs does not start: {_reason(refusal)}", hint=_TEST_TOOL
        )

    def _attempt(self, *, without_kvm: bool, is_verbose: bool = False) -> Worker | CallError:
        """Return a worker with a running appliance, or the library's reason against it."""
        settings = self._settings
        environment = child_environment(settings, self._folder, without_kvm=without_kvm)
        worker = Worker(self._binding, settings, environment, self._origin)
        request: dict[str, Json] = {
            "drives": self._drives,
            "memory_mib": settings.memory_mib,
            "is_verbose": is_verbose,
        }
        try:
            worker.call("launch", request, seconds=settings.launch_seconds, progress=self._tell)
        except CallError as error:
            worker.close()
            return error
        except LimitError as error:
            worker.close()
            raise LimitError(
                f"libguestfs did not start within {settings.launch_seconds:g} seconds",
                hint=None
                if without_kvm
                else "KVM may hang here: set force_tcg in the environment"
                f" variable {_BACKEND_SETTINGS}",
            ) from error
        except CorruptError as error:  # nothing was read yet that could be
            worker.close()
            raise MissingDependencyError(
                f"the process with libguestfs does not start: {error.message}", hint=_TEST_TOOL
            ) from error
        except BaseException:
            worker.close()
            raise
        return worker

    def _tell(self, done: int, total: int) -> None:
        self._progress(STAGE, done, total)


def child_environment(
    settings: EngineSettings, folder: Path, *, without_kvm: bool
) -> dict[str, str]:
    """Return the child's environment: the user's, with what they did not decide themselves."""
    environment = {
        "LIBGUESTFS_BACKEND": "direct",  # libvirt would keep a machine of ours in its books
        "LIBGUESTFS_TMPDIR": os.fspath(folder),
        **settings.environment,
        "LC_ALL": "C.UTF-8",
    }
    chosen = environment.get(_BACKEND_SETTINGS, "")
    if without_kvm and _FORCE_TCG not in chosen.split(":"):
        environment[_BACKEND_SETTINGS] = f"{chosen}:{_FORCE_TCG}".lstrip(":")
    return environment


def is_kvm_usable() -> bool:
    """Tell whether this process may ask KVM for a machine; one may still not run."""
    try:
        device = os.open(_KVM, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return fcntl.ioctl(device, _KVM_GET_API_VERSION) > 0
    except OSError:
        return False
    finally:
        os.close(device)


_SAYS_LITTLE = (
    "guestfs_launch failed",
    "This usually means",
    "Do:",
    "export LIBGUESTFS",
    "and run",
)


def _reason(error: CallError) -> str:
    """Return the line of the library's message and log that says most."""
    lines = [line.strip() for line in error.message.split("\n") if line.strip()]
    log = [line for line in lines if line.startswith(("qemu", "supermin", "libguestfs: error"))]
    telling = [line for line in lines if not line.startswith(_SAYS_LITTLE)]
    return (log or telling or lines or ["no reason given"])[-1 if log else 0]
