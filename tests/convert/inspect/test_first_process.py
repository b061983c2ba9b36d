"""Programs that leave their stop signal to the kernel, which a container's first one cannot."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

import pytest

from convert.inspect.entrypoint import EntrypointDecision
from tests.support.guests import SYSTEM, decide, service
from tests.support.programs import need

PROGRAMS = SYSTEM + "".join(
    f"f 755 0:0 usr/bin/{name} \\x7fELF\n" for name in ("node", "python3.11", "perl", "ruby")
)
HANDLES = "process.on('SIGTERM', () => server.close());\n"
IN_A_SHELL = ("/bin/sh", "-c")


def decided(command: str, files: dict[str, str], *settings: str) -> EntrypointDecision:
    return decide({"app.service": service(command, *settings)}, files, PROGRAMS)


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("/usr/bin/node server.js", {"srv/app/server.js": "serve();\n"}),
        ("/usr/bin/node --no-warnings server", {"srv/app/server.js": "serve();\n"}),
        ("/usr/bin/node /gone.js", {"srv/app/gone.js": HANDLES}),
        ("/usr/bin/python3.11 -m app", {"srv/app/app": "SIGTERM"}),
        ("/usr/bin/perl app.pl --name SIGTERM", {"srv/app/app.pl": "serve();\n"}),
    ],
)
def test_an_interpreter_whose_program_names_no_signal_gets_it_from_a_shell(
    command: str, files: dict[str, str]
) -> None:
    found = decided(command, files, "WorkingDirectory=/srv/app")

    argv = tuple(shlex.split(command))
    assert found.entrypoint[:2] == IN_A_SHELL
    assert found.entrypoint[3:] == argv[:1]
    assert found.cmd == argv[1:]
    assert any("as the first process would not end by SIGTERM" in why for why in found.evidence)


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("/usr/bin/node server.js", ("WorkingDirectory=/srv/app",)),
        ("/usr/bin/node server", ("WorkingDirectory=/srv/app",)),
        ("/usr/bin/node /srv/app", ()),
        ("/usr/bin/ruby app.rb", ()),
        ("/usr/bin/app", ()),
        ("/usr/bin/python3.11 app.py", ("KillSignal=SIGINT",)),  # Python's own handler
    ],
)
def test_what_handles_its_signal_is_started_as_it_is(
    command: str, settings: tuple[str, ...]
) -> None:
    files = {"srv/app/server.js": HANDLES, "srv/app/index.js": HANDLES, "app.py": "serve()\n"}
    found = decided(command, files, *settings)

    assert (*found.entrypoint, *found.cmd) == tuple(shlex.split(command))


def test_a_script_is_known_by_its_first_line() -> None:
    more = PROGRAMS + "f 755 0:0 srv/app/serve #!/usr/bin/env\\x20python3\\n\n"
    found = decide({"app.service": service("/srv/app/serve --all")}, {}, more)
    assert found.entrypoint[:2] == IN_A_SHELL
    assert found.entrypoint[3:] == ("/srv/app/serve",)

    more = PROGRAMS + "f 755 0:0 srv/app/serve #!/usr/bin/env\\x20python3\\nsignal.SIGTERM\\n\n"
    found = decide({"app.service": service("/srv/app/serve --all")}, {}, more)
    assert found.entrypoint == ("/srv/app/serve",)


def test_without_a_shell_it_is_started_as_it_is() -> None:
    more = PROGRAMS.replace("f 755 0:0 bin/sh x\n", "")
    found = decide({"app.service": service("/usr/bin/node server.js")}, {}, more)

    assert found.entrypoint == ("/usr/bin/node",)
    assert not any("shell" in why for why in found.evidence)


def _started(found: EntrypointDecision, program: str) -> subprocess.Popen[bytes]:
    """Start a shell as an image would, in a namespace whose first process it is."""
    script = found.entrypoint[2]
    return subprocess.Popen(
        [
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "/bin/dash",
            "-c",
            script,
            "sh",
            "-c",
            program,
        ],
        stdout=subprocess.PIPE,
    )


def _first_process(started: subprocess.Popen[bytes]) -> int:
    with open(f"/proc/{started.pid}/task/{started.pid}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("echo up; exec sleep 100", 128 + signal.SIGTERM),
        ("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done", 7),
    ],
    ids=["kernel", "handler"],
)
def test_the_shell_ends_with_what_the_program_ends_with(program: str, code: int) -> None:
    need("unshare", "dash")
    if os.geteuid() != 0:
        pytest.skip("a namespace of processes needs root")
    found = decided("/usr/bin/node server.js", {})
    with _started(found, program) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"up\n"
        os.kill(_first_process(started), signal.SIGTERM)
        assert started.wait(timeout=5) == code


@pytest.mark.parametrize("code", [0, 3, 200])
def test_a_program_that_ends_by_itself_ends_the_shell_with_its_own_code(code: int) -> None:
    found = decided("/usr/bin/node server.js", {})
    done = subprocess.run(
        ["/bin/sh", "-c", found.entrypoint[2], "sh", "-c", f"exit {code}"], check=False, timeout=5
    )
    assert done.returncode == code
