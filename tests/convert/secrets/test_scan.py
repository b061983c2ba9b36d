"""Every kind of secret is found by path and line, and its value goes nowhere."""

from __future__ import annotations

import itertools
import time

import pytest

from convert.secrets.candidates import TEXT_MAX_BYTES
from convert.secrets.kinds import Look, SecretKind, all_kinds
from convert.secrets.scan import NOT_LOOKED_RULE, find_secrets
from formats.core.finding import Action, Finding
from formats.core.limits import MIB
from tests.convert.secrets.planted import (
    CANARY,
    PLANTED,
    Planted,
    every_file,
    letters,
    pem,
    tree_of,
)

EVERY = [
    pytest.param(kind, item, id=f"{kind}-{item.path}")
    for kind, planted in PLANTED.items()
    for item in planted
]


def found(files: dict[str, bytes | str]) -> list[tuple[str, str, int | None]]:
    """Return rule, path and line of what is found in files."""
    data = {
        path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()
    }
    findings = find_secrets(tree_of(data)).findings
    return [(item.rule, item.path.decode(), item.line) for item in findings]


def test_every_kind_has_a_secret_that_is_planted() -> None:
    assert list(PLANTED) == [kind.id for kind in all_kinds()]


@pytest.mark.parametrize(("kind", "item"), EVERY)
def test_a_secret_is_found_by_kind_path_and_line(kind: str, item: Planted) -> None:
    result = find_secrets(tree_of({item.path: item.data, "usr/bin/x": b"\x7fELF"}))
    assert [(finding.rule, finding.path.decode(), finding.line) for finding in result.findings] == [
        (f"secret-{kind}", item.path, item.line)
    ]
    assert {finding.action for finding in result.findings} == {Action.REPORTED}


@pytest.mark.parametrize(("kind", "item"), EVERY)
def test_a_kind_that_is_accepted_is_not_looked_for(kind: str, item: Planted) -> None:
    result = find_secrets(tree_of({item.path: item.data}), accepted=[f"secret-{kind}"])
    assert f"secret-{kind}" not in {finding.rule for finding in result.findings}


def test_no_finding_has_a_value_in_it() -> None:
    values = {item.value for planted in PLANTED.values() for item in planted if item.value}
    findings = find_secrets(tree_of(every_file())).findings
    assert len(findings) >= len(EVERY)
    for finding, value in itertools.product(findings, values):
        assert value not in str(finding)
        assert value not in repr(finding)


def test_values_are_handed_on_to_be_masked() -> None:
    result = find_secrets(tree_of(every_file()))
    seen = {
        item.path
        for planted in PLANTED.values()
        for item in planted
        if item.value and any(item.value in value for value in result.values)
    }
    whole = {item.path for planted in PLANTED.values() for item in planted if item.line is None}
    without = {"home/me/x.ppk", "etc/openvpn/ta.key"}
    assert seen | whole | without >= {
        item.path for planted in PLANTED.values() for item in planted if item.value
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/shadow", "root:*:1::::::\nme:!:1::::::\nyou:!!:1::::::\nx::1::::::\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("etc/gshadow", "root:*::\nme:!::me\n"),
        ("etc/nsswitch.conf", "passwd: files systemd\nshadow: files sss\n"),
        ("etc/ssh/sshd_config", "PasswordAuthentication no\n#PermitRootLogin prohibit-password\n"),
        ("etc/ssl/site.pem", "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n"),
        ("srv/check.sh", 'grep -q "-----BEGIN RSA PRIVATE KEY-----" "$1"\n'),
        ("srv/app/.env", "DB_PASSWORD=\nAPI_KEY=$KEY\nTOKEN=${TOKEN}\n# PASSWORD=old1234\n"),
        ("srv/app/config.yml", "password: <%= ENV['PW'] %>\nuse_password: true\nsecret: null\n"),
        (
            "etc/app/app.conf",
            "password_file = /run/secrets/x\ntoken_path=/x\n; password = xyzzy1\n",
        ),
        ("home/me/.ssh/authorized_keys", f"ssh-ed25519 {letters(68)} me\n"),
        ("root/.aws/config", "[default]\nregion = eu-central-1\n"),
        ("root/.docker/config.json", '{"auths": {}, "credsStore": "secretservice"}\n'),
        ("home/me/.npmrc", "registry=https://registry.example/\n"),
        ("srv/readme.txt", "ftp://user:password@host/ and http://host:80/@x\n"),
        ("srv/example.py", "key = 'AKIA" + "IOSFODNN7" + "EXAMPLE'\n"),
        ("opt/app/notes.p12", "these are only notes\n"),
        ("usr/share/doc/x/example.conf", f"password = {CANARY}\n"),
        ("usr/share/doc/openvpn/examples/ca.key", pem("PRIVATE KEY")),
        ("usr/lib/python3/dist-packages/x/tests/.htpasswd", f"me:$apr1$salt${letters(22)}\n"),
        ("etc/cloud/cloud.cfg", 'sudo: ["ALL=(ALL) NOPASSWD:ALL"]\n'),
        ("etc/ppp/pap-secrets", 'guest hostname "*" -\n* hostname "" *\n'),
        ("usr/lib/python3/dist-packages/x.py", f"password = '{CANARY}'\n"),
    ],
)
def test_what_only_looks_like_a_secret_is_none(path: str, text: str) -> None:
    assert found({path: text}) == []


def test_what_is_told_of_several_lines_of_a_file_is_limited() -> None:
    lines = "".join(f"user{number}:*:$6$s${letters(86)}:1::::::\n" for number in range(3)).replace(
        "*:", ""
    )
    many = "".join(f"u{number}:$6$s${letters(86)}:1::::::\n" for number in range(50))
    assert [line for _, _, line in found({"etc/shadow": lines})] == [1, 2, 3]
    findings = find_secrets(tree_of({"etc/shadow": many.encode()})).findings
    assert [finding.line for finding in findings] == list(range(1, 9))
    assert findings[-1].evidence.endswith("; 42 more of them follow")


def test_only_files_that_can_hold_a_secret_are_read() -> None:
    tree = tree_of(
        {
            "usr/bin/program": b"\x7fELF",
            "usr/share/x/text.conf": b"a",
            "srv/photo.jpg": b"x",
            "srv/large.txt": b"x" * (TEXT_MAX_BYTES + 1),
            "srv/empty.conf": b"",
            "srv/node_modules/a/index.js": b"x",
            "srv/small.conf": b"x",
            "usr/local/etc/app.conf": b"x",
            "usr/share/x/.env": b"x",
        }
    )
    find_secrets(tree)
    assert tree.was_read == [b"srv/small.conf", b"usr/local/etc/app.conf", b"usr/share/x/.env"]
    assert tree.announced == [tree.was_read]


def test_what_is_too_much_to_look_into_is_told() -> None:
    many = {f"srv/{number:05}.data": b"x" for number in range(4000)}
    tree = tree_of({**many, "srv/z/.env": f"TOKEN={CANARY}\n".encode(), "srv/z/a.conf": b"x"})
    findings = find_secrets(tree).findings
    assert [finding.rule for finding in findings] == ["secret-password-setting", NOT_LOOKED_RULE]
    assert findings[1].evidence == "2,001 files were too many to be looked into"
    assert b"srv/z/a.conf" in tree.was_read


def test_more_secrets_than_can_be_listed_are_counted() -> None:
    many = {f"srv/{number:04}/.env": f"TOKEN={CANARY}\n".encode() for number in range(1100)}
    findings = find_secrets(tree_of(many)).findings
    assert len(findings) == 1001
    assert findings[-1] == Finding(
        NOT_LOOKED_RULE, b"", Action.REPORTED, "100 more secrets were found than are listed"
    )


def test_binary_files_are_told_by_their_first_bytes_or_their_name() -> None:
    token = b"gh" + b"p_" + letters(36).encode()
    assert found({"srv/data.txt": b"\0\1" + token, "srv/x.keytab": b"\0\0"}) == []


@pytest.mark.parametrize("kind", [kind for kind in all_kinds() if kind.pattern is not None])
def test_no_content_takes_longer_than_it_is_long(kind: SecretKind) -> None:
    look = Look(kind)
    assert look.pattern is not None
    planted = PLANTED[kind.id][0].data
    pieces = [b"a", b" ", b"\n", b":", b"a:", b"a a", b"://", b"a://a:", b"=", b'"', b"#\n", b"\\n"]
    pieces += [planted, planted.replace(b"\n", b" "), planted[:12], planted[-12:]]
    pieces += [hint.encode() + tail for hint in kind.hints for tail in (b"-", b" ")]
    for piece in pieces:
        content = piece * (TEXT_MAX_BYTES // len(piece)) + b" \0"
        began = time.process_time()
        for _ in itertools.islice(look.pattern.finditer(content), 10_000):
            pass
        assert time.process_time() - began < 3, piece


def test_a_file_full_of_secrets_does_not_take_long() -> None:
    line = f"DB_PASSWORD={CANARY} {'gh' + 'p_'}{letters(36)} db://a:{CANARY}@b\n".encode()
    tree = tree_of(
        {"srv/.env": line * (MIB // len(line)), "etc/shadow": b"a:$6$x$yyyyyyyyy:\n" * 60_000}
    )
    began = time.process_time()
    findings = find_secrets(tree).findings
    assert time.process_time() - began < 10
    assert len(findings) == 4 * 8
