"""A guest's own files never stop its inspection, and never make it slow."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.guest import TEXT_MAX_BYTES
from convert.inspect.tree import inspect_tree
from convert.report.found import FoundDocument
from formats.core.entry import Entry, Kind
from formats.core.tree import TreeIndex
from tests.support.guests import SYSTEM, UNITS, WANTS, decide, service
from tests.support.memory_tree import MemoryTree, memory_tree

SECONDS = 60.0
"""On a slow machine under load; without a bound any of these takes hours or all memory."""


def index_of(files: dict[str, bytes]) -> TreeIndex:
    """Return a system with these files; folders are made, all are executable."""
    base = memory_tree(SYSTEM)
    entries = {entry.path: entry for entry in base.entries()}
    contents = {path: b"".join(map(bytes, base.read(entries[path]))) for path in entries}
    for name, content in files.items():
        path = name.encode("utf-8", "surrogateescape")
        entries[path] = Entry(path, Kind.FILE, 0o755, size=len(content))
        contents[path] = content
        while path := path.rpartition(b"/")[0]:
            entries.setdefault(path, Entry(path, Kind.FOLDER, 0o755))
    ordered = sorted(entries.values(), key=lambda entry: entry.path.split(b"/"))
    return TreeIndex(MemoryTree(ordered, contents))


def decided(files: dict[str, bytes]) -> EntrypointDecision:
    """Decide for such a system, in time, and with what JSON can hold."""
    index = index_of(files)
    started = time.monotonic()
    found = decide_entrypoint(inspect_tree(index), index)
    assert time.monotonic() - started < SECONDS
    json.dumps([found.entrypoint, found.cmd, found.env, found.evidence, found.user]).encode()
    "".join(loser.name + loser.reason for loser in found.losers).encode()
    return found


MULTI_USER = {f"{UNITS}/multi-user.target": b"[Unit]\nWants=app.service\n"}
FULL = TEXT_MAX_BYTES - 200


def app(text: bytes) -> dict[str, bytes]:
    return {**MULTI_USER, f"{UNITS}/app.service": text}


HOSTILE: dict[str, dict[str, bytes]] = {
    "variables in variables": app(
        b"[Service]\nExecStart=/usr/bin/app "
        + b"${A}" * 30_000
        + b"\nEnvironment=A="
        + b"a" * 100_000
        + b"\n"
    ),
    "words from variables": app(
        b"[Service]\nExecStart=/usr/bin/app"
        + b" $A" * 40_000
        + b'\nEnvironment="A='
        + b"a " * 60_000
        + b'"\n'
    ),
    "doubling exports": {
        **app(b"[Service]\nType=forking\nExecStart=/usr/bin/apache2 start\n"),
        "usr/sbin/apache2": b"x",
        "usr/bin/apache2": b"x",
        "etc/apache2/envvars": b"export A=aaaa\n"
        + b"".join(b"export A=$A$A\n" for _ in range(5000)),
    },
    "many specifiers": app(b"[Service]\nExecStart=/usr/bin/app " + b"%n " * 40_000 + b"\n"),
    "open quotes": app(b"[Service]\nExecStart=/usr/bin/app " + b"'\" " * 40_000 + b"\n"),
    "many settings": app(b"[Service]\n" + b"Environment=A=1\n" * (FULL // 16)),
    "many words": app(b"[Service]\nEnvironment=" + b"A=1 " * (FULL // 4) + b"\n"),
    "continued for ever": app(b"[Service]\nExecStart=/usr/bin/app \\\n" + b"\\\n" * (FULL // 2)),
    "braces": {
        **app(b"[Service]\nExecStart=/usr/bin/app\n"),
        "etc/rc3.d/S01x": b"DAEMON=" + b"${a:-" * (FULL // 5) + b"\n",
    },
    "a config of one line": {
        **app(b"[Service]\nType=forking\nExecStart=/usr/sbin/nginx\n"),
        "usr/sbin/nginx": b"x",
        "etc/nginx/nginx.conf": b"{ listen 80 " * (FULL // 12),
    },
    "a config of many blanks": {
        **app(b"[Service]\nType=forking\nExecStart=/usr/sbin/nginx\n"),
        "usr/sbin/nginx": b"x",
        "etc/nginx/nginx.conf": b"listen" + b" " * FULL,
    },
    "configs that include all": {
        **app(b"[Service]\nType=forking\nExecStart=/usr/sbin/nginx\n"),
        "usr/sbin/nginx": b"x",
        "etc/nginx/nginx.conf": b"include x/*/*/*;\n" * 10_000,
        **{f"etc/nginx/x/{n}/a/b": b"include /etc/nginx/x/*/*/*;\n" for n in range(300)},
    },
    "an option that never ends": app(
        b"[Service]\nExecStart=/usr/bin/app --" + b"port-" * 20_000 + b"! 80\n"
    ),
    "an issue of braces": {"etc/issue": b"\\a{" * (FULL // 3)},
    "an environment file of quotes": {
        **app(b"[Service]\nExecStart=/usr/bin/app\nEnvironmentFile=/etc/default/app\n"),
        "etc/default/app": b"A='\\\n\"" * (FULL // 6),
    },
    "a unit too large": app(b"[Service]\nExecStart=/usr/bin/app\n" + b"#\n" * TEXT_MAX_BYTES),
    "no text at all": app(bytes(range(256)) * 100),
    "names that are not text": {
        **MULTI_USER,
        f"{WANTS}/\udcff.service": b"x",
        f"{UNITS}/\udcff.service": b"[Service]\nExecStart=/usr/bin/app\n",
        "etc/rc3.d/S01\udcff": b"x",
        "etc/tmpfiles.d/\udcff.conf": b"d /run/\xff 0755 \xff \xff\n",
        "etc/passwd": b"\xff:x:1:1::/\xff:/bin/sh\n",
        "etc/runlevels/default/\udcff": b"x",
    },
    "values that are not text": app(
        b"[Unit]\nConditionPathExists=/\xff\n[Service]\nExecStart=/usr/bin/app\nUser=\xff\n"
    ),
    "more values that are not text": app(
        b"[Service]\nExecStart=/usr/bin/app\nExecStartPre=/bin/\xff\nEnvironment=A=\xff\n"
        b"WorkingDirectory=/\xff\nKillSignal=\xff\nType=\xff\n"
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_is_decided_in_bounded_time(case: str) -> None:
    found = decided(HOSTILE[case])

    if f"{UNITS}/app.service" in HOSTILE[case]:
        assert "app" in {found.service, *(loser.name for loser in found.losers)}


def test_units_that_are_large_together_are_not_all_read() -> None:
    count = 20
    text = b"[Service]\nExecStart=/usr/bin/app\n" + b"#" * (FULL - 100) + b"\n"
    files = {f"{UNITS}/a{number}.service": text for number in range(count)}
    files[f"{UNITS}/multi-user.target"] = b"[Unit]\nWants=" + b" ".join(
        b"a%d.service" % number for number in range(count)
    )
    index = index_of(files)
    facts = inspect_tree(index)

    assert len(facts.services) == count
    assert 0 < sum(bool(service.start) for service in facts.services) < count
    assert {finding.rule for finding in facts.findings} == {"text-not-read"}


def test_a_file_too_large_to_be_read_is_told() -> None:
    tree = memory_tree(SYSTEM + f"f 644 0:0 etc/passwd *{TEXT_MAX_BYTES + 1}\n")
    findings = inspect_tree(TreeIndex(tree)).findings

    assert [(finding.rule, finding.path) for finding in findings] == [
        ("text-not-read", b"etc/passwd")
    ]


def test_links_that_lead_round_are_followed_for_a_while_only() -> None:
    loops = """
l 777 0:0 etc/os-release os-release
l 777 0:0 etc/passwd ../etc/group
l 777 0:0 etc/group passwd
l 777 0:0 etc/tmpfiles.d .
l 777 0:0 etc/init.d/x x
l 777 0:0 usr/lib/systemd/system/a.service b.service
l 777 0:0 usr/lib/systemd/system/b.service a.service
l 777 0:0 usr/lib/systemd/system/multi-user.target.wants .
l 777 0:0 usr/lib/systemd/system/c.service.d ../system
"""
    index = TreeIndex(memory_tree(SYSTEM + loops))

    assert decide_entrypoint(inspect_tree(index), index).cmd == ("/bin/sh",)


def test_patterns_that_go_round_in_links_end() -> None:
    loops = "".join(f"l 777 0:0 etc/loops/{number} .\n" for number in range(50))
    unit = service("/usr/bin/app", "EnvironmentFile=-/etc/loops" + "/*" * 40)

    assert decide({"app.service": unit}, more=SYSTEM + loops).service == "app"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["[Service]\n", "[Unit]\n", ""]))
def test_any_bytes_in_a_unit_are_no_error(noise: bytes, section: str) -> None:
    decided(app(section.encode() + noise + b"\n[Service]\nExecStart=/usr/bin/app\n"))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            *("etc/passwd", "etc/group", "etc/inittab", "etc/os-release", "etc/rc3.d/S01x"),
            *("usr/lib/tmpfiles.d/x.conf", "etc/nginx/nginx.conf", "etc/default/app"),
            f"{UNITS}/app.service.d/x.conf",
        ]
    ),
    st.binary(max_size=300),
)
def test_any_bytes_in_any_file_are_no_error(path: str, noise: bytes) -> None:
    unit = b"[Service]\nExecStart=/usr/sbin/nginx $A\nEnvironmentFile=-/etc/default/app\nUser=a\n"
    decided({**app(unit), "usr/sbin/nginx": b"x", path: noise})


def test_files_of_applications_that_are_too_large_are_told_and_stop_nothing() -> None:
    folder = b"srv/\xff"
    name = "srv/\udcff/package.json"
    facts = inspect_tree(index_of({name: b" " * (TEXT_MAX_BYTES + 1)}))
    assert [(item.rule, item.path) for item in facts.findings] == [
        ("details-not-read", folder + b"/package.json")
    ]
    assert "package.json" not in " ".join(decided({name: b" " * (TEXT_MAX_BYTES + 1)}).evidence)


BIG_LINE = b"x" * (FULL // 2)
DETAILS: dict[str, bytes] = {
    "etc/sysctl.conf": b"a.b = " + BIG_LINE + b"\n" + b"net.x = 1\n" * 20_000,
    "etc/network/interfaces": b"address " + b"1:" * 200_000,
    "etc/iptables/rules.v4": b"-A " + b"-j " * 200_000,
    "etc/keepalived/keepalived.conf": b"interface " * 50_000 + b"\n" + b"a 1.1.1.1 " * 50_000,
    "etc/netplan/a.yaml": b" " * 300_000 + b"addresses: [" * 20_000,
    "etc/nftables.conf": b"type " * 100_000 + b"\n" + b"accept\n" * 50_000,
    "etc/hosts": b"192.0.2.1 a\n" * 40_000,
    "etc/hostname": b"a" * 300_000,
    "etc/modules": b"m" * 500_000,
    "etc/passwd": b"a:x:1000:1000:" + b"g" * 300_000 + b":/home/a:/bin/sh\n",
    "srv/a/package.json": b"[" * 500_000,
    "srv/a/node_modules/x/package.json": b"{",
    "srv/a/venv/pyvenv.cfg": b"version = " + b" " * 300_000 + b"x",
    "srv/a/config.ru": b"x",
    "srv/a/Gemfile.lock": b"    rails (" * 50_000,
    "srv/a/a.runtimeconfig.json": b'{"runtimeOptions": ' * 20_000,
    "srv/a/x.jar": b"PK\x05\x06" + b"\xff" * 40_000,
    "usr/local/bin/x": b"\x7fELF\x02\x01" + b"\xff" * 300_000,
    "opt/tomcat/webapps/a/WEB-INF/web.xml": b"<display-name>" * 50_000,
}


@pytest.mark.parametrize("path", DETAILS)
def test_no_detail_takes_long_or_stops_the_inspection(path: str) -> None:
    started = time.monotonic()
    facts = inspect_tree(index_of({path: DETAILS[path]}))
    assert time.monotonic() - started < SECONDS / 6
    shown = [item.what for item in facts.obstacles] + [item.name for item in facts.applications]
    json.dumps(shown).encode()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(DETAILS)), st.binary(max_size=300))
def test_any_bytes_in_a_detail_give_text_that_json_can_hold(path: str, content: bytes) -> None:
    facts = inspect_tree(index_of({path: content}))
    found = FoundDocument.of(facts)
    found.model_dump_json().encode()


def test_a_machine_of_very_many_addresses_is_searched_for_a_few() -> None:
    lines = b"".join(b"address 10.%d.%d.1\n" % (n // 250, n % 250) for n in range(40_000))
    unit = service("/usr/bin/app", *(f"Environment=A{n}=10.0.{n % 250}.1" for n in range(5000)))
    files = {**app(unit.encode()), "etc/network/interfaces": lines}
    started = time.monotonic()
    facts = inspect_tree(index_of(files))
    assert time.monotonic() - started < SECONDS / 3
    assert len([item for item in facts.obstacles if item.kind == "address"]) == 64
