"""Layers for tests, member by member, as other programs may write them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from tests.support.images import HOST

_KINDS = {
    "f": tarfile.REGTYPE,
    "d": tarfile.DIRTYPE,
    "l": tarfile.SYMTYPE,
    "h": tarfile.LNKTYPE,
    "p": tarfile.FIFOTYPE,
    "c": tarfile.CHRTYPE,
}
OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"


@dataclass(frozen=True)
class M:
    """A member: ``M("f", "etc/motd", "hello")``; ``text`` is content or where a link leads."""

    kind: str
    name: str
    text: str = ""
    mode: int = 0o644
    uid: int = 0
    mtime: int = 1000
    xattrs: Mapping[str, str] = field(default_factory=dict)


def layer(*members: M) -> bytes:
    """Return a layer's tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type = _KINDS[member.kind]
            info.mode, info.uid, info.mtime = member.mode, member.uid, member.mtime
            info.pax_headers = {f"SCHILY.xattr.{key}": text for key, text in member.xattrs.items()}
            content = member.text.encode() if member.kind == "f" else b""
            info.size = len(content)
            if member.kind in "lh":
                info.linkname = member.text
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def compress(tar: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(tar, 1, mtime=0)
    return zstandard.compress(tar) if how == "zstd" else tar


def document(value: Any) -> bytes:
    return json.dumps(value).encode()


@dataclass
class Layout:
    """A layout that is written by hand, so that it can say anything.

    :ivar blobs: by digest.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """Put a blob in and return its descriptor."""
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def image(
        self,
        *tars: bytes,
        how: str = "gzip",
        docker: bool = False,
        platform: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Put an image in and return the descriptor of its manifest.

        :param config: members to add to the config, or to put in their place.
        :param manifest: the same of the manifest.
        """
        platform = platform or HOST.as_json()  # type: ignore[assignment]
        settings = {
            **(platform or {}),
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
            **(config or {}),
        }
        suffix = {"gzip": "gzip", "zstd": "zstd", "none": ""}[how]
        if docker:
            layer_type = f"{DOCKER}.image.rootfs.diff.tar" + (f".{suffix}" if suffix else "")
        else:
            layer_type = f"{OCI}.layer.v1.tar" + (f"+{suffix}" if suffix else "")
        config_type = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
        kind = f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json"
        content = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self.add(document(settings), config_type),
            "layers": [self.add(compress(tar, how), layer_type) for tar in tars],
            **(manifest or {}),
        }
        return self.add(document(content), kind, platform=dict(platform or {}))

    def index(self, *entries: dict[str, Any], docker: bool = False) -> dict[str, Any]:
        """Put an index in and return its descriptor."""
        kind = f"{DOCKER}.distribution.manifest.list.v2+json" if docker else f"{OCI}.index.v1+json"
        data = document({"schemaVersion": 2, "mediaType": kind, "manifests": list(entries)})
        return self.add(data, kind)

    def write(self, folder: Path, *entries: dict[str, Any]) -> Path:
        """Write it with an index of these descriptors."""
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "manifests": list(entries)}
        (folder / "index.json").write_bytes(document(index))
        for name, data in self.blobs.items():
            (folder / "blobs/sha256" / name.partition(":")[2]).write_bytes(data)
        return folder


def named(entry: dict[str, Any], tag: str) -> dict[str, Any]:
    """Return a descriptor with a name."""
    return {**entry, "annotations": {"org.opencontainers.image.ref.name": tag}}


def write_image_of(folder: Path, *tars: bytes, how: str = "gzip") -> Path:
    """Write a layout with one image, named ``x``."""
    layout = Layout()
    return layout.write(folder, named(layout.image(*tars, how=how), "x"))
