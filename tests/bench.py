"""``make bench``: whole commands against the physical limit and against libguestfs, in one run.

Absolute times are noise on shared machines, so every figure is a ratio: the commands take turns,
and the median over the rounds of (ours / limit) is printed beside the target. As root the limit is

    loop mount + GNU tar | sha256sum + zstd -3 -T2 | sha256sum > file

which reads, hashes, compresses and writes the same bytes as an image needs, without any Python.
"""

from __future__ import annotations

import argparse
import contextlib
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

from tests.images.recipes import debian_server

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "images"
PARTITION_OFFSET = debian_server.ROOT_OFFSET
MEMORY_LIMIT_MB = 200

EXTRA_PACKAGES = ("gcc", "git", "perl", "python3", "vim", "locales", "manpages-dev")


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


@contextlib.contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        options = f"ro,loop,offset={PARTITION_OFFSET},sizelimit={debian_server.root_bytes(disk)}"
        subprocess.run(["mount", "-t", "ext4", "-o", options, disk, folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def limit_image(disk: Path, out: Path) -> Figure:
    """Loop mount, tar, hash, compress, hash, write."""
    script = (
        'tar -C "$1" --xattrs --xattrs-include="*" -cf - . | tee >(sha256sum >/dev/null)'
        ' | zstd -q -3 -T2 | tee >(sha256sum >/dev/null) > "$2"'
    )
    with mounted(disk) as folder:
        return measured(["bash", "-o", "pipefail", "-c", script, "limit", folder, out / "layer"])


def limit_tar(disk: Path, out: Path) -> Figure:
    """Loop mount and tar into a pipe: with /dev/null as its file, GNU tar reads no content."""
    del out
    script = 'tar -C "$1" --xattrs --xattrs-include="*" -cf - . | cat > /dev/null'
    with mounted(disk) as folder:
        return measured(["bash", "-o", "pipefail", "-c", script, "limit", folder])


def ours_image(disk: Path, out: Path) -> Figure:
    return measured([sys.executable, "-m", "convert", "run", "-q", disk, f"oci:{out}/image:x"])


def ours_tar(disk: Path, out: Path) -> Figure:
    del out
    script = '"$1" -m convert export -q --raw "$2" tar:- | cat > /dev/null'
    return measured(["bash", "-o", "pipefail", "-c", script, "ours", sys.executable, disk])


def guestfish_route(disk: Path, out: Path) -> Figure:
    """The way without this tool: an appliance boots, tar-out, podman import, skopeo copy."""
    script = (
        'guestfish --ro -a "$1" -i tar-out / - > "$2/tree.tar"'
        ' && podman --root "$2/store" --runroot "$2/run" import -q "$2/tree.tar" x >/dev/null'
        ' && podman --root "$2/store" --runroot "$2/run" save -q --format oci-dir -o "$2/dir" x'
        ' && skopeo copy -q "oci:$2/dir" "oci:$2/image:x"'
    )
    environment = ["LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg"]
    return measured(["env", *environment, "bash", "-c", script, "route", disk, out])


Work = Callable[[Path, Path], Figure]


def in_turns(rounds: int, *works: tuple[Work, Path]) -> list[list[Figure]]:
    """Run the works one after the other, ``rounds`` times, after one round that is not counted."""
    figures: list[list[Figure]] = [[] for _ in works]
    for round_number in range(rounds + 1):
        for index, (work, disk) in enumerate(works):
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
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
        f"{name:38} {ratio:5.2f} × the limit (target {target:.1f})   "
        f"{statistics.median(figure.seconds for figure in ours):6.2f} s   "
        f"peak {peak:4.0f} MB (target {MEMORY_LIMIT_MB})   {'met' if is_met else 'MISSED'}",
        flush=True,
    )
    return is_met


def disks() -> tuple[Path, Path, Path]:
    """Return the benchmark disk as raw, compressed qcow2 and streamOptimized vmdk."""
    CACHE.mkdir(parents=True, exist_ok=True)
    raw, qcow2, vmdk = (CACHE / f"bench-server.{ending}" for ending in ("raw", "qcow2", "vmdk"))
    if not raw.exists():
        print(f"building {raw.relative_to(ROOT)} …", flush=True)
        debian_server.build(raw, extra_packages=EXTRA_PACKAGES, root_mib=1500)
    if not qcow2.exists():
        subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", raw, qcow2], check=True)
    if not vmdk.exists():
        options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        subprocess.run(["qemu-img", "convert", *options, raw, vmdk], check=True)
    return raw, qcow2, vmdk


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-libguestfs", action="store_true")
    wanted = parser.parse_args()
    if os.geteuid():
        print("bench: the limit is measured with a loop mount, which needs root", file=sys.stderr)
        return 6
    raw, qcow2, vmdk = disks()
    limit, *mine = in_turns(
        wanted.rounds,
        (limit_image, raw),
        (ours_image, raw),
        (ours_image, qcow2),
        (ours_image, vmdk),
    )
    results = [
        report("run, raw", mine[0], limit, 1.3),
        report("run, qcow2 compressed", mine[1], limit, 1.6),
        report("run, streamOptimized vmdk", mine[2], limit, 1.6),
    ]
    tar_limit, *tars = in_turns(wanted.rounds, (limit_tar, raw), (ours_tar, raw), (ours_tar, vmdk))
    results += [
        report("export --raw tar, raw", tars[0], tar_limit, 1.2),
        report("export --raw tar, streamOptimized", tars[1], tar_limit, 2.2),
    ]
    if not wanted.without_libguestfs and shutil.which("guestfish"):
        results.append(against_libguestfs(raw, mine[0]))
    return 0 if all(results) else 1


def against_libguestfs(raw: Path, mine: list[Figure]) -> bool:
    print("libguestfs without KVM, one run, some minutes …", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        theirs = guestfish_route(raw, Path(folder))
    factor = theirs.seconds / statistics.median(figure.seconds for figure in mine)
    is_met = factor >= 20
    print(
        f"{'libguestfs + podman + skopeo':38} {factor:5.1f} × our time (target 20)"
        f"   {theirs.seconds:6.1f} s   {'met' if is_met else 'MISSED'}"
    )
    return is_met


if __name__ == "__main__":
    sys.exit(main())
