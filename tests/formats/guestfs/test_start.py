"""What happens when the binding, the child or the appliance does not do what it should."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError, MissingDependencyError
from formats.core.origin import Origin
from formats.core.source import BytesLike, MemorySource
from formats.guestfs import start as starting
from formats.guestfs.binding import find_binding
from formats.guestfs.engine import Appliance
from formats.guestfs.settings import EngineSettings
from formats.guestfs.worker import CHILD
from tests.support.fake_guestfs import fake_settings
from tests.support.programs import need

DISK = MemorySource(bytes(4096), Origin(("disk.img",)))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for_end(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


def starts_sleeper(note: Path, then: str = "pass") -> str:
    """Return a ``launch`` that starts what stands for qemu, and writes down its number."""
    return (
        f"child = subprocess.Popen(['sleep', '600']);"
        f" open({os.fspath(note)!r}, 'w').write(str(child.pid)); {then}"
    )


def test_an_interpreter_without_the_binding_is_a_missing_dependency_with_the_remedy() -> None:
    settings = EngineSettings(environment={}, interpreter="/bin/false")
    with pytest.raises(MissingDependencyError, match="has the binding") as caught:
        find_binding(settings)
    assert "apt install python3-guestfs" in str(caught.value)


def test_the_binding_is_found_in_an_interpreter_that_is_not_ours(tmp_path: Path) -> None:
    binding = find_binding(fake_settings(tmp_path))
    assert binding.version == "1.2.3"
    assert binding.interpreter == str(tmp_path / "python3")


def test_what_was_started_is_gone_once_the_appliance_is_closed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with Appliance([DISK], fake_settings(tmp_path, starts_sleeper(note))):
        pid = int(note.read_text())
        assert is_alive(pid)
    assert wait_for_end(pid, 1)


def test_a_start_that_hangs_is_ended_by_its_limit_and_leaves_nothing(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    settings = fake_settings(tmp_path, starts_sleeper(note, "child.wait()"), launch_seconds=3)
    with pytest.raises(LimitError, match="did not start within 3 seconds"):
        Appliance([DISK], settings)
    assert wait_for_end(int(note.read_text()), 1)


def test_a_child_that_ignores_its_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("formats.guestfs.worker._CLOSE_SECONDS", 0.5)
    note = tmp_path / "pid"
    deaf = "signal = __import__('signal'); signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    launch = starts_sleeper(note, f"{deaf}; time.sleep(600)")
    with pytest.raises(LimitError):
        Appliance([DISK], fake_settings(tmp_path, launch, launch_seconds=3))
    assert wait_for_end(int(note.read_text()), 1)


def test_nothing_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    settings = fake_settings(tmp_path, starts_sleeper(note, "child.wait()"))
    script = (
        "from tests.formats.guestfs.test_start import *;"
        f" Appliance([DISK], EngineSettings(dict({dict(settings.environment)!r}),"
        f" interpreter={settings.interpreter!r}, force_tcg=True))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    try:
        deadline = time.monotonic() + 60
        while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        pid = int(note.read_text())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        assert wait_for_end(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            parent.kill()
        parent.wait()


def test_a_start_that_fails_gives_the_reason_from_the_log(tmp_path: Path) -> None:
    log = "self.callback(2, 0, 'qemu-system-x86_64: no such machine', [])"
    launch = f"{log}; raise RuntimeError('guestfs_launch failed.\\nThis usually means')"
    with pytest.raises(MissingDependencyError, match="no such machine"):
        Appliance([DISK], fake_settings(tmp_path, launch))


def test_where_kvm_fails_the_processor_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "is_kvm_usable", lambda: True)
    wanted = "os.environ.get('LIBGUESTFS_BACKEND_SETTINGS', '') == 'force_tcg'"
    launch = f"fail('no KVM') if not {wanted} else None"
    settings = replace(fake_settings(tmp_path, launch), force_tcg=None)
    with Appliance([DISK], settings) as appliance:
        assert appliance.is_emulated
    with pytest.raises(MissingDependencyError, match="no KVM"):
        Appliance([DISK], replace(settings, force_tcg=False))


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        ("os.write(2, b'\\x1b[31mout of memory\\n'); os._exit(1)", r"\\x1b\[31mout of memory"),
        ("os.write(2, b''); os._exit(0)", "libguestfs ended"),
    ],
    ids=["with a message", "without"],
)
def test_a_child_that_dies_is_an_error_with_its_last_words(
    tmp_path: Path, launch: str, said: str
) -> None:
    with pytest.raises(MissingDependencyError, match=said):
        Appliance([DISK], fake_settings(tmp_path, launch))


def test_an_appliance_that_goes_down_later_is_the_fault_of_what_it_read(tmp_path: Path) -> None:
    launch = "GuestFS.list_devices = lambda self: os._exit(3)"
    with (
        Appliance([DISK], fake_settings(tmp_path, launch)) as appliance,
        pytest.raises(CorruptError, match=r"disk\.img: libguestfs ended"),
    ):
        appliance.devices()


def test_a_call_that_hangs_is_ended_by_its_limit_and_the_appliance_with_it(tmp_path: Path) -> None:
    launch = "GuestFS.list_devices = lambda self: subprocess.run(['sleep', '600'])"
    settings = fake_settings(tmp_path, launch, call_seconds=1)
    with Appliance([DISK], settings) as appliance:
        with pytest.raises(LimitError, match="no answer to 'list_devices' within 1 seconds"):
            appliance.devices()
        with pytest.raises(CorruptError, match="gave no answer"):
            appliance.devices()


def test_a_child_gets_no_more_memory_than_it_may_have(tmp_path: Path) -> None:
    launch = "GuestFS.list_devices = lambda self: bytearray(20 << 30)"
    with (
        Appliance([DISK], fake_settings(tmp_path, launch)) as appliance,
        pytest.raises(CorruptError, match="libguestfs ended: MemoryError"),
    ):
        appliance.devices()


def devices_after(command: str) -> str:
    """Return a ``launch`` after which ``qemu-io`` does something, and the library fails by it."""
    need("qemu-io")
    return (
        "GuestFS.list_devices = lambda self: subprocess.run("
        f"['qemu-io', '-f', 'raw', '-c', '{command}', self.drive]) and fail('I/O error')"
    )


def test_a_kernel_that_writes_more_than_is_set_aside_is_told_apart(tmp_path: Path) -> None:
    settings = replace(fake_settings(tmp_path, devices_after("write 0 2M")), overlay_mib=1)
    disk = MemorySource(bytes(4 << 20), Origin(("disk.img",)))
    with (
        Appliance([disk], settings) as appliance,
        pytest.raises(LimitError, match="wrote more than the 1 MiB that are set aside"),
    ):
        appliance.devices()


def test_what_the_disk_has_is_said_and_not_what_the_kernel_made_of_it(tmp_path: Path) -> None:
    class Damaged(MemorySource):
        def read_at(self, offset: int, length: int) -> BytesLike:
            raise CorruptError("a grain is damaged", origin=self.origin, offset=offset + length)

    with (
        Appliance(
            [Damaged(bytes(4096), Origin(("disk.vmdk",)))],
            fake_settings(tmp_path, devices_after("read 0 4k")),
        ) as appliance,
        pytest.raises(CorruptError, match=r"disk\.vmdk: a grain is damaged"),
    ):
        appliance.devices()


def test_a_function_that_an_old_library_lacks_is_an_error(tmp_path: Path) -> None:
    with (
        Appliance([DISK], fake_settings(tmp_path)) as appliance,
        pytest.raises(CorruptError, match="has no function 'list_devices'"),
    ):
        appliance.devices()


@pytest.mark.parametrize(
    "garbage",
    [
        "b'HTTP/1.1 200 OK' * 100",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0[]'",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0{]'",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0\\xff\\xff'",
        "b'\\0\\1\\0\\0\\0\\0\\0\\0' + b'[' * 65536",
    ],
    ids=["not framed", "no object", "no JSON", "no text", "nested without end"],
)
def test_what_is_no_reply_is_an_error(tmp_path: Path, garbage: str) -> None:
    pipe = "self.callback.__self__._channel._replies"
    launch = f"{pipe}.write({garbage}); {pipe}.flush()"
    with pytest.raises(MissingDependencyError, match="no reply"):
        Appliance([DISK], fake_settings(tmp_path, launch))


def test_the_child_runs_under_interpreters_of_old_distributions() -> None:
    source = CHILD.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__ import annotations" not in source
