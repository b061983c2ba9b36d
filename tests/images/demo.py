"""``make demo``: builds a small real Debian server, converts it and shows what came out.

``python -m tests.images.demo [--out FOLDER] [IMAGE]`` takes the user's own disk instead.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.images.recipes import debian_server

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "images"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("image", nargs="?", type=Path)
    wanted = parser.parse_args()
    disk = wanted.image or example_disk()
    if disk is None:
        return 6
    wanted.out.mkdir(parents=True, exist_ok=True)
    image = f"oci:{wanted.out}/image:latest"
    for command in (
        ["inspect", str(disk)],
        ["report", str(disk), "-o", f"{wanted.out}/report.html"],
        ["run", str(disk), image],
        ["verify", image],
    ):
        code = _convert(command)
        if code:
            return code
    _show_config(wanted.out / "image")
    print(f"\nThe image is {image}. To run it:")
    if shutil.which("podman"):
        print(f"    podman run --rm -p 8080:80 oci:{wanted.out}/image:latest")
    print(f"    skopeo copy {image} docker-daemon:demo:latest && docker run --rm -p 8080:80 demo")
    print("Your own disk: make demo IMAGE=path/to/disk.vmdk")
    return 0


def example_disk() -> Path | None:
    """Return the example's disk below the project's folder, made if need be; None if it cannot."""
    disk = CACHE / "debian-server.raw"
    if not disk.exists():
        print(f"building {disk.relative_to(ROOT)}: Debian with systemd, nginx and openssh …")
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            debian_server.build(disk)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"demo: {error}\nmake demo IMAGE=path takes a disk of yours", file=sys.stderr)
            return None
    compressed = CACHE / "debian-server.vmdk"
    if not compressed.exists() and shutil.which("qemu-img"):
        options = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        subprocess.run(["qemu-img", "convert", *options, disk, compressed], check=True)
    return (compressed if compressed.exists() else disk).relative_to(ROOT)


def _convert(arguments: list[str]) -> int:
    print(f"\n$ convert {shlex.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, "-m", "convert", *arguments], check=False).returncode


def _show_config(layout: Path) -> None:
    """Print what a runtime will be told."""
    blobs = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    manifest = json.loads((blobs / index["manifests"][-1]["digest"][7:]).read_text())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())
    print("\nThe image's config:")
    print(json.dumps({"architecture": config["architecture"], **config["config"]}, indent=2))


if __name__ == "__main__":
    sys.exit(main())
