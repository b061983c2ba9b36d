"""Packages as dpkg installs them, scripts and all: what we make is that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.convert.packages.machine import assembled_here, compared, installed
from tests.support.downloads import all_downloaded
from tests.support.programs import need, run

_REDIS = ("redis-server", "redis-tools", "liblzf1", "libjemalloc2")


def _built(folder: Path, name: str, scripts: dict[str, str], control: str = "") -> Path:
    """Build a package of the files in ``folder``."""
    meta = folder / "DEBIAN"
    meta.mkdir(parents=True)
    (meta / "control").write_text(
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\n"
        f"{control}Description: a test\n"
    )
    for script, text in scripts.items():
        (meta / script).write_text(f"#!/bin/sh\nset -e\n{text}")
        (meta / script).chmod(0o755)
    package = folder.parent / f"{name}.deb"
    run("dpkg-deb", "--root-owner-group", "-b", folder, package)
    return package


_POSTINST = r"""
USER=oc-tool
prepare() {
    mkdir -p "$DPKG_ROOT$1"
    if ! dpkg-statoverride --list "$1" >/dev/null 2>&1; then
        chown "$2" "$1"; chmod "$3" "$1"
    fi
}
case "$1" in
    configure)
        if ! getent passwd $USER >/dev/null; then
            adduser --system --group --quiet --home /var/lib/oc-tool --no-create-home \
                --gecos "A tool" --shell /bin/false $USER
        fi
        addgroup --system --quiet oc-extra || true
        usermod -a -G oc-extra $USER
        prepare /var/lib/oc-tool $USER:oc-extra 2750
        for x in one two; do
            install -d -m 0700 -o $USER -g adm /var/lib/oc-tool/$x
        done
        cat > /etc/oc-tool/generated.conf <<EOF
# made for $USER
name=${DPKG_MAINTSCRIPT_PACKAGE:-none}
EOF
        chmod 640 /etc/oc-tool/*.conf
        [ -e /etc/oc-tool/copied ] || cp -p /usr/share/oc-tool/default /etc/oc-tool/copied
        ln -sf ../share/oc-tool/default /usr/lib/oc-link
        [ -n "$2" ] && mkdir /srv/oc-upgrade
        dpkg-statoverride --update --add root adm 4750 /usr/bin/oc-one
        update-alternatives --install /usr/bin/oc-common oc-common /usr/bin/oc-one 10 \
            --slave /usr/share/man/man1/oc-common.1 oc-common.1 /usr/share/man/man1/oc-one.1
        update-alternatives --install /usr/bin/oc-common oc-common /usr/bin/oc-two 20
        dpkg-maintscript-helper rm_conffile /etc/oc-tool/old 0.9 -- "$@"
    ;;
    abort-*|*) exit 1 ;;
esac
rm -f /usr/share/oc-tool/obsolete
if dpkg --compare-versions "$2" lt-nl "0.5"; then rm -rf /var/lib/oc-tool; fi
if [ -d /run/systemd/system ]; then systemctl --system daemon-reload >/dev/null || true; fi
"""


@pytest.fixture
def own(tmp_path: Path) -> list[Path]:
    """Two packages with all that is done for packages."""
    need("dpkg-deb")
    tool, other = tmp_path / "tool", tmp_path / "other"
    files = {
        "usr/bin/oc-one": "1",
        "usr/bin/oc-two": "2",
        "bin/oc-three": "3",
        "usr/share/man/man1/oc-one.1": "manual",
        "usr/share/oc-tool/default": "default",
        "usr/share/oc-tool/obsolete": "x",
        "etc/oc-tool/main.conf": "main",
    }
    for name, text in files.items():
        (tool / name).parent.mkdir(parents=True, exist_ok=True)
        (tool / name).write_text(text)
        (tool / name).chmod(0o755 if "bin/" in name else 0o644)
    os.link(tool / "usr/bin/oc-one", tool / "usr/bin/oc-also")
    (other / "usr/bin").mkdir(parents=True)
    (other / "usr/bin/oc-four").write_text("theirs")
    (tool / "usr/bin/oc-four").write_text("mine")
    divert = (
        "if [ $1 = install ]; then dpkg-divert --package oc-tool --add --rename"
        " --divert /usr/bin/oc-four.real /usr/bin/oc-four; fi\n"
    )
    scripts = {"preinst": divert, "postinst": _POSTINST}
    return [
        _built(tool, "oc-tool", scripts, "Pre-Depends: dpkg\n"),
        _built(other, "oc-other", {}, "Depends: oc-tool\n"),
    ]


def test_what_scripts_make_is_what_dpkg_makes_of_them(own: list[Path], tmp_path: Path) -> None:
    theirs = installed(own, tmp_path, "dpkg", "-i")
    assembled, ours = assembled_here(own, ["oc-tool"])
    assert compared(theirs, ours) == []
    assert [f for f in assembled.findings if f.rule == "package-script"] == []
    record = b"var/lib/dpkg/alternatives/oc-common"
    assert ours[record].digest == theirs[record].digest


def test_redis_is_installed_as_dpkg_installs_it(tmp_path: Path) -> None:
    packages = all_downloaded(_REDIS)
    theirs = installed(packages, tmp_path, "dpkg", "-i")
    assembled, ours = assembled_here(packages, ["redis-server"])
    assert compared(theirs, ours) == []
    assert [f for f in assembled.findings if f.rule == "package-script"] == []
