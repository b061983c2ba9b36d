from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.support.command import convert, process, started, succeed

CASES = {
    "no such file": (["run", "{tmp}/none.vmdk", "oci:{tmp}/out"], 4, "read-failed"),
    "no such destination": (["run", "{disk}", "floppy:x"], 2, "usage"),
    "no such option": (["run", "--nope", "{disk}", "oci:{tmp}/out"], 2, "usage"),
    "no such command": (["convert"], 2, "usage"),
    "a bad level": (["run", "--level", "77", "{disk}", "oci:{tmp}/out"], 2, "usage"),
    "a bad port": (["run", "--port", "web", "{disk}", "oci:{tmp}/out"], 2, "usage"),
    "no such rule": (["run", "--keep", "nope", "{disk}", "oci:{tmp}/out"], 2, "usage"),
    "no such volume": (["run", "--root", "gpt:9", "{disk}", "oci:{tmp}/out"], 3, None),
    "a text file": (["run", "{tmp}/text.img", "oci:{tmp}/out"], 3, "unsupported"),
    "an image for export": (["export", "{disk}", "oci:{tmp}/out"], 2, "usage"),
    "no such path": (["cat", "{disk}", "/nope"], 2, "usage"),
    "a folder": (["cat", "{disk}", "/etc"], 2, "usage"),
    "no such spool": (
        ["run", "--spool", "{tmp}/none", "{tmp}/full/server.vmdk.gz", "oci:{tmp}/out"],
        7,
        "output-failed",
    ),
    "no such image": (["verify", "oci:{tmp}/none:x"], None, None),
    "a folder that is there": (["export", "{disk}", "dir:{tmp}/full"], 7, "output-exists"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_error_is_one_line_with_its_exit_code(disks: Path, tmp_path: Path, case: str) -> None:
    words, code, name = CASES[case]
    (tmp_path / "text.img").write_text("just some words\n" * 100)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    places = {"tmp": str(tmp_path), "disk": str(disks / "server.vmdk")}
    (tmp_path / "full" / "server.vmdk.gz").write_bytes(gzip.compress(b"x" * 99))
    arguments = [word.format(**places) for word in words]
    done = convert(*arguments)
    assert done.out == ""
    assert done.err.startswith("convert: ")
    assert done.err.count("\n") == 1
    assert done.code == code if code is not None else done.code > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "text.img"]
    as_json = convert(*arguments, "--json")
    error = json.loads(as_json.out)["error"]
    assert as_json.code == error["exit_code"] == done.code
    assert name is None or error["code"] == name


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['convert', '--help']\n"
        "from convert.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'pydantic', 'zstandard', 'tqdm', 'formats.core.registry'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_help_keeps_its_lines() -> None:
    """A paragraph after the character \\b is not wrapped; the two characters are none."""
    for command in ([], ["run"], ["export"], ["completion"]):
        shown = succeed(*command, "--help")
        assert "\\b" not in shown
        assert "\b" not in shown
    assert "\n    oci:DIR[:TAG] " in succeed("run", "--help")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_conversion_leaves_nothing(
    debian_disks: tuple[Path, ...], tmp_path: Path, number: signal.Signals
) -> None:
    with started("run", str(debian_disks[2]), f"oci:{tmp_path}/out:x") as child:
        deadline = time.monotonic() + 30
        while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(number)
        _, err = child.communicate(timeout=5)
    assert child.returncode == 130, err
    assert err.decode().count("\n") == 1
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("command", ["cat {} /usr/bin/busybox", "export {} tar:-"])
def test_a_reader_that_goes_away_is_no_error(disks: Path, command: str) -> None:
    words = command.format(disks / "server.vmdk")
    script = f"{sys.executable} -m convert {words} | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], capture_output=True, check=False
    )
    assert (len(done.stdout), done.stderr, done.returncode) == (1, b"", 0)


def test_a_pipe_gets_no_progress(disks: Path, tmp_path: Path) -> None:
    done = process("run", disks / "server.vmdk", f"oci:{tmp_path}/out:x")
    assert done.code == 0
    assert done.err == ""


def test_quiet_prints_nothing(disks: Path, tmp_path: Path) -> None:
    image = f"oci:{tmp_path}/out:x"
    assert succeed("run", "-q", disks / "server.vmdk", image) == ""
    assert succeed("inspect", "-q", disks / "server.vmdk") == ""
    assert succeed("verify", "-q", image) == ""
    assert succeed("export", "-q", disks / "server.vmdk", f"tar:{tmp_path}/t.tar") == ""


def test_a_terminal_gets_bytes_rate_and_stage(
    debian_disks: tuple[Path, ...], tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [
        sys.executable,
        "-m",
        "convert",
        "run",
        str(debian_disks[2]),
        f"oci:{tmp_path}/out:x",
    ]
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # EIO: the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        child.wait(timeout=120)
    os.close(ours)
    text = shown.decode()
    assert child.returncode == 0
    assert "writing" in text
    assert "B/s" in text


def test_an_archive_is_not_written_to_a_terminal(disks: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "convert", "run", f"{disks}/server.vmdk", "oci-archive:-"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


def test_names_of_a_guest_cannot_forge_a_line(tmp_path: Path) -> None:
    disk = tmp_path / "a\nb\x1b[31m.img"
    disk.write_bytes(b"nothing known" * 99)
    done = convert("run", disk, f"oci:{tmp_path}/out")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_completion_script(shell: str) -> None:
    assert "_CONVERT_COMPLETE" in succeed("completion", shell)


def test_completion_answers() -> None:
    words = {"COMP_WORDS": "convert in", "COMP_CWORD": "1"}
    environment = {"_CONVERT_COMPLETE": "bash_complete", **words}
    done = process(environment=environment)
    assert "inspect" in done.out
