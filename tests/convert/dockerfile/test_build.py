"""Dockerfiles are built by podman, and what comes out is held against the machine."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.convert.dockerfile.support import alpine, apk_row, built, drafted, files_of, stand_in

_HOSTILE = "a b'c\"d$(touch pwned)`id`"

_FILES = r"""
f 644 0:0 etc/nginx/nginx.conf changed\n
f 640 0:1001 etc/app.conf setting\n
d 750 1000:1001 srv/app
f 644 1000:1001 srv/app/main.py code\n
f 755 1000:1001 srv/app/bin/start code\n
l 777 1000:1001 srv/app/current ../../../etc/passwd
d 755 0:0 srv/mixed
f 644 0:0 srv/mixed/of-root of-root\n
d 2775 1000:1001 srv/mixed/shared
f 600 1000:1001 srv/mixed/shared/of-app of-app\n
f 4755 0:0 usr/local/bin/elevated elevated\n
l 777 0:0 usr/local/bin/short elevated
f 644 0:0 opt/a\x20b'c"d$(touch\x20pwned)`id` odd\n
f 644 0:0 opt/[x]*? pattern\n
f 644 0:0 opt/two\nlines lines\n
f 644 0:0 opt/bytes-\xff bytes\n
l 777 0:0 opt/link-$(id) $(touch\x20pwned)
f 644 0:0 opt/leader same\n
h opt/other opt/leader
x opt/leader user.note kept
f 644 0:0 etc/apk/repositories https://dl-cdn.alpinelinux.org/alpine/v3.20/main\nhttps://apk.example.org/x\n
f 644 0:0 etc/apk/keys/example.rsa.pub key\n
"""

_ROWS = (
    apk_row(
        "nginx",
        ("etc/nginx/nginx.conf", b"as packaged\n"),
        ("etc/nginx/unwanted.conf", b"as packaged\n"),
    ),
    apk_row("busybox", ("bin/busybox", b"busybox")),
    apk_row("linux-virt"),
)
_COPIED = (
    "etc/nginx/nginx.conf",
    "etc/app.conf",
    "srv/app",
    "srv/app/main.py",
    "srv/app/bin",
    "srv/app/bin/start",
    "srv/app/current",
    "srv/mixed",
    "srv/mixed/of-root",
    "srv/mixed/shared",
    "srv/mixed/shared/of-app",
    "usr/local/bin/elevated",
    "usr/local/bin/short",
    f"opt/{_HOSTILE}",
    "opt/[x]*?",
    "opt/two\nlines",
    "opt/bytes-\udcff",
    "opt/link-$(id)",
    "opt/leader",
    "opt/other",
    "etc/apk/keys/example.rsa.pub",
)


def test_an_image_of_it_has_what_the_machine_has(tmp_path: Path) -> None:
    source = alpine(tmp_path, _FILES, "nginx>1\nlinux-virt\nbusybox\n", *_ROWS)
    document = drafted(source, tmp_path / "out", "--user", "app", "--volume", "/srv/data")
    with stand_in(tmp_path) as engine:
        built(engine, tmp_path / "out")
        found, file = files_of(engine, tmp_path)
    with tarfile.open(source) as machine, tarfile.open(file) as image:
        for path in _COPIED:
            theirs, ours = machine.getmember(path), found[path]
            assert (path, ours.uid, ours.gid) == (path, theirs.uid, theirs.gid)
            if not theirs.issym():
                assert (path, oct(ours.mode & 0o7777)) == (path, oct(theirs.mode))
            if theirs.isreg():
                content, expected = image.extractfile(ours), machine.extractfile(theirs)
                assert content is not None
                assert expected is not None
                assert (path, content.read()) == (path, expected.read())
            elif theirs.issym():
                assert (path, ours.linkname) == (path, theirs.linkname)
        asked = image.extractfile("asked")
        assert asked is not None
        assert asked.read() == b"apk add --no-cache nginx>1\n"
        repositories = image.extractfile("etc/apk/repositories")
        assert repositories is not None
        assert repositories.read() == b"https://apk.example.org/x\n"
        passwd = image.extractfile("etc/passwd")
        assert passwd is not None
        assert passwd.read().splitlines()[1:] == [b"app:x:1000:1001:An app:/srv/app:/bin/sh"]
    assert not [path for path in found if "pwned" in path.rpartition("/")[2] and "$" not in path]
    assert "etc/nginx/unwanted.conf" not in found  # somebody removed it on the machine
    nginx = found["etc/nginx"]  # stays the image's: only a file in it was copied
    assert (nginx.uid, nginx.mode & 0o777) == (7, 0o751)
    assert document["removed"] == ["etc/nginx/unwanted.conf"]


def test_the_config_of_the_image_is_what_run_would_write(tmp_path: Path) -> None:
    source = alpine(tmp_path, "", "", apk_row("busybox", ("bin/busybox", b"busybox")))
    value = "a \"quoted\" $HOME \\n 'x' `id` #no"
    options = ("--entrypoint", "/bin/sh -c", "--cmd", "'echo $0 \"x\"'", "--env", f"ODD={value}")
    drafted(
        source,
        tmp_path / "out",
        *options,
        *("--port", "80", "--port", "53/udp", "--user", "1000:1001", "--workdir", "/srv/$x y"),
        *("--stop-signal", "SIGQUIT", "--label", "a.b=it's $HOME"),
    )
    with stand_in(tmp_path) as engine:
        config = built(engine, tmp_path / "out")
    assert config["Entrypoint"] == ["/bin/sh", "-c"]
    assert config["Cmd"] == ['echo $0 "x"']
    assert f"ODD={value}" in config["Env"]
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert config["User"] == "1000:1001"
    assert config["Labels"]["a.b"] == "it's $HOME"
    assert config["WorkingDir"] == "/srv/$x y"
    assert config["StopSignal"] in {"SIGQUIT", "3"}
