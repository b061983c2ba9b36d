"""Package files that no index lists: what they are is read from their own headers."""

from __future__ import annotations

from dataclasses import replace

from convert.packages.pools.files import Candidate, PoolFiles, Stock, is_below, release
from formats.core.errors import ConvertError, LimitError
from formats.core.package import Package
from formats.core.source import ByteSource
from formats.packages.deb.container import read_container
from formats.packages.deb.control_archive import read_control
from formats.packages.rpm.package import read_package

_DEB, _RPM = b".deb", b".rpm"
_OF_SOURCES = (b".src.rpm", b".nosrc.rpm")
_TOLD_PROBLEMS = 20


def read_loose(files: PoolFiles, stock: Stock) -> None:
    """Add the packages that lie in no repository.

    One that cannot be read is left out and told: one out of many shall not make the others useless.
    """
    problems = 0
    for entry in files.index.entries():
        name = entry.name.lower()
        if not name.endswith((_DEB, _RPM)) or name.endswith(_OF_SOURCES):
            continue
        if any(is_below(entry.path, top) for top in stock.tops):
            continue
        if len(stock.candidates) >= files.limits.entries:
            raise LimitError("has more packages than are looked at", origin=files.origin)
        try:
            _take(files, stock, entry.path, is_rpm=name.endswith(_RPM))
        except LimitError:
            raise
        except ConvertError as error:
            problems += 1
            if problems <= _TOLD_PROBLEMS:
                files.note("package-not-listed", entry.path, f"{error.message}; it is left out")
    if problems > _TOLD_PROBLEMS:
        evidence = f"{problems - _TOLD_PROBLEMS:,} more packages cannot be read; they are left out"
        files.note("package-not-listed", b"", evidence)


def _take(files: PoolFiles, stock: Stock, path: bytes, *, is_rpm: bool) -> None:
    source = files.source(path)
    if source is None:  # a folder of that name, or a link that leads nowhere
        return
    try:
        package, paths = _from_rpm(source, files) if is_rpm else (_from_deb(source, files), b"")
    finally:
        release(source)
    candidate = Candidate(_without_files(package), files, path)
    stock.candidates.append(candidate)
    if paths:
        stock.paths.append((candidate, paths))


def _from_deb(source: ByteSource, files: PoolFiles) -> Package:
    part = read_container(source, files.limits).control
    return read_control(source, part, source.origin, files.limits).package


def _from_rpm(source: ByteSource, files: PoolFiles) -> tuple[Package, bytes]:
    package, paths = read_package(source, files.limits)
    return package, b"\0%b\0" % b"\0".join(paths)


def _without_files(package: Package) -> Package:
    """Return what resolving needs; there may be ten thousands of packages in memory."""
    return replace(package, record=b"", configuration=(), scripts=(), triggers=(), digests={})
