"""Dockerfiles are built by podman, and what comes out is held against the machine."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.convert.dockerfile.support import alpine, apk_row, built, drafted, files_of, stand_in
from tests.images.rpm import rpmbuild
from tests.support.programs import need, run

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
                assert (path, content(image, path)) == (path, content(machine, path))
            elif theirs.issym():
                assert (path, ours.linkname) == (path, theirs.linkname)
        assert content(image, "asked") == b"apk add --no-cache nginx>1\n"
        assert content(image, "etc/apk/repositories") == b"https://apk.example.org/x\n"
        added = content(image, "etc/passwd").splitlines()[1:]
        assert added == [b"app:x:1000:1001:An app:/srv/app:/bin/sh"]
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


def test_an_rpm_system_gets_its_package_and_the_setting_that_was_changed(tmp_path: Path) -> None:
    need("rpm", "rpmbuild", "tar")
    source = rpm_system(tmp_path)
    document = drafted(source, tmp_path / "out")
    with stand_in(tmp_path) as engine:
        built(engine, tmp_path / "out")
        found, file = files_of(engine, tmp_path)
    assert document["base"] == "almalinux:9"
    with tarfile.open(file) as image:
        assert content(image, "asked") == (
            b"dnf install -y --setopt=install_weak_deps=False shop\ndnf clean all\n"
        )
        assert content(image, "etc/shop/main.conf") == b"changed\n"
        assert content(image, "etc/yum.repos.d/shop.repo") == b"baseurl=https://rpm.example.org/\n"
    assert "etc/shop/same.conf" not in found  # the stub installs nothing, and it was not copied
    assert document["copied"] == ["etc/shop/main.conf", "etc/yum.repos.d/shop.repo"]


_SSH = r"""
f 755 0:0 usr/sbin/sshd sshd
f 644 0:0 etc/ssh/sshd_config Port\x2022\n
"""


def test_the_package_is_installed_of_a_program_that_a_shell_starts(tmp_path: Path) -> None:
    row = apk_row("openssh", ("usr/sbin/sshd", b"sshd"))
    source = alpine(tmp_path, _SSH, "openssh", row)
    command = ("--entrypoint", "/bin/sh -c 'exec \"$0\"' /usr/sbin/sshd")
    assert drafted(source, tmp_path / "one", *command)["packages"] == ["openssh"]
    assert drafted(source, tmp_path / "two")["packages"] == []


def content(image: tarfile.TarFile, path: str) -> bytes:
    file = image.extractfile(path)
    assert file is not None
    return file.read()


_SPEC = """
Name: shop
Version: 1
Release: 1
Summary: shop
License: MIT
BuildArch: noarch
AutoReqProv: no
%description
shop
%install
mkdir -p %{buildroot}/etc/shop
for name in main same; do echo as-packaged > %{buildroot}/etc/shop/$name.conf; done
%files
%config(noreplace) /etc/shop/main.conf
%config(noreplace) /etc/shop/same.conf
"""


def rpm_system(tmp_path: Path) -> Path:
    """Return a tar of a system whose rpm has installed a package."""
    root = tmp_path / "root"
    files = {
        "etc/os-release": 'ID="almalinux"\nVERSION_ID="9.4"\nPRETTY_NAME="AlmaLinux 9.4"\n',
        "etc/yum.repos.d/shop.repo": "baseurl=https://rpm.example.org/\n",
        "bin/sh": "sh\n",
        "sbin/init": "init\n",
    }
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    for name in ("dev", "proc", "sys", "usr", "var"):
        (root / name).mkdir(exist_ok=True)
    options = ("--root", root, "--dbpath", "/var/lib/rpm", "-i", "--nodeps", "--noscripts")
    run("rpm", *options, rpmbuild(tmp_path / "build", _SPEC), timeout=60)
    (root / "etc/shop/main.conf").write_text("changed\n")
    file = tmp_path / "system.tar"
    run("tar", "--owner=0", "--group=0", "-C", root, "-cf", file, ".")
    return file
