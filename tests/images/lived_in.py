"""A disk with 100,000 files that inspection has much to look at: packages, services, applications.

As on a server of some years: most files are of 600 packages, which list them; the rest are
applications in several languages, their services, and settings of the machine.
"""

from __future__ import annotations

import io
import random
import subprocess
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

_FILES = 100_000
_PACKAGES = 600
_SERVICES = 80
_APPLICATIONS = 120
_ENDINGS = ("conf", "py", "json", "html", "txt", "js", "so", "png")
_UNITS = "usr/lib/systemd/system"
_WANTS = "etc/systemd/system/multi-user.target.wants"


def make(path: Path) -> None:
    """Write the disk, an ext4; its files are on this machine beside it meanwhile."""
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        root = Path(name)
        _packages(root)
        _services(root)
        _applications(root)
        _machine(root)
        with path.open("wb") as file:
            file.truncate(700 << 20)
        options = ("-q", "-F", "-t", "ext4", "-b", "1024", "-N", "140000", "-d", root)
        subprocess.run(["mke2fs", *options, path], check=True)


def _write(root: Path, name: str, content: str | bytes, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def _packages(root: Path) -> None:
    words = random.Random(5)
    lists: dict[int, list[str]] = defaultdict(list)
    for number in range(_FILES - _FILES // 20):
        package = number % _PACKAGES
        name = f"usr/share/p{package}/d{number % 7}/f{number}.{_ENDINGS[number % 8]}"
        lines = (f"setting_{word} = {words.random()}\n" for word in range(30))
        _write(root, name, "".join(lines))
        lists[package].append(f"/{name}")
    status = []
    for package, names in sorted(lists.items()):
        depends = ", ".join(f"p{(package + step) % _PACKAGES} (>= 1.{step})" for step in range(6))
        status.append(
            f"Package: p{package}\nStatus: install ok installed\nArchitecture: amd64\n"
            f"Version: 1.{package}-1\nDepends: {depends}\nDescription: a package\n of several\n"
        )
        _write(root, f"var/lib/dpkg/info/p{package}.list", "\n".join(names) + "\n")
    _write(root, "var/lib/dpkg/status", "\n".join(status))


def _services(root: Path) -> None:
    for number in range(_SERVICES):
        name = f"app{number}.service"
        command = f"/opt/app{number}/server --port {8000 + number}"
        text = f"[Unit]\nAfter=network.target\n[Service]\nExecStart={command}\nUser=root\n"
        _write(root, f"{_UNITS}/{name}", f"{text}Environment=A=1 B=2\n[Install]\n")
        _write(root, f"opt/app{number}/server", "#!/bin/sh\n", 0o755)
        link = root / _WANTS / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/{_UNITS}/{name}")
    _write(root, f"{_UNITS}/multi-user.target", "[Unit]\nDescription=x\n")
    _write(root, "usr/lib/systemd/systemd", Path("/bin/true").read_bytes(), 0o755)


def _applications(root: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Main-Class: a.B\nImplementation-Version: 1\n")
        for number in range(500):
            jar.writestr(f"a/C{number}.class", bytes(400))
    for number in range(_APPLICATIONS):
        top = f"srv/a{number}"
        package = f'{{"name": "a{number}", "scripts": {{"start": "node ."}}}}'
        _write(root, f"{top}/node/package.json", package)
        for dependency in range(30):
            _write(root, f"{top}/node/node_modules/m{dependency}/package.json", package)
        _write(root, f"{top}/java/a.jar", archive.getvalue())
        _write(root, f"{top}/python/venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.11.2\n")
        _write(root, f"{top}/ruby/config.ru", "run App\n")
        _write(root, f"usr/local/bin/tool{number}", Path("/bin/true").read_bytes(), 0o755)


def _machine(root: Path) -> None:
    _write(root, "etc/os-release", "ID=debian\nVERSION_ID=12\n")
    _write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
    _write(root, "etc/group", "root:x:0:\n")
    _write(root, "etc/sysctl.conf", "".join(f"net.x{number} = 1\n" for number in range(50)))
    _write(root, "etc/crontab", "".join(f"{n} 4 * * * root /srv/job{n}\n" for n in range(50)))
    _write(root, "etc/network/interfaces", "iface eth0 inet static\n address 192.0.2.7/24\n")
    _write(root, "bin/sh", Path("/bin/true").read_bytes(), 0o755)
