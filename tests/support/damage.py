"""Stored images for tests that are damaged, with every digest above the damage put right again."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from convert.oci.digest import Digest
from tests.support.images import BLOBS, read_json


class Layout:
    """A layout that can be damaged with every digest above the damage put right again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, descriptor: Any) -> Path:
        encoded = descriptor["digest"].removeprefix("sha256:")
        return self.folder / BLOBS / str(encoded)

    @property
    def index(self) -> Any:
        return read_json(self.folder / "index.json")

    @property
    def manifest(self) -> Any:
        return read_json(self.blob(self.index["manifests"][0]))

    @property
    def config(self) -> Any:
        return read_json(self.blob(self.manifest["config"]))

    @property
    def layer(self) -> Path:
        return self.blob(self.manifest["layers"][0])

    def put(self, data: bytes) -> dict[str, Any]:
        digest = Digest.of(data)
        (self.folder / BLOBS / digest.encoded).write_bytes(data)
        return {"digest": str(digest), "size": len(data)}

    def put_index(self, index: Any) -> None:
        (self.folder / "index.json").write_text(json.dumps(index))

    def put_manifest(self, manifest: Any) -> None:
        index = self.index
        index["manifests"][0] |= self.put(json.dumps(manifest).encode())
        self.put_index(index)

    def put_config(self, config: Any) -> None:
        manifest = self.manifest
        manifest["config"] |= self.put(json.dumps(config).encode())
        self.put_manifest(manifest)

    def put_layer(self, data: bytes, tar: bytes | None = None) -> None:
        manifest, config = self.manifest, self.config
        manifest["layers"][0] |= self.put(data)
        self.put_manifest(manifest)
        if tar is not None:
            config["rootfs"]["diff_ids"] = [str(Digest.of(tar))]
            self.put_config(config)

    def put_tar(self, tar: bytes) -> None:
        self.put_layer(zstandard.compress(tar), tar)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def tar_of(*names: str) -> bytes:
    headers = [tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT) for name in names]
    return b"".join(headers) + bytes(1024)


def damaged_archive(file: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """Write a tar file again with each member as ``change`` gives it."""
    with tarfile.open(file) as old:
        members = [(item, old.extractfile(item)) for item in old]
        found = [(item, file.read() if file else b"") for item, file in members]
    with tarfile.open(file, "w") as new:
        for item, data in found:
            changed = (item.name, data) if item.isdir() else change(item.name, data)
            if changed is not None:
                item.name, content = changed
                item.size = len(content)
                new.addfile(item, io.BytesIO(content))
