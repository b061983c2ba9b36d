"""``make bench``: whole commands against the physical limit and against libguestfs, in one run.

Absolute times are noise on shared machines, so every figure is a ratio: the commands take turns,
and the median over the rounds of (ours / limit) is printed beside the target. As root the limit is

    loop mount + GNU tar | sha256sum + zstd -3 -T2 | sha256sum > file

which reads, hashes, compresses and writes the same bytes as an image needs, without any Python.
For squashfs, which is compressed itself, it is ``unsquashfs -processors 2`` to a tmpfs, against
``export --raw`` into a pipe; for an ISO, which is not, ``bsdtar`` into a pipe.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.images import bench_disks
from tests.images.bench_disks import Disk

MEMORY_LIMIT_MB = 200
_TMPFS = Path("/dev/shm")  # noqa: S108 - where else


_ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}
_ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # as for users, who compile once


@dataclass(frozen=True, slots=True)
class Figure:
    """One command's run: seconds on the wall and the peak memory of its largest process."""

    seconds: float
    peak_mb: float


def measured(command: list[str | Path]) -> Figure:
    start = time.perf_counter()
    process = subprocess.Popen(
        [os.fspath(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
    )
    complaint = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr:
        process.stderr.close()
    if process.returncode:
        raise SystemExit(f"bench: {command[0]} failed: {complaint.decode(errors='replace')}")
    return Figure(seconds, usage.ru_maxrss / 1024)


def limit_image(disk: Disk, out: Path) -> Figure:
    """Loop mount, tar, hash, compress, hash, write."""
    script = (
        'tar -C "$1" --xattrs --xattrs-include="*" -cf - . | tee >(sha256sum >/dev/null)'
        ' | zstd -q -3 -T2 | tee >(sha256sum >/dev/null) > "$2"'
    )
    with disk.mounted() as folder:
        return measured(["bash", "-o", "pipefail", "-c", script, "limit", folder, out / "layer"])


def limit_tar(disk: Disk, out: Path) -> Figure:
    """Loop mount and tar into a pipe: with /dev/null as its file, GNU tar reads no content."""
    del out
    script = 'tar -C "$1" --xattrs --xattrs-include="*" -cf - . | cat > /dev/null'
    with disk.mounted() as folder:
        return measured(["bash", "-o", "pipefail", "-c", script, "limit", folder])


def limit_unsquash(disk: Disk, out: Path) -> Figure:
    """Decompress everything to memory."""
    del out
    with tempfile.TemporaryDirectory(dir=_TMPFS) as folder:
        command = ["unsquashfs", "-quiet", "-no-progress", "-processors", "2"]
        return measured([*command, "-force", "-dest", Path(folder, "tree"), disk.path])


def limit_bsdtar(disk: Disk, out: Path) -> Figure:
    """Write the tree of an ISO as tar into a pipe."""
    del out
    script = 'bsdtar -cf - "@$1" | cat > /dev/null'
    return measured(["bash", "-o", "pipefail", "-c", script, "limit", disk.path])


def limit_deb(disk: Disk, out: Path) -> Figure:
    """Unpack a deb, hash, compress, hash, write."""
    return _limit_package("dpkg-deb --fsys-tarfile", disk, out)


def limit_rpm(disk: Disk, out: Path) -> Figure:
    """Unpack an rpm, hash, compress, hash, write."""
    return _limit_package("rpm2cpio", disk, out)


def _limit_package(unpack: str, disk: Disk, out: Path) -> Figure:
    script = (
        f'{unpack} "$1" | tee >(sha256sum >/dev/null)'
        ' | zstd -q -3 -T2 | tee >(sha256sum >/dev/null) > "$2"'
    )
    return measured(["bash", "-o", "pipefail", "-c", script, "limit", disk.path, out / "layer"])


def ours_image(disk: Disk, out: Path) -> Figure:
    return measured([sys.executable, "-m", "convert", "run", "-q", disk.path, f"oci:{out}/image:x"])


_PART = """
import resource, sys, time
from pathlib import Path
from convert.inspect.tree import inspect_tree
from convert.secrets.scan import find_secrets
from convert.trees import FilteredTree
from formats.core.opener import open_artifact
from formats.core.tree import TreeIndex
with open_artifact([Path(sys.argv[1])]) as artifact:
    index = next(TreeIndex(node.tree) for node in artifact.walk() if node.tree is not None)
    known = FilteredTree(index.tree, lambda entry: entry)
    start = time.perf_counter()
    inspect_tree(index) if sys.argv[2] == "inspection" else find_secrets(known)
    seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def inspection(disk: Disk, out: Path) -> Figure:
    """Inspect a tree in a process of its own; opening it and walking it once do not count."""
    del out
    return _part(disk, "inspection")


def secrets(disk: Disk, out: Path) -> Figure:
    """Look for secrets in a tree, likewise."""
    del out
    return _part(disk, "secrets")


def _part(disk: Disk, name: str) -> Figure:
    command: list[str | Path] = [sys.executable, "-c", _PART, disk.path, name]
    done = subprocess.run(command, capture_output=True, check=True, env=_ENVIRONMENT, text=True)
    seconds, peak = done.stdout.split()
    return Figure(float(seconds), float(peak))


def ours_tar(disk: Disk, out: Path) -> Figure:
    return _ours_tar(disk, out)


def ours_medium(disk: Disk, out: Path) -> Figure:
    """Write the tree of a medium itself, and not that of a system on it."""
    return _ours_tar(disk, out, "--root", "medium")


def _ours_tar(disk: Disk, out: Path, *options: str) -> Figure:
    del out
    script = '"$@" tar:- | cat > /dev/null'
    command = [sys.executable, "-m", "convert", "export", "-q", "--raw", *options]
    return measured(["bash", "-o", "pipefail", "-c", script, "ours", *command, disk.path])


def guestfish_route(disk: Disk, out: Path) -> Figure:
    """The way without this tool: an appliance boots, tar-out, podman import, skopeo copy."""
    script = (
        'guestfish --ro -a "$1" -i tar-out / - > "$2/tree.tar"'
        ' && podman --root "$2/store" --runroot "$2/run" import -q "$2/tree.tar" x >/dev/null'
        ' && podman --root "$2/store" --runroot "$2/run" save -q --format oci-dir -o "$2/dir" x'
        ' && skopeo copy -q "oci:$2/dir" "oci:$2/image:x"'
    )
    environment = ["LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg"]
    return measured(["env", *environment, "bash", "-c", script, "route", disk.path, out])


Work = Callable[[Disk, Path], Figure]


def in_turns(rounds: int, *works: tuple[Work, Disk]) -> list[list[Figure]]:
    """Run the works one after the other, ``rounds`` times, after one round that is not counted."""
    figures: list[list[Figure]] = [[] for _ in works]
    for round_number in range(rounds + 1):
        for index, (work, disk) in enumerate(works):
            with tempfile.TemporaryDirectory(dir=bench_disks.CACHE) as folder:
                figure = work(disk, Path(folder))
            if round_number:
                figures[index].append(figure)
    return figures


def report(name: str, ours: list[Figure], limit: list[Figure], target: float) -> bool:
    ratio = statistics.median(
        mine.seconds / theirs.seconds for mine, theirs in zip(ours, limit, strict=True)
    )
    peak = max(figure.peak_mb for figure in ours)
    is_met = ratio <= target and peak <= MEMORY_LIMIT_MB
    print(
        f"{name:38} {ratio:5.2f} × the limit (target {target:g})   "
        f"{statistics.median(figure.seconds for figure in ours):6.2f} s   "
        f"peak {peak:4.0f} MB (target {MEMORY_LIMIT_MB})   {'met' if is_met else 'MISSED'}",
        flush=True,
    )
    return is_met


def report_start(name: str, ours: list[Figure], target: float) -> bool:
    """Report seconds from start to end, the only figure that is no ratio; of the best half, since
    what a shared machine adds is never less than nothing."""
    quickest = sorted(figure.seconds for figure in ours)[: (len(ours) + 1) // 2]
    seconds = statistics.median(quickest)
    is_met = seconds <= target
    verdict = "met" if is_met else "MISSED"
    print(f"{name:38} {seconds:5.2f} s in all    (target {target:.1f})   {verdict}", flush=True)
    return is_met


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-libguestfs", action="store_true")
    wanted = parser.parse_args()
    if os.geteuid():
        print("bench: the limit is measured with a loop mount, which needs root", file=sys.stderr)
        return 6
    raw = bench_disks.raw()
    results = [
        *disk_formats(wanted.rounds, raw),
        *filesystems(wanted.rounds),
        *packages(wanted.rounds),
        *lived_in(wanted.rounds),
    ]
    if not wanted.without_libguestfs and shutil.which("guestfish"):
        results.append(against_libguestfs(raw))
    return 0 if all(results) else 1


def disk_formats(rounds: int, raw: Disk) -> Iterator[bool]:
    """Measure one ext4 root as three kinds of disk."""
    qcow2 = bench_disks.converted("qcow2", "-c", "-O", "qcow2")
    vmdk = bench_disks.converted("vmdk", "-O", "vmdk", "-o", "subformat=streamOptimized")
    limit, *mine = in_turns(
        rounds, (limit_image, raw), (ours_image, raw), (ours_image, qcow2), (ours_image, vmdk)
    )
    yield report("run, raw", mine[0], limit, 1.3)
    yield report("run, qcow2 compressed", mine[1], limit, 1.6)
    yield report("run, streamOptimized vmdk", mine[2], limit, 1.6)
    tar_limit, *tars = in_turns(rounds, (limit_tar, raw), (ours_tar, raw), (ours_tar, vmdk))
    yield report("export --raw tar, raw", tars[0], tar_limit, 1.2)
    yield report("export --raw tar, streamOptimized", tars[1], tar_limit, 2.2)


def filesystems(rounds: int) -> Iterator[bool]:
    """Measure the same root on other filesystems, each against the kernel's or its own tool."""
    xfs = bench_disks.copied("xfs", "mkfs.xfs", "-q", "-f")
    btrfs = bench_disks.copied("btrfs", "mkfs.btrfs", "-q", "-f", options="compress=zstd")
    for disk in (xfs, btrfs):
        limit, mine = in_turns(rounds, (limit_image, disk), (ours_image, disk))
        yield report(f"run, {disk.filesystem}", mine, limit, 1.5)
        limit, mine = in_turns(rounds, (limit_tar, disk), (ours_tar, disk))
        yield report(f"export --raw tar, {disk.filesystem}", mine, limit, 1.5)
    for compressor in ("zstd", "gzip", "xz"):
        disk = bench_disks.squashed(compressor)
        limit, mine = in_turns(rounds, (limit_unsquash, disk), (ours_tar, disk))
        yield report(f"export --raw tar, squashfs {compressor}", mine, limit, 1.5)
    medium = bench_disks.live_medium()
    limit, mine = in_turns(rounds, (limit_bsdtar, medium), (ours_medium, medium))
    yield report("export --raw tar, live ISO", mine, limit, 1.5)


def packages(rounds: int) -> Iterator[bool]:
    """Measure large packages against what their own tools give, and the start of a small one."""
    for name, package, unpack in (
        ("deb", bench_disks.deb(), limit_deb),
        ("rpm", bench_disks.rpm(), limit_rpm),
    ):
        limit, mine = in_turns(rounds, (unpack, package), (ours_image, package))
        yield report(f"run, {name}", mine, limit, 1.5)
    (small,) = in_turns(3 * rounds, (ours_image, bench_disks.small_deb()))
    yield report_start("run, deb of 60 kB", small, 0.5)


def lived_in(rounds: int) -> Iterator[bool]:
    """Measure which parts of a run inspection and the search for secrets are."""
    disk = bench_disks.lived_in()
    limit, *mine = in_turns(rounds, (ours_image, disk), (inspection, disk), (secrets, disk))
    yield report("inspection of 100,000 files, of run", mine[0], limit, 0.15)
    yield report("secrets of 100,000 files, of run", mine[1], limit, 0.05)


def against_libguestfs(raw: Disk) -> bool:
    print("libguestfs without KVM, one run, some minutes …", flush=True)
    (mine,) = in_turns(1, (ours_image, raw))
    with tempfile.TemporaryDirectory(dir=bench_disks.CACHE) as folder:
        theirs = guestfish_route(raw, Path(folder))
    factor = theirs.seconds / mine[0].seconds
    is_met = factor >= 20
    print(
        f"{'libguestfs + podman + skopeo':38} {factor:5.1f} × our time (target 20)"
        f"   {theirs.seconds:6.1f} s   {'met' if is_met else 'MISSED'}"
    )
    return is_met


if __name__ == "__main__":
    sys.exit(main())
