"""Small systems that no mirror of Debian has: Alpine with OpenRC, and one installed by rpm.

Alpine's root is that of its own image, from the corpus. The other one's packages are made here by
rpmbuild, and installed by rpm into an empty folder; their one program is the host's busybox.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.images.rpm import rpmbuild
from tests.images.systems import write_files
from tests.support.programs import corpus, need, need_root, run

PAGE = "forty-two beans"
ALPINE_PORTS = {"shop": 8111, "notes": 8112}
RPM_PORT = 8113

_ALPINE = "tgz/lxd__alpine-v3.13-x86_64-20210218_0139.tar.gz"
_SIZE = "40M"
_DEFINES = ("--define", "_dbpath /var/lib/rpm")


def alpine(folder: Path, *services: str) -> Path:
    """Make a disk of Alpine whose OpenRC starts services that say their name and the page."""
    need("tar", "mke2fs")
    need_root()
    root = folder / "rootfs"
    run("tar", "--directory", folder, "--extract", "--file", corpus(_ALPINE), "rootfs")
    for name in services:
        write_files(
            root,
            {
                f"etc/init.d/{name}": _alpine_script(name),
                f"etc/conf.d/{name}": f'PORT="{ALPINE_PORTS[name]}"\n',
                f"srv/{name}/answer": (
                    f'#!/bin/sh\nprintf "HTTP/1.0 200 OK\\r\\n\\r\\n{PAGE} of {name}\\n"\n'
                ),
                f"etc/runlevels/default/{name}": f"-> /etc/init.d/{name}",
            },
        )
        (root / "etc/init.d" / name).chmod(0o755)
        (root / f"srv/{name}/answer").chmod(0o755)
    return _filesystem(root, folder / "alpine.raw")


def _alpine_script(name: str) -> str:
    return f"""\
#!/sbin/openrc-run
command=/usr/bin/nc
command_args="-lk -p ${{PORT}} -e /srv/{name}/answer"
command_background=yes
command_user="nobody:nobody"
pidfile=/run/${{RC_SVCNAME}}.pid

depend() {{
    need net localmount
}}
"""


_SETUP = """\
Name: setup
Version: 9
Release: 1
Summary: What a system has
License: none
%description
%install
mkdir -p %{buildroot}/etc/sysconfig %{buildroot}/dev %{buildroot}/proc %{buildroot}/run \\
    %{buildroot}/sys %{buildroot}/tmp %{buildroot}/usr/bin %{buildroot}/usr/sbin \\
    %{buildroot}/usr/lib/systemd/system %{buildroot}/etc/systemd/system
printf 'ID=rocky\\nVERSION_ID=9.9\\nPRETTY_NAME="Rocky Linux 9.9"\\nID_LIKE="rhel"\\n' \\
    > %{buildroot}/etc/os-release
printf 'root:x:0:0:root:/root:/bin/sh\\nshop:x:991:990::/srv/shop:/sbin/nologin\\n' \\
    > %{buildroot}/etc/passwd
printf 'root:x:0:\\nshop:x:990:\\n' > %{buildroot}/etc/group
cp BUSYBOX %{buildroot}/usr/bin/busybox
ln -s busybox %{buildroot}/usr/bin/sh
ln %{buildroot}/usr/bin/busybox %{buildroot}/usr/lib/systemd/systemd
ln -s ../lib/systemd/systemd %{buildroot}/usr/sbin/init
ln -s usr/bin %{buildroot}/bin
ln -s usr/sbin %{buildroot}/sbin
printf '[Unit]\\nDescription=x\\n' > %{buildroot}/usr/lib/systemd/system/multi-user.target
ln -s multi-user.target %{buildroot}/usr/lib/systemd/system/default.target
%files
/
"""
_SHOP = """\
Name: shop
Version: 1.2
Release: 3
Summary: A shop
License: none
BuildArch: noarch
%description
%install
mkdir -p %{buildroot}/usr/lib/systemd/system %{buildroot}/etc/sysconfig %{buildroot}/srv/shop \\
    %{buildroot}/etc/systemd/system/multi-user.target.wants
echo 'PAGE' > %{buildroot}/srv/shop/index.html
printf 'OPTIONS="-p PORT -h /srv/shop"\\n' > %{buildroot}/etc/sysconfig/shop
cat > %{buildroot}/usr/lib/systemd/system/shop.service <<'UNIT'
[Service]
User=shop
EnvironmentFile=-/etc/sysconfig/shop
ExecStart=/usr/bin/busybox httpd -f $OPTIONS
KillSignal=SIGINT
[Install]
WantedBy=multi-user.target
UNIT
ln -s /usr/lib/systemd/system/shop.service \\
    %{buildroot}/etc/systemd/system/multi-user.target.wants/shop.service
%files
%config(noreplace) /etc/sysconfig/shop
/etc/systemd/system/multi-user.target.wants/shop.service
/usr/lib/systemd/system/shop.service
/srv/shop
"""


def installed_by_rpm(folder: Path) -> Path:
    """Make a disk with a system of the family of Red Hat: two packages, and rpm's database."""
    need("rpm", "rpmbuild", "busybox", "mke2fs")
    need_root()
    busybox = shutil.which("busybox")
    specs = {
        "setup": _SETUP.replace("BUSYBOX", str(busybox)),
        "shop": _SHOP.replace("PAGE", PAGE).replace("PORT", str(RPM_PORT)),
    }
    packages = [rpmbuild(folder / name, spec) for name, spec in specs.items()]
    root = folder / "root"
    root.mkdir()
    run("rpm", "--root", root, *_DEFINES, "--initdb")
    run("rpm", "--root", root, *_DEFINES, "--install", "--nodeps", "--nosignature", *packages)
    return _filesystem(root, folder / "rocky.raw")


def _filesystem(root: Path, target: Path) -> Path:
    run("mke2fs", "-q", "-t", "ext4", "-d", root, target, _SIZE)
    return target
