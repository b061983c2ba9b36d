"""Each trap of an installation, with its way out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import MissingDependencyError
from formats.core.origin import Origin
from formats.core.source import MemorySource
from formats.guestfs import diagnosis
from formats.guestfs.binding import Binding
from formats.guestfs.diagnosis import diagnose
from formats.guestfs.engine import Appliance
from formats.guestfs.installation import find_obstacle, missing_tools
from formats.guestfs.settings import EngineSettings
from tests.support.fake_guestfs import fake_settings
from tests.support.programs import need, run

SETTINGS = EngineSettings({"PATH": os.environ["PATH"]})


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Make a root folder with all that libguestfs needs."""
    for folder in ("boot", "bin", "cache", "guestfs/supermin.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "boot/vmlinuz-6.1.0-1-amd64").touch()
    for program in ("qemu", "supermin"):
        path = tmp_path / "bin" / program
        path.touch()
        path.chmod(0o755)
    return tmp_path


def binding(machine: Path) -> Binding:
    return Binding(
        "/usr/bin/python3",
        "1.48.6",
        hypervisor=str(machine / "bin/qemu"),
        appliance_path=str(machine / "guestfs"),
        cache_folder=str(machine / "cache"),
    )


def settings(machine: Path) -> EngineSettings:
    return replace(SETTINGS, environment={"PATH": str(machine / "bin")})


def obstacle(machine: Path) -> str:
    found = find_obstacle(binding(machine), settings(machine), machine)
    return f"{found.reason}; {found.remedy}" if found is not None else ""


def test_a_whole_installation_has_no_obstacle(machine: Path) -> None:
    assert obstacle(machine) == ""


def test_qemu_is_named_where_it_is_missing(machine: Path) -> None:
    (machine / "bin/qemu").unlink()
    assert "apt install qemu-system-x86" in obstacle(machine)


def test_supermin_is_named_where_it_is_missing(machine: Path) -> None:
    (machine / "bin/supermin").unlink()
    assert "apt install supermin" in obstacle(machine)


def test_a_container_has_no_kernel(machine: Path) -> None:
    (machine / "boot/vmlinuz-6.1.0-1-amd64").unlink()
    assert "containers have none" in obstacle(machine)
    assert "apt install linux-image-amd64" in obstacle(machine)


@pytest.mark.parametrize("place", ["usr/lib/modules/6.12/vmlinuz", "lib/modules/6.12/vmlinuz"])
def test_a_kernel_may_lie_beside_its_modules(machine: Path, place: str) -> None:
    (machine / "boot/vmlinuz-6.1.0-1-amd64").unlink()
    (machine / place).parent.mkdir(parents=True)
    (machine / place).touch()
    assert obstacle(machine) == ""


def test_a_kernel_that_only_root_may_read_is_told_how_to_open(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = machine / "boot/vmlinuz-6.1.0-1-amd64"
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != kernel and real(path, mode))
    assert f"sudo chmod 0644 {kernel}" in obstacle(machine)


def test_the_users_own_kernel_counts(machine: Path) -> None:
    (machine / "boot/vmlinuz-6.1.0-1-amd64").unlink()
    own = {**settings(machine).environment, "SUPERMIN_KERNEL": "/elsewhere/vmlinuz"}
    assert find_obstacle(binding(machine), replace(SETTINGS, environment=own), machine) is None


def test_a_fixed_appliance_needs_neither_kernel_nor_supermin(machine: Path) -> None:
    (machine / "guestfs/supermin.d").rmdir()
    assert "no appliance" in obstacle(machine)
    (machine / "guestfs/README.fixed").touch()
    (machine / "bin/supermin").unlink()
    (machine / "boot/vmlinuz-6.1.0-1-amd64").unlink()
    assert obstacle(machine) == ""


def test_a_cache_that_cannot_be_written_is_told_how_to_move(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = machine / "cache"
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != cache and real(path, mode))
    assert "LIBGUESTFS_CACHEDIR" in obstacle(machine)


def test_packages_with_more_tools_are_listed_until_they_are_there(machine: Path) -> None:
    assert "libguestfs-xfs" in set(missing_tools(binding(machine)))
    (machine / "guestfs/supermin.d/zz-packages-xfs").touch()
    assert "libguestfs-xfs" not in set(missing_tools(binding(machine)))


def test_a_diagnosis_without_binding_says_how_to_get_it() -> None:
    found = diagnose(replace(SETTINGS, interpreter="/bin/false"), boot=False)
    assert not found.works
    assert "python3-guestfs" in (found.remedy or "")


def test_a_diagnosis_names_interpreter_and_version(tmp_path: Path) -> None:
    found = diagnose(fake_settings(tmp_path), boot=False)
    assert found.works
    assert found.details["version"] == "1.2.3"
    assert found.details["interpreter"] == str(tmp_path / "python3")


def test_a_diagnosis_says_that_all_is_slow_where_kvm_is_not_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "is_kvm_usable", lambda: False)
    assert "slow" in diagnose(fake_settings(tmp_path), boot=False).details["kvm"]


def test_a_diagnosis_with_a_start_gives_the_reason_of_one_that_fails(tmp_path: Path) -> None:
    found = diagnose(fake_settings(tmp_path, "fail('no such machine')"), boot=True)
    assert not found.works
    assert "no such machine" in (found.reason or "")


def test_a_start_that_fails_for_want_of_an_appliance_says_so(tmp_path: Path) -> None:
    without = fake_settings(tmp_path, "fail('supermin exited with error status 1')")
    (tmp_path / "README.fixed").unlink()
    with pytest.raises(MissingDependencyError, match="no appliance"):
        Appliance([MemorySource(bytes(4096), Origin(("disk",)))], without)


def test_this_machine_passes_where_the_librarys_own_tool_is_installed() -> None:
    need("guestfish")
    version = run("guestfish", "--version").stdout.split()[1].decode()
    found = diagnose(EngineSettings(dict(os.environ)), boot=False)
    assert found.works, found.reason
    assert found.details["version"] == version
