"""Finding an interpreter that has libguestfs's Python binding.

The binding is not on PyPI. Distributions build it for their own interpreter, which is seldom the
one that this project runs under.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from formats.core.errors import MissingDependencyError
from formats.guestfs.settings import EngineSettings

INSTALL_BINDING = (
    "install it from the distribution: 'apt install python3-guestfs' (Debian, Ubuntu),"
    " 'dnf install python3-libguestfs' (Fedora, RHEL)"
)
_SYSTEM_FOLDERS = (Path("/usr/bin"), Path("/usr/libexec"), Path("/usr/local/bin"))
_SYSTEM_NAMES = ("python3", "platform-python", "python3.[0-9]*")
_PROBE_SECONDS = 20
_PROBE = """
import json
import guestfs
g = guestfs.GuestFS(python_return_dict=True)
v = g.version()
print(json.dumps([
    "%d.%d.%d" % (v["major"], v["minor"], v["release"]), g.get_hv(), g.get_path(), g.get_cachedir()
]))
"""


@dataclass(frozen=True, slots=True)
class Binding:
    """An interpreter with the ``guestfs`` module, and what the library says of itself.

    :ivar version: of libguestfs: ``1.48.6``.
    :ivar hypervisor: path of qemu.
    :ivar appliance_path: folders where the appliance's parts are looked for, colons in between.
    :ivar cache_folder: where the built appliance is kept.
    """

    interpreter: str
    version: str
    hypervisor: str
    appliance_path: str
    cache_folder: str


def find_binding(settings: EngineSettings) -> Binding:
    """Return the first interpreter that can import ``guestfs``.

    :raises MissingDependencyError: if there is none.
    """
    for interpreter in _candidates(settings):
        binding = _probe(interpreter, settings)
        if binding is not None:
            return binding
    raise MissingDependencyError(
        "no Python here has the binding of libguestfs (the module 'guestfs')", hint=INSTALL_BINDING
    )


def _candidates(settings: EngineSettings) -> Iterator[str]:
    """Yield interpreters, each real file once."""
    if settings.interpreter is not None:
        yield settings.interpreter
        return
    paths = [Path(sys.executable)]
    for folder in _SYSTEM_FOLDERS:
        for name in _SYSTEM_NAMES:
            paths += sorted(folder.glob(name))
    path = settings.environment.get("PATH", "")
    paths += [Path(folder) / "python3" for folder in path.split(":") if folder]
    seen: set[Path] = set()
    for candidate in paths:
        # a virtual environment's link leads to an interpreter without that environment's modules
        known = candidate if candidate.parent not in _SYSTEM_FOLDERS else candidate.resolve()
        if known not in seen and candidate.is_file() and not candidate.name.endswith("-config"):
            seen.add(known)
            yield str(candidate)


def _probe(interpreter: str, settings: EngineSettings) -> Binding | None:
    try:
        done = subprocess.run(
            [interpreter, "-I", "-c", _PROBE],
            capture_output=True,
            check=False,
            timeout=_PROBE_SECONDS,
            env=dict(settings.environment),
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            return None
        version, hypervisor, appliance_path, cache_folder = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Binding(interpreter, str(version), str(hypervisor), str(appliance_path), cache_folder)
