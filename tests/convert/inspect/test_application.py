"""What is started of applications that are no systems."""

from __future__ import annotations

import pytest

from convert.inspect.application import Application, decide_application
from convert.inspect.entrypoint import PATH, EntrypointDecision
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree


def decided(text: str, *, top: bytes = b"", script: bytes | None = None) -> EntrypointDecision:
    index = TreeIndex(memory_tree(text))
    return decide_application(Application(index, list(index.entries()), top, script))


@pytest.mark.parametrize(
    ("text", "top", "program"),
    [
        (
            (
                "f 755 0:0 usr/bin/app \\x7fELF\nf 644 0:0 usr/bin/readme #!/bin/sh\n"
                "f 755 0:0 usr/lib/app.so \\x7fELF"
            ),
            b"",
            "/usr/bin/app",
        ),
        (
            "f 755 0:0 opt/app/bin/app #!/bin/sh\nf 755 0:0 opt/app/x \\x7fELF",
            b"opt/app",
            "/opt/app/bin/app",
        ),
        (
            "f 755 0:0 opt/app/run #!/bin/sh\nf 755 0:0 opt/app/lib/x \\x7fELF",
            b"opt/app",
            "/opt/app/run",
        ),
        ("f 755 0:0 usr/sbin/d \\x7fELF\nf 755 0:0 usr/sbin/data text", b"", "/usr/sbin/d"),
    ],
)
def test_the_only_program_is_started(text: str, top: bytes, program: str) -> None:
    found = decided(text, top=top)
    assert found.entrypoint == (program,)
    assert found.evidence[0].startswith(f"{program}: it is the only program")


def test_one_of_several_programs_is_not_guessed() -> None:
    found = decided("".join(f"f 755 0:0 usr/bin/p{n} #!/bin/sh\n" for n in range(7)))
    assert (found.entrypoint, found.cmd) == ((), ())
    assert found.evidence[0] == (
        "nothing to start: 7 programs in a folder for programs (/usr/bin/p0, /usr/bin/p1,"
        " /usr/bin/p2, /usr/bin/p3, /usr/bin/p4 and 2 more); choose: --entrypoint"
    )


def test_files_that_are_not_made_to_be_started_are_no_programs() -> None:
    found = decided("f 755 0:0 usr/bin/notes text\nf 644 0:0 usr/bin/app \\x7fELF")
    assert found.entrypoint == ()
    assert "no service and no program in it" in found.evidence[0]


def test_a_script_is_started_itself() -> None:
    found = decided("f 755 0:0 usr/local/bin/job #!/bin/sh", script=b"usr/local/bin/job")
    assert found.entrypoint == ("/usr/local/bin/job",)


def test_the_web_process_of_a_procfile_is_started_in_its_folder() -> None:
    text = "f 644 0:0 srv/Procfile worker:\\x20work\\nweb:\\x20serve\\x20'a\\x20b'\\n"
    found = decided(text, top=b"srv")
    assert (found.entrypoint, found.cmd) == (("serve",), ("a b",))
    assert found.working_dir == "/srv"
    assert dict(found.env) == {"PATH": f"/srv/bin:{PATH}"}
    assert found.evidence == ("process web of /srv/Procfile:2",)


def test_a_command_with_variables_is_started_by_a_shell() -> None:
    found = decided("f 644 0:0 Procfile job:\\x20run\\x20--port\\x20$PORT\\n")
    assert found.entrypoint == ("/bin/sh", "-c", "run --port $PORT")


def test_one_of_several_processes_is_not_guessed() -> None:
    found = decided("f 644 0:0 Procfile b:\\x20x\\na:\\x20y\\n")
    assert found.evidence == ("nothing to start: /Procfile has several processes (a, b)",)


def test_a_name_that_no_config_can_hold_is_not_started() -> None:
    found = decided("f 755 0:0 usr/bin/\\xff #!/bin/sh")
    assert found.entrypoint == ()
    assert "cannot be written into a config" in found.evidence[0]
