"""Images for tests: written by us, judged and served by others."""

from __future__ import annotations

import hashlib
import json
import platform
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convert.destination import parse_image
from convert.layers.compress import Codec, compression
from convert.layers.tar import encode_tar
from convert.oci.config import ImageConfig
from convert.oci.descriptor import Platform
from convert.oci.image import Image
from convert.oci.write import LayerInput, default_codec, write_image
from formats.core.entry import Entry, Kind
from formats.core.tree import Tree, walk_order
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, run

HOST = Platform({"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])
"""So that what is written can be run."""
SMALL = memory_tree(r"f 644 0:0 etc/hostname vm1\n")
BLOBS = Path("blobs", "sha256")


def config(**settings: Any) -> ImageConfig:
    """Return a config for this kind of machine."""
    return ImageConfig(**{"platform": HOST, "cmd": ("/bin/sh",), "created": 0, **settings})


def write(
    destination: str, *trees: Tree, codec: Codec | None = None, how: ImageConfig | None = None
) -> Image:
    """Write an image with a layer of each tree; with none, a small one."""
    where = parse_image(destination)
    return write_image(
        [LayerInput(encode_tar(tree), "test") for tree in trees or (SMALL,)],
        how or config(),
        where,
        compression=compression(codec or default_codec(where)),
    )


def without_special_files(tree: MemoryTree) -> MemoryTree:
    """Return what unprivileged clients can unpack of a tree: neither devices nor their links."""
    dropped = {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}
    gone = {entry.path for entry in tree.entries() if entry.kind in dropped}
    kept = [entry for entry in tree.entries() if not {entry.path, entry.target} & gone]
    return MemoryTree(kept, tree._contents)


def busybox(text: str = "") -> MemoryTree:
    """Return a tree that a container can run in, with the paths of ``text`` added."""
    need("busybox")
    program = Path("/bin/busybox").read_bytes()
    tree = memory_tree("f 755 0:0 bin/busybox\nl 777 0:0 bin/sh busybox\n" + text)
    contents = {**tree._contents, b"bin/busybox": program}
    entries = [
        Entry(b"bin/busybox", Kind.FILE, 0o755, size=len(program), node=entry.node)
        if entry.path == b"bin/busybox"
        else entry
        for entry in tree.entries()
    ]
    assert [entry.path for entry in entries] == walk_order(entry.path for entry in entries)
    return MemoryTree(entries, contents)


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def skopeo(*arguments: str | Path) -> bytes:
    need("skopeo")
    return run("skopeo", "--insecure-policy", *arguments).stdout


def inspected(image: str) -> Any:
    """Return what skopeo says of an image."""
    return json.loads(skopeo("inspect", image))


def umoci_unpacked(layout: Path, tag: str, bundle: Path) -> Path:
    """Unpack an image with umoci and return its root folder."""
    need("umoci")
    run("umoci", "unpack", "--image", f"{layout}:{tag}", bundle)
    return bundle / "rootfs"


def image_files(layout: Path) -> dict[str, str]:
    """Return the digest of each file of a layout that belongs to its images."""
    return {
        str(path.relative_to(layout)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(layout.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@contextmanager
def registry(folder: Path, more: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Run a registry that keeps its blobs in ``folder``; give its ``host:port``.

    ``more`` is added to its configuration.
    """
    need("docker-registry")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    settings = folder / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "registry")}}
    content = {"version": 0.1, "storage": storage, "http": {"addr": address}, **(more or {})}
    settings.write_text(json.dumps(content))  # JSON is YAML
    with (folder / "registry.log").open("wb") as log:
        server = subprocess.Popen(
            ["docker-registry", "serve", settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        assert server.poll() is None, "the registry ended"
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the registry does not answer")
