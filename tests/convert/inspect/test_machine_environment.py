"""What a machine gives to all of its services, and where it says so."""

from __future__ import annotations

import pytest

from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.guests import SYSTEM, UNITS, WANTS, decide, service
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

APP = {"app.service": service("/usr/bin/app", "Environment=OWN=1 TZ=UTC")}
ENVIRONMENT = {
    "etc/environment": (
        '# for all\nPATH="/usr/bin:/usr/games"\nJAVA_HOME=/opt/jdk\nTZ="Europe/Vienna"\n'
        "PS1=x\nLD_PRELOAD=/lib/x.so\nhttp_proxy=http://proxy:3128/\n"
    )
}


def _environment(files: dict[str, str], units: dict[str, str] = APP) -> dict[str, str]:
    found = dict(decide(units, files).env)
    del found["PATH"]
    return found


def test_the_variables_for_all_are_a_services_but_its_own_have_the_last_word() -> None:
    assert _environment(ENVIRONMENT) == {
        "JAVA_HOME": "/opt/jdk",
        "OWN": "1",
        "TZ": "UTC",
        "http_proxy": "http://proxy:3128/",
    }


def test_the_path_stays_the_usual_one() -> None:
    assert "/usr/games" not in dict(decide(APP, ENVIRONMENT).env)["PATH"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"etc/locale.conf": "LANG=C.UTF-8\nLC_TIME=de_AT.UTF-8\nX=1\n"}, ["LANG", "LC_TIME"]),
        ({"etc/default/locale": "LANG=C.UTF-8\n"}, ["LANG"]),
        ({"etc/locale.conf": "", "etc/default/locale": "LANG=C.UTF-8\n"}, []),
    ],
)
def test_systemd_gives_its_services_the_machines_locale(
    files: dict[str, str], expected: list[str]
) -> None:
    assert sorted(set(_environment(files)) - {"OWN", "TZ"}) == expected


def test_each_has_its_line() -> None:
    files = {
        **ENVIRONMENT,
        f"{UNITS}/multi-user.target": "[Unit]\nDescription=x\n",
        f"{UNITS}/app.service": APP["app.service"],
        f"{WANTS}/app.service": f"-> /{UNITS}/app.service",
    }
    facts = inspect_tree(TreeIndex(memory_tree(SYSTEM + units_text(files))))
    assert [f"{item.name} {item.evidence}" for item in facts.environment] == [
        "JAVA_HOME /etc/environment:3 (environment)",
        "TZ /etc/environment:4 (environment)",
        "http_proxy /etc/environment:7 (environment)",
    ]
