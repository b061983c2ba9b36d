"""What archives are made for, by where things are in them: bottles, sources."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest

from formats.archives import bottle
from tests.formats.archives.support import files, listing, opened_tree, told

CELLAR = b"home/linuxbrew/.linuxbrew/Cellar/"


def _tgz(path: Path, members: Mapping[str, bytes], mode: int = 0o755) -> Path:
    with tarfile.open(path, "w:gz") as target:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            target.addfile(info, BytesIO(content))
    return path


def _bottle(path: Path, system: str = "Linux", share: bytes = b"") -> Path:
    receipt = {"built_on": {"os": system}, "arch": "x86_64", "changed_files": []}
    keg = "jq/1.7.1"
    return _tgz(
        path,
        {
            f"{keg}/INSTALL_RECEIPT.json": json.dumps(receipt).encode(),
            f"{keg}/.brew/jq.rb": b"class Jq < Formula\n",
            f"{keg}/bin/jq": b"\x7fELF" + b"." * 3000 + b"@@HOMEBREW_PREFIX@@/lib/ld.so\0",
            f"{keg}/bin/sub/deep": b"",
            f"{keg}/lib/libjq.so": b"\x7fELF",
            f"{keg}/share/big": share,
        },
    )


def test_a_bottle_is_where_homebrew_puts_it(tmp_path: Path) -> None:
    rows = listing(_bottle(tmp_path / "jq--1.7.1.x86_64_linux.bottle.tar.gz"))
    assert CELLAR + b"jq/1.7.1/lib/libjq.so" in rows
    prefix = b"home/linuxbrew/.linuxbrew/"
    assert rows[prefix + b"opt/jq"].target == b"../Cellar/jq/1.7.1"
    assert rows[prefix + b"bin/jq"].target == b"../Cellar/jq/1.7.1/bin/jq"
    assert prefix + b"bin/sub" not in rows


def test_a_bottles_receipt_is_shown(tmp_path: Path) -> None:
    with opened_tree(_bottle(tmp_path / "x", "Macintosh")) as (tree, _):
        assert tree.info.facts == {
            "bottle": "jq 1.7.1",
            "platform": "macOS",
            "architecture": "x86_64",
        }


def test_files_with_placeholders_are_counted(tmp_path: Path) -> None:
    texts = told(_bottle(tmp_path / "x"))
    (text,) = [text for text in texts if text.startswith("homebrew-placeholders")]
    assert text.endswith("files that are left so: 1")


def test_it_is_said_where_not_all_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bottle, "_LOOKED_AT_BYTES", 4000)
    (text,) = [
        text
        for text in told(_bottle(tmp_path / "x", share=bytes(5000)))
        if text.startswith("homebrew-")
    ]
    assert text.endswith("files that are left so: in 4,000 bytes that were looked at, 1")


def test_a_placeholder_on_both_sides_of_a_block_is_found(tmp_path: Path) -> None:
    content = b"x" * ((1 << 20) - 7) + b"@@HOMEBREW_CELLAR@@" + b"x" * 100
    path = _bottle(tmp_path / "x", share=content)
    (text,) = [text for text in told(path) if text.startswith("homebrew-placeholders")]
    assert text.endswith("files that are left so: 2")


@pytest.mark.parametrize("receipt", [b"", b"[]", b"{" * 10_000, b'{"built_on": 1, "arch": []}'])
def test_a_receipt_that_says_nothing_is_no_matter(tmp_path: Path, receipt: bytes) -> None:
    path = _tgz(tmp_path / "x", {"jq/1/INSTALL_RECEIPT.json": receipt, "jq/1/bin/jq": b""})
    with opened_tree(path) as (tree, _):
        assert tree.info.facts == {"bottle": "jq 1"}


def test_a_receipt_among_other_things_makes_no_bottle(tmp_path: Path) -> None:
    path = _tgz(tmp_path / "x", {"a/b/INSTALL_RECEIPT.json": b"{}", "etc/passwd": b""})
    assert set(listing(path)) >= {b"a/b/INSTALL_RECEIPT.json", b"etc/passwd"}


def test_the_later_of_two_receipts_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as target:
        for content in (b"{}", b'{"arch": "arm64"}'):
            info = tarfile.TarInfo("jq/1/INSTALL_RECEIPT.json")
            info.size = len(content)
            target.addfile(info, BytesIO(content))
    assert _facts(path) == {"bottle": "jq 1", "architecture": "arm64"}


def _facts(path: Path) -> Mapping[str, str]:
    with opened_tree(path) as (tree, _):
        return tree.info.facts


@pytest.mark.parametrize(
    ("members", "seen"),
    [
        ({"redis-7/Makefile": b"all:", "redis-7/src/server.c": b"int"}, "Makefile"),
        ({"Makefile": b"", "configure": b"#!/bin/sh", "x.c": b""}, "Makefile, configure"),
        ({"a/setup.py": b"", "a/pyproject.toml": b""}, "pyproject.toml, setup.py"),
        ({"a/Makefile": b"", "b/x": b""}, None),
        ({"a/src/Makefile": b"", "a/README": b""}, None),
        ({"a/Makefile": b"", "a/bin/tool": b"\x7fELF..."}, None),
        ({"a/pom.xml": b"", "a/target/app.jar": b""}, None),
        ({"a/build.gradle": b"", "a/gradle/wrapper/gradle-wrapper.jar": b""}, "build.gradle"),
        ({"Makefile": b"", "Procfile": b"web: python app.py"}, None),
        ({"app/index.js": b""}, None),
    ],
)
def test_a_source_tree_is_told_by_what_builds_it(
    tmp_path: Path, members: Mapping[str, bytes], seen: str | None
) -> None:
    assert _facts(_tgz(tmp_path / "x.tgz", members)).get("source-tree") == seen
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as target:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o755 << 16
            target.writestr(info, content)
    assert _facts(tmp_path / "x.zip").get("source-tree") == seen


def test_what_is_in_a_source_tree_can_be_read(tmp_path: Path) -> None:
    path = _tgz(tmp_path / "x.tgz", {"Makefile": b"all:"})
    assert files(path) == {b"Makefile": b"all:"}


def test_metadata_made_to_take_long_to_look_through_does_not(tmp_path: Path) -> None:
    text = b"os:a" + b" " * 60_000 + b'"x\narchitecture: "x86_64",\r\n'
    path = _tgz(tmp_path / "x", {"metadata.yaml": text, "rootfs/etc/hostname": b"x"})
    with opened_tree(path) as (tree, _):
        assert tree.info.facts["lxd-architecture"] == "x86_64"
