"""Each value of a config has evidence, how sure that makes, and the candidates that lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convert.configuration import Subject, decide_config
from convert.inspect.entrypoint import decide_entrypoint
from convert.inspect.facts import Architecture
from convert.inspect.tree import inspect_tree
from convert.options import ConvertOptions
from convert.reasons import Confidence, Reason
from formats.core.origin import Origin
from formats.core.tree import TreeIndex
from tests.support.guests import ACCOUNTS, SYSTEM, UNITS, WANTS, service
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

APP = service("/usr/bin/app --port 8080", "User=web", "Environment=MODE=x", "WorkingDirectory=/srv")
SUBJECT = Subject(Origin(("x",)), 0)
SSH = service("/usr/sbin/sshd -D")


def reasons(units: dict[str, str], options: ConvertOptions) -> dict[str, Reason]:
    """Return the reasons by field; of a repeated one, by ``field value``."""
    texts = {**ACCOUNTS, f"{UNITS}/multi-user.target": "[Unit]\nDescription=x\n"}
    for name, text in units.items():
        texts[f"{UNITS}/{name}"] = text
        texts[f"{WANTS}/{name}"] = f"-> /{UNITS}/{name}"
    index = TreeIndex(memory_tree(SYSTEM + units_text(texts)))
    facts = inspect_tree(index)
    found = decide_config(facts, decide_entrypoint(facts, index), options, SUBJECT)
    return {
        f"{reason.field} {reason.value}"
        if reason.field in {"env", "port"}
        else reason.field: reason
        for reason in found.reasons
    }


def options(**fields: object) -> ConvertOptions:
    return ConvertOptions.model_validate({"platform": "linux/amd64", **fields})


def test_the_only_workload_is_sure_and_names_what_lost() -> None:
    found = reasons({"app.service": APP, "ssh.service": SSH}, options())["entrypoint"]
    assert found.value == "/usr/bin/app"
    assert found.confidence is Confidence.HIGH
    assert [(item.value, item.why) for item in found.rejected] == [
        ("ssh", "remote login; a container is entered through its runtime")
    ]


def test_an_init_system_for_several_services_is_less_sure() -> None:
    other = service("/usr/bin/other --port 81")
    found = reasons({"app.service": APP, "other.service": other}, options())["entrypoint"]
    assert found.value == "/sbin/init"
    assert found.confidence is Confidence.MEDIUM
    assert {item.value for item in found.rejected} == {"app", "other"}


@pytest.mark.parametrize(
    ("units", "field"), [({}, "cmd"), ({"ssh.service": SSH}, "cmd")], ids=["nothing", "plumbing"]
)
def test_a_shell_is_what_is_left(units: dict[str, str], field: str) -> None:
    assert reasons(units, options())[field].confidence is Confidence.LOW


@pytest.mark.parametrize(
    ("given", "field", "decided"),
    [
        ({"entrypoint": "/bin/sh"}, "entrypoint", "/usr/bin/app"),
        ({"cmd": "--port 1"}, "cmd", "--port 8080"),
        ({"user": "root"}, "user", "33:34"),
        ({"workdir": "/"}, "workdir", "/srv"),
        ({"env": ["MODE=y"]}, "env MODE=y", "MODE=x"),
        ({"ports": ["1"]}, "port 1/tcp", "8080/tcp"),
    ],
)
def test_what_an_option_overrides_is_told(
    given: dict[str, object], field: str, decided: str
) -> None:
    found = reasons({"app.service": APP}, options(**given))[field]
    assert found.why == ("given as an option",)
    assert found.confidence is Confidence.HIGH
    assert decided in [item.value for item in found.rejected]


def test_an_option_that_says_the_same_rejects_nothing() -> None:
    found = reasons({"app.service": APP}, options(user="33:34", workdir="/srv"))
    assert found["user"].rejected == found["workdir"].rejected == ()


def test_stop_signals_are_taken_by_name_with_and_without_their_prefix() -> None:
    for name in ("quit", "SIGQUIT"):
        found = reasons({"app.service": APP}, options(stop_signal=name))["stop-signal"]
        assert (found.value, found.why) == ("SIGQUIT", ("given as an option",))
    assert options(stop_signal="SIGRTMIN+3").stop_signal == "SIGRTMIN+3"
    with pytest.raises(ValueError, match="'TREMBLE' is no signal"):
        options(stop_signal="TREMBLE")


def test_the_platform_names_the_one_that_programs_are_for() -> None:
    index = TreeIndex(memory_tree(SYSTEM))
    facts = replace(inspect_tree(index), architecture=Architecture("arm64"))
    found = decide_config(facts, decide_entrypoint(facts, index), options(), SUBJECT)
    assert [item.value for item in found.reasons[0].rejected] == ["linux/arm64"]
