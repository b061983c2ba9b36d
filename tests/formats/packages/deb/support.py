"""What dpkg-deb makes of packages."""

from __future__ import annotations

from pathlib import Path

from tests.support.listing import Row, kernel_listing
from tests.support.programs import need, need_root, run


def unpacked(package: Path, folder: Path) -> dict[bytes, Row]:
    """Return what GNU tar makes of the payload that dpkg-deb gives; owners are numbers."""
    need("dpkg-deb", "tar")
    need_root()
    folder.mkdir()
    run(
        "sh",
        "-ec",
        'dpkg-deb --fsys-tarfile "$0" | tar --numeric-owner --delay-directory-restore -xpC "$1"',
        package,
        folder,
    )
    return kernel_listing(folder)
