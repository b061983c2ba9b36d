"""What a layer or a tar cannot hold: what is taken out, and what is said of it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from convert.layers.representable import Fitted, fit_layer, fit_tar
from convert.layers.tar import PAX_HEADER_BYTES, encode_tar
from formats.core.entry import Entry, Kind
from formats.core.finding import Finding
from formats.core.tree import Tree
from tests.support.listing import tree_listing
from tests.support.memory_tree import MemoryTree, memory_tree
from tests.support.programs import need, need_root, run
from tests.support.tree_strategies import trees

ACL = b"\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff"
CAP_NET_RAW = 1 << 13
CAP_SYS_CHROOT = 1 << 18
CAP_BPF = 1 << 39 - 32
CAPABILITY_1 = struct.pack("<III", 0x01000001, CAP_NET_RAW, CAP_SYS_CHROOT)
CAPABILITY_1_AS_2 = struct.pack("<IIIII", 0x02000001, CAP_NET_RAW, CAP_SYS_CHROOT, 0, 0)
_WORDS = (CAP_NET_RAW, CAP_SYS_CHROOT, CAP_BPF, 1)
CAPABILITY_2 = struct.pack("<IIIII", 0x02000001, *_WORDS)
CAPABILITY_3 = struct.pack("<IIIIII", 0x03000001, *_WORDS, 100_000)
"""Flags and version, then permitted and inheritable, low and high (linux/capability.h)."""


def told(findings: tuple[Finding, ...]) -> list[tuple[str, bytes, str]]:
    return [(finding.rule, finding.path, finding.action.value) for finding in findings]


def names(tree: Tree) -> list[bytes]:
    return [entry.path for entry in tree.entries()]


def with_xattrs(*xattrs: tuple[bytes, bytes]) -> MemoryTree:
    return MemoryTree([Entry(b"a", Kind.FILE, 0o644, xattrs=tuple(sorted(xattrs)))])


def xattrs_of(tree: Tree) -> dict[bytes, bytes]:
    return dict(list(tree.entries())[1].xattrs)


ODD = memory_tree("""
f 644 0:0 .wh.gone x
f 644 0:0 .wh..wh..opq
f 644 0:0 kept.wh.name
d 755 0:0 srv/.wh.folder
f 644 0:0 srv/.wh.folder/inside x
h link .wh.gone
s 755 0:0 run/socket
p 644 0:0 run/pipe
c 600 0:0 dev/whiteout 0:0
b 600 0:0 dev/zero-block 0:0
c 600 0:0 dev/null 1:3
""")


def test_a_layer_has_no_whiteouts_sockets_and_special_files() -> None:
    fitted = fit_layer(ODD)
    assert names(fitted.tree) == [b"", b"dev", b"kept.wh.name", b"link", b"run", b"srv"]
    assert told(fitted.findings) == [
        ("whiteout-name", b".wh..wh..opq", "dropped"),
        ("whiteout-name", b".wh.gone", "dropped"),
        ("special-file", b"dev/null", "dropped"),
        ("special-file", b"dev/whiteout", "dropped"),
        ("special-file", b"dev/zero-block", "dropped"),
        ("special-file", b"run/pipe", "dropped"),
        ("socket", b"run/socket", "dropped"),
        ("whiteout-name", b"srv/.wh.folder", "dropped"),
        ("whiteout-name", b"srv/.wh.folder/inside", "dropped"),
    ]


def test_a_tar_holds_all_but_sockets() -> None:
    fitted = fit_tar(ODD)
    assert set(names(ODD)) - set(names(fitted.tree)) == {b"run/socket"}
    assert told(fitted.findings) == [("socket", b"run/socket", "dropped")]


@given(trees())
def test_what_was_fitted_can_be_encoded_and_nothing_is_lost_silently(tree: MemoryTree) -> None:
    for fitted in (fit_layer(tree), fit_tar(tree)):
        assert b"".join(encode_tar(fitted.tree))
        kept = tree_listing(fitted.tree).keys()
        assert kept | {finding.path for finding in fitted.findings} == tree_listing(tree).keys()


@pytest.mark.parametrize(
    "name",
    [b"user.mime_type", b"user.", b"system.posix_acl_access", b"system.posix_acl_default"],
)
def test_an_xattr_that_means_the_same_everywhere_is_kept(name: bytes) -> None:
    fitted = fit_layer(with_xattrs((name, ACL)))
    assert xattrs_of(fitted.tree) == {name: ACL}
    assert fitted.findings == ()


def test_an_empty_xattr_is_dropped_since_no_client_would_see_it() -> None:
    fitted = fit_layer(with_xattrs((b"user.empty", b""), (b"user.full", b"y")))
    assert xattrs_of(fitted.tree) == {b"user.full": b"y"}
    assert "is empty" in fitted.findings[0].evidence


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        (b"trusted.overlay.opaque", "guest's own kernel"),
        (b"user.overlay.opaque", "overlay filesystems"),
        (b"user.fuseoverlayfs.origin", "fuse-overlayfs"),
        (b"user.containers.override_stat", "container storage"),
        (b"user.rootlesscontainers", "rootless runtimes"),
        (b"system.nfs4_acl", "NFS"),
        (b"system.other", "not known to mean the same"),
        (b"btrfs.compression", "not known to mean the same"),
        (b"user.a=b", "pax headers cannot hold"),
    ],
)
def test_any_other_xattr_is_dropped_with_the_reason(name: bytes, evidence: str) -> None:
    fitted = fit_layer(with_xattrs((name, b"y")))
    assert xattrs_of(fitted.tree) == {}
    assert told(fitted.findings) == [("xattr", b"a", "dropped")]
    assert evidence in fitted.findings[0].evidence


def test_labels_that_every_file_has_are_one_finding() -> None:
    label = ((b"security.selinux", b"system_u:object_r:etc_t:s0\0"),)
    tree = MemoryTree([Entry(b"%04d" % n, Kind.FILE, 0o644, xattrs=label) for n in range(1200)])
    fitted = fit_layer(tree)
    assert not any(entry.xattrs for entry in fitted.tree.entries())
    assert told(fitted.findings) == [("xattr", b"0000", "dropped")]
    assert "the first of 1,200 files" in fitted.findings[0].evidence


def test_a_tar_keeps_all_xattrs_that_it_can_name() -> None:
    kept = ((b"security.selinux", b"x"), (b"trusted.a", b"y"), (b"user.b", b"z"))
    fitted = fit_tar(with_xattrs(*kept, (b"user.c=d", b"")))
    assert xattrs_of(fitted.tree) == dict(kept)
    assert told(fitted.findings) == [("xattr", b"a", "dropped")]


def test_xattrs_that_are_too_large_together_lose_the_largest() -> None:
    most = PAX_HEADER_BYTES // 2
    fitted = fit_tar(with_xattrs((b"user.a", bytes(most)), (b"user.b", bytes(most + 1))))
    assert xattrs_of(fitted.tree).keys() == {b"user.a"}
    assert told(fitted.findings) == [("xattr", b"a", "dropped")]
    assert b"".join(encode_tar(fitted.tree))


@pytest.mark.parametrize("fit", [fit_layer, fit_tar])
def test_links_go_with_their_target(fit: Callable[[Tree], Fitted]) -> None:
    tree = memory_tree("f 644 0:0 a x\nh b a\nx a user.note y\nx a security.ima z")
    ours = tree_listing(fit(tree).tree)
    assert ours[b"b"].links == (b"a", b"b")


# File capabilities


@pytest.mark.parametrize(
    ("value", "version", "rewritten"),
    [(CAPABILITY_1, 1, CAPABILITY_1_AS_2), (CAPABILITY_3, 3, CAPABILITY_2)],
)
def test_capabilities_of_another_version_are_rewritten(
    value: bytes, version: int, rewritten: bytes
) -> None:
    fitted = fit_layer(with_xattrs((b"security.capability", value)))
    assert xattrs_of(fitted.tree) == {b"security.capability": rewritten}
    assert told(fitted.findings) == [("capability", b"a", "changed")]
    assert f"from version {version} to version 2" in fitted.findings[0].evidence


def test_capabilities_of_version_2_are_kept() -> None:
    fitted = fit_layer(with_xattrs((b"security.capability", CAPABILITY_2)))
    assert xattrs_of(fitted.tree) == {b"security.capability": CAPABILITY_2}
    assert fitted.findings == ()


@pytest.mark.parametrize("value", [b"", b"\0" * 20, CAPABILITY_2[:-1], CAPABILITY_2 + b"\0"])
def test_capabilities_that_linux_does_not_read_are_dropped(value: bytes) -> None:
    fitted = fit_layer(with_xattrs((b"security.capability", value)))
    assert xattrs_of(fitted.tree) == {}
    assert told(fitted.findings) == [("capability", b"a", "dropped")]


def test_the_kernel_takes_rewritten_capabilities_for_what_they_were(tmp_path: Path) -> None:
    need("setcap", "getcap")
    need_root()
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.touch()
    ours.touch()
    run("setcap", "-n", "100000", "cap_net_raw,cap_bpf+ep", theirs)
    # The kernel shows version 3 as it is, with the root's id at its end, to the initial namespace.
    value = os.getxattr(theirs, "security.capability")
    assert len(value) == 24
    fitted = fit_layer(with_xattrs((b"security.capability", value)))
    os.setxattr(ours, "security.capability", xattrs_of(fitted.tree)[b"security.capability"])
    shown = run("getcap", "-n", ours).stdout.decode().split()
    assert shown[1:] == ["cap_net_raw,cap_bpf=ep"]
