"""An interpreter with a ``guestfs`` module that behaves as a test wants, for failures on order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from formats.guestfs.settings import EngineSettings

_INTERPRETER = """#!/bin/sh
exec {python} {launcher} "$@"
"""

_LAUNCHER = '''
import ctypes, os, runpy, subprocess, sys, time, types

class Function:
    def __call__(self, *arguments):
        return None

class Library:
    """Stands for libguestfs.so.0: every call fails."""
    def __getattr__(self, name):
        return Function()

real = ctypes.CDLL
ctypes.CDLL = lambda name: Library() if name == "libguestfs.so.0" else real(name)

def fail(reason):
    raise RuntimeError(reason)

class GuestFS:
    def __init__(self, python_return_dict):
        pass
    def version(self):
        return {{"major": 1, "minor": 2, "release": 3}}
    def get_hv(self):
        return "/bin/sh"
    def get_path(self):
        return {folder!r}
    def get_cachedir(self):
        return {folder!r}
    def c_pointer(self):
        return 0
    def set_memsize(self, mib):
        pass
    def set_autosync(self, value):
        pass
    def set_verbose(self, value):
        pass
    def add_drive_opts(self, export, server, **options):
        self.drive = "nbd+unix:///" + export + "?socket=" + server[0].partition(":")[2]
    def set_event_callback(self, callback, events):
        self.callback = callback
    def close(self):
        pass
    def launch(self):
        {launch}

module = types.ModuleType("guestfs")
module.GuestFS = GuestFS
module.EVENT_PROGRESS, module.EVENT_APPLIANCE, module.EVENT_LIBRARY = 1, 2, 4
sys.modules["guestfs"] = module
arguments = [argument for argument in sys.argv[1:] if argument not in ("-I", "-B")]
if arguments[0] == "-c":
    exec(arguments[1])
else:
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
'''


def fake_settings(folder: Path, launch: str = "pass", **seconds: float) -> EngineSettings:
    """Return settings whose interpreter has a made-up ``guestfs``.

    :param launch: body of its ``launch`` method, one line; ``self.drive`` is the last disk.
    """
    launcher = folder / "launcher.py"
    launcher.write_text(_LAUNCHER.format(folder=os.fspath(folder), launch=launch))
    interpreter = folder / "python3"
    interpreter.write_text(_INTERPRETER.format(python=sys.executable, launcher=launcher))
    interpreter.chmod(0o755)
    (folder / "README.fixed").touch()  # an appliance that needs no kernel
    return EngineSettings(
        environment={"PATH": os.environ["PATH"]},
        interpreter=os.fspath(interpreter),
        force_tcg=True,
        launch_seconds=seconds.get("launch_seconds", 60),
        call_seconds=seconds.get("call_seconds", 60),
    )
