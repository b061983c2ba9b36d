"""What packages declare, against the programs of systemd, glibc, dpkg and ca-certificates."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from convert.images.folder import FolderTree
from convert.packages.accounts import AccountBook
from convert.packages.certificates import make_bundle
from convert.packages.folders import make_declared
from convert.packages.ldcache import find_libraries, has_glibc, read_cache, write_cache
from convert.packages.sysusers import add_declared
from convert.packages.units import enable_units
from convert.packages.unpack import unpack
from formats.core.entry import Kind
from formats.core.finding import Action
from formats.packages.tree import PackageTree
from tests.convert.packages.support import Root, package, root
from tests.support.programs import need, need_root, run


def _installed(folder: Path) -> Root:
    """Return a root that a package with all that is in ``folder`` was put into."""
    place = root()
    described = package("other").package
    unpack(place.system, PackageTree(FolderTree(folder), described, {}))
    return place


def _write(folder: Path, path: str, text: str) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


_SYSUSERS = """
u plain 300 "A plain one" /var/lib/plain /bin/sh
u named 301:staff - - -
u mailer 302:8
g crowd 303
m plain crowd
m plain staff
u root 0 "Super User" /root
# u commented 304
u auto - "Automatic"
"""


def test_declared_users_are_those_of_systemd(tmp_path: Path) -> None:
    need("systemd-sysusers")
    need_root()
    _write(tmp_path, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    _write(tmp_path, "etc/group", "root:x:0:\nmail:x:8:\nstaff:x:50:\n")
    _write(tmp_path, "usr/lib/sysusers.d/a.conf", _SYSUSERS)
    place = _installed(tmp_path)
    accounts = place.system.accounts = AccountBook(
        (tmp_path / "etc/passwd").read_text(), (tmp_path / "etc/group").read_text(), "x"
    )
    add_declared(place.system)
    run("systemd-sysusers", f"--root={tmp_path}")
    theirs = _by_name((tmp_path / "etc/passwd").read_text())
    ours = _by_name(accounts.passwd)
    number = {theirs["auto"][2], ours["auto"][2]}
    assert all(100 <= int(text) <= 999 for text in number)
    for rows in (theirs, ours):
        rows["auto"][2:4] = ["N", "N"]
    assert ours == theirs
    groups = [_by_name(text) for text in ((tmp_path / "etc/group").read_text(), accounts.group)]
    for rows in groups:
        rows["auto"][2] = "N"
        for row in rows.values():
            row[3] = ",".join(sorted(row[3].split(",")))
    assert groups[1] == groups[0]


def _by_name(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":") for line in text.splitlines()}


_TMPFILES = """
d /var/lib/a 0750 nobody - -
D /var/lib/b 1777
d /var/lib/deep/er/c 0700 - nogroup
f /var/lib/a/file 0600 - - - some text
F /var/lib/a/forced 0644 - - - other
L /var/lib/link - - - - ../../etc/target
C /etc/copied - - - - /usr/share/factory/etc/thing
z /etc/there 0640 - nogroup
Z /etc/tree - nobody - -
v /var/lib/volume
d /run/not-here 0755
r /etc/there
"""


def test_declared_folders_are_those_of_systemd(tmp_path: Path) -> None:
    need("systemd-tmpfiles")
    need_root()
    _write(tmp_path, "etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    _write(tmp_path, "etc/group", "root:x:0:\nnogroup:x:65534:\n")
    _write(tmp_path, "usr/lib/tmpfiles.d/a.conf", _TMPFILES)
    _write(tmp_path, "usr/share/factory/etc/thing/inner/x", "x")
    _write(tmp_path, "etc/there", "there")
    _write(tmp_path, "etc/tree/a/b", "b")
    place = _installed(tmp_path)
    make_declared(place.system)
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    ours = {
        item.entry.path.decode(): (item.entry.kind, item.entry.mode, item.entry.uid, item.entry.gid)
        for item in place.system.world.items()
        if item.entry.path
    }
    theirs = {}
    for path in tmp_path.rglob("*"):
        status = path.lstat()
        kind = Kind.FOLDER if path.is_dir() else Kind.FILE
        kind = Kind.SYMLINK if path.is_symlink() else kind
        theirs[str(path.relative_to(tmp_path))] = (
            kind,
            status.st_mode & 0o7777,
            status.st_uid,
            status.st_gid,
        )
    assert ours == theirs
    assert place.text("/var/lib/a/file") == (tmp_path / "var/lib/a/file").read_text()
    assert place.entry("/var/lib/link").target == os.fsencode(
        os.readlink(tmp_path / "var/lib/link")
    )


_UNITS = {
    "plain.service": "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n"
    "Alias=other.service\nAlso=plain.socket\n",
    "plain.socket": "[Socket]\nListenStream=1\n[Install]\nWantedBy=sockets.target\n",
    "inst@.service": "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n"
    "RequiredBy=%i.target\nDefaultInstance=one\n",
    "static.service": "[Service]\nExecStart=/x\n",
}


def test_enabled_units_have_the_links_that_systemctl_makes(tmp_path: Path) -> None:
    need("systemctl")
    for name, text in _UNITS.items():
        _write(tmp_path, f"usr/lib/systemd/system/{name}", text)
    place = _installed(tmp_path)
    asked = ["plain.service", "inst@.service", "inst@two.service", "static.service"]
    place.system.enable("tool", asked, "by a test")
    place.system.enable("dependency", ["plain.socket"], "by a test")
    enable_units(place.system, frozenset({"tool"}))
    run("systemctl", f"--root={tmp_path}", "enable", *asked)
    theirs = {
        str(path.relative_to(tmp_path)): os.readlink(path)
        for path in (tmp_path / "etc").rglob("*")
        if path.is_symlink()
    }
    ours = {
        item.entry.path.decode(): (item.entry.target or b"").decode()
        for item in place.system.world.items()
        if item.entry.kind is Kind.SYMLINK
    }
    assert ours == theirs
    told = [finding for finding in place.findings if finding.rule == "package-unit"]
    assert "plain.socket not enabled" in told[0].evidence


def test_init_scripts_without_a_unit_get_links_for_their_levels(tmp_path: Path) -> None:
    _write(tmp_path, "etc/init.d/old", "#!/bin/sh\n# Default-Start: 2 3 5\n")
    place = _installed(tmp_path)
    place.system.enable("tool", ["old.service"], "by a test")
    enable_units(place.system, frozenset({"tool"}))
    assert place.entry("/etc/rc3.d/S01old").target == b"../init.d/old"
    assert not place.has("/etc/rc4.d/S01old")


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """A root with libraries of this machine and some that were made."""
    need("gcc")
    folder = tmp_path / "root"
    place = folder / "usr/lib/x86_64-linux-gnu"
    place.mkdir(parents=True)
    (folder / "lib").symlink_to("usr/lib")
    _write(folder, "etc/ld.so.conf", "include ld.so.conf.d/*.conf\n/opt/lib # comment\n/none\n")
    _write(folder, "etc/ld.so.conf.d/a.conf", "/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n")
    made = {
        "usr/lib/x86_64-linux-gnu/libversion.so.1.9.0": "libversion.so.1",
        "usr/lib/x86_64-linux-gnu/libversion.so.1.10.0": "libversion.so.1",
        "usr/lib/x86_64-linux-gnu/libother-2.so": "libother-3.so",
        "usr/lib/x86_64-linux-gnu/libplain.so": "",
        "usr/lib/x86_64-linux-gnu/module.so": "module.so",
        "opt/lib/libversion.so.1": "libversion.so.1",
        "opt/lib/libz10.so": "libz10.so",
        "opt/lib/libz9.so": "libz9.so",
        "usr/lib/libtop.so.5": "libtop.so.5",
    }
    source = tmp_path / "x.c"
    source.write_text("int x;\n")
    for path, soname in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        name = [f"-Wl,-soname,{soname}"] if soname else []
        run("gcc", "-shared", "-nostdlib", *name, "-o", folder / path, source)
    (place / "libversion.so").symlink_to("libversion.so.1.10.0")
    (place / "libunlike.so").symlink_to("libother-2.so")
    (place / "libtext.so").write_text("GROUP ( libx.so )\n")
    (place / "libcut.so.1").write_bytes((folder / "usr/lib/libtop.so.5").read_bytes()[:100])
    (place / "ld-linux-x86-64.so.2").symlink_to("/none")
    return folder


def test_the_cache_of_libraries_is_that_of_ldconfig(libraries: Path, tmp_path: Path) -> None:
    need("ldconfig")
    need_root()
    place = _installed(libraries)
    assert has_glibc(place.system.world)
    found = find_libraries(place.system.world)
    ours = tmp_path / "ours"
    ours.write_bytes(write_cache(found.libraries, is_little=found.is_little))
    run("ldconfig", "-r", libraries)
    shown = [
        run("ldconfig", "-p", "-C", cache).stdout.decode().splitlines()[1:]
        for cache in (ours, libraries / "etc/ld.so.cache")
    ]
    made = "Cache generated by"
    assert shown[0] == [line for line in shown[1] if not line.startswith(made)]
    assert len(shown[0]) > 6
    for path, target in found.links:
        assert os.readlink(libraries / path.decode()) == target.decode()
    theirs = read_cache((libraries / "etc/ld.so.cache").read_bytes())
    assert theirs == read_cache(ours.read_bytes())


def test_a_cache_of_another_form_is_not_read() -> None:
    assert read_cache(b"ld.so-1.7.0\0" + bytes(100)) is None
    assert read_cache(write_cache([])[:40]) is None
    assert read_cache(write_cache([])[:20] + b"\xff" * 28) is None


def test_the_bundle_of_certificates_is_that_of_update_ca_certificates(tmp_path: Path) -> None:
    need("openssl", "update-ca-certificates")
    store = tmp_path / "usr/share/ca-certificates"
    for number, name in enumerate(("B one.crt", "sub/A.crt", "c.crt")):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        request = ("req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", f"/CN=test {number}")
        run("openssl", *request, "-keyout", tmp_path / "key", "-out", store / name)
    (store / "not-one.crt").write_text("nothing\n")
    place = _installed(tmp_path)
    make_bundle(place.system)
    names = sorted(str(path.relative_to(store)) for path in store.rglob("*.crt"))
    conf = tmp_path / "conf"
    conf.write_text("".join(f"{name}\n" for name in names if "not-one" not in name))
    certs = tmp_path / "etc/ssl/certs"
    certs.mkdir(parents=True)
    folders = ("--certsconf", conf, "--certsdir", store, "--etccertsdir", certs)
    local = ("--localcertsdir", tmp_path / "local", "--hooksdir", tmp_path / "hooks")
    run("update-ca-certificates", *folders, *local)
    theirs = (certs / "ca-certificates.crt").read_text()
    ours = place.text("/etc/ssl/certs/ca-certificates.crt")
    end = "-----END CERTIFICATE-----\n"
    assert sorted(ours.split(end)) == sorted(theirs.split(end))
    links = {path.name for path in certs.glob("*.pem") if not path.name[:8].isalnum()}
    for name in links:
        assert place.has(f"/etc/ssl/certs/{name}"), name
    assert place.text("/etc/ca-certificates.conf") == conf.read_text()


def test_nothing_is_bundled_where_no_package_brings_certificates() -> None:
    place = root()
    make_bundle(place.system)
    assert not place.has("/etc/ssl")


_NONSENSE = """u
x y z
u a:b 1
u %m 5
m late
u "open 3
g 9999999999 x
u late 7:none
"""


def test_lines_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    _write(tmp_path, "usr/lib/sysusers.d/x.conf", _NONSENSE)
    _write(tmp_path, "usr/lib/tmpfiles.d/x.conf", "d\nd relative\nd /a%q\nd /b zzz\n? /c\nL /\n")
    place = _installed(tmp_path)
    add_declared(place.system)
    make_declared(place.system)
    assert set(place.system.accounts.users) == {"root", "nobody"}
    assert "-" not in place.system.accounts.groups
    assert not place.has("/c")
    assert {finding.action for finding in place.findings} >= {Action.REPORTED}
