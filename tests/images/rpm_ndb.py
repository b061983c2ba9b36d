"""A database of installed packages of the kind ndb, which openSUSE has, as rpm wrote it.

Most builds of rpm cannot write one, Debian's among them. So it was made once, by rpm 4.16.1.3 of
the wheel ``rpm-inspector-rpm`` (4.16.1.3.210404, of PyPI), which was built with all kinds, and is
kept beside what that rpm listed. To make it again, unpack the wheel and name its program::

    python -m tests.images.rpm_ndb rpm_inspector_rpm/bin/rpm

There are more packages in it than one page of slots has room for. Some were removed, and larger
ones came in their place, so that there are free slots, and packages that are not in their order.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images.rpm import EVERYTHING, rpmbuild, small_spec
from tests.support.programs import run

_FOLDER = Path(__file__).parent / "rpm_ndb"
_MANY = 280
_FORM = r"%{DBINSTANCE} %{NAME} %{EVR} %{SHA1HEADER}\n"


def database() -> bytes:
    """Return the file ``Packages.db``."""
    return lzma.decompress((_FOLDER / "Packages.db.xz").read_bytes())


def listed() -> list[str]:
    """Return what rpm listed, by number: number, name, ``[epoch:]version-release``, SHA-1 of the
    header."""
    return lzma.decompress((_FOLDER / "listed.xz").read_bytes()).decode().splitlines()


def _make(program: Path, folder: Path) -> None:
    def rpm(*arguments: str | Path) -> str:
        place = ("--dbpath", folder, "--define", f"_rpmlock_path {folder}/.lock")
        settings = f"RPM_CONFIGDIR={program.parent}"
        command = (program, "--define", "_db_backend ndb", *place, *arguments)
        return run("env", settings, *command, timeout=120).stdout.decode()

    def install(*packages: Path) -> None:
        lax = ("--justdb", "--nodeps", "--noscripts", "--ignorearch", "--ignoreos", "--noorder")
        rpm("-i", *lax, "--nosignature", "--nodigest", *packages)

    many = _many(folder / "many")
    install(*many)
    removed = [path.name.removesuffix(".rpm") for n, path in enumerate(many) if n % 8]
    rpm("-e", "--justdb", "--nodeps", "--noscripts", *removed)
    install(rpmbuild(folder / "everything", EVERYTHING), *many[1:8])
    install(rpmbuild(folder / "small", small_spec("small", "3-2")))
    lines = sorted(rpm("-qa", "--qf", _FORM).splitlines(), key=lambda line: int(line.split()[0]))
    _FOLDER.mkdir(exist_ok=True)
    _keep("Packages.db", (folder / "Packages.db").read_bytes())
    _keep("listed", "".join(f"{line}\n" for line in lines).encode())


def _many(folder: Path) -> list[Path]:
    """Build the many packages, all from one specification."""
    folder.mkdir()
    parts = (
        f"%package p{number:03}\nSummary: {number}\n"
        f"%description p{number:03}\n{'long text ' * (number % 37)}\n%files p{number:03}\n"
        for number in range(_MANY)
    )
    spec = folder / "many.spec"
    spec.write_text(small_spec("many") + "".join(parts))
    run("rpmbuild", "-bb", "-D", f"_topdir {folder}", spec, timeout=120)
    return sorted(folder.glob("RPMS/noarch/many-p*.rpm"))


def _keep(name: str, content: bytes) -> None:
    (_FOLDER / f"{name}.xz").write_bytes(lzma.compress(content, preset=9))


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        _make(Path(sys.argv[1]).resolve(), Path(made))
