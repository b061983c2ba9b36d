from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.select.fstab import FstabLine, MountKind, parse_fstab
from tests.support.programs import need, run

_TEXT = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1)
_ESCAPE = st.sampled_from([r"\040", r"\011", r"\134", r"\043", "\\", r"\12", r"\0401"])
_FIELD = st.lists(st.one_of(_TEXT, _ESCAPE), min_size=1, max_size=4).map("".join)
_GAP = st.text(" \t", min_size=1, max_size=3)
_LINE = st.builds(
    lambda fields, gap, lead, tail: lead + gap.join(fields) + tail,
    st.lists(_FIELD, min_size=3, max_size=4),
    _GAP,
    st.text(" \t", max_size=2),
    st.sampled_from(["", " ", "\t0 0", " 0", " 1 2 "]),
)
_OTHER = st.sampled_from(["", "# UUID=x / ext4", "  # a comment", "UUID=a /only-two", "\t"])


def findmnt_lines(path: Path) -> list[tuple[str, str, str]]:
    """Return source, target and type of each line, as util-linux reads them."""
    done = run(
        *("findmnt", "--fstab", "--tab-file", path, "--list", "--json"),
        *("--output", "SOURCE,TARGET,FSTYPE"),
        check=False,
    )
    found = json.loads(done.stdout)["filesystems"] if done.stdout.strip() else []
    return [(row["source"], row["target"], row["fstype"]) for row in found]


def ours(text: str) -> list[tuple[str, str, str]]:
    return [
        (line.spec.decode(), line.target.decode(), line.type) for line in parse_fstab(text.encode())
    ]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(st.one_of(_LINE, _OTHER), min_size=1, max_size=20))
def test_lines_are_read_as_findmnt_reads_them(tmp_path: Path, lines: list[str]) -> None:
    need("findmnt")
    text = "\n".join(lines) + "\n"
    table = tmp_path / "fstab"
    table.write_text(text)
    assert ours(text) == findmnt_lines(table)


def line(text: str) -> FstabLine:
    (found,) = parse_fstab(text.encode())
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/dev/sda1 /home ext4", MountKind.VOLUME),
        ("UUID=1 /home auto defaults", MountKind.VOLUME),
        ("/dev/sda2 none swap sw 0 0", MountKind.SWAP),
        ("/swapfile swap swap defaults", MountKind.SWAP),
        ("tmpfs /tmp tmpfs size=1g", MountKind.IN_MEMORY),
        ("proc /proc proc", MountKind.IN_MEMORY),
        ("server:/export /srv nfs", MountKind.NETWORK),
        ("[fe80::1]:/export /srv nfs4", MountKind.NETWORK),
        ("//server/share /srv cifs credentials=/root/x", MountKind.NETWORK),
        ("share /mnt/host vboxsf", MountKind.NETWORK),
        ("/data /srv none bind 0 0", MountKind.REBOUND),
        ("/data /srv none rw,rbind 0 0", MountKind.REBOUND),
        ("/x.iso /mnt/x iso9660 loop,ro", MountKind.REBOUND),
        ("/x.iso /mnt/x iso9660 loop=/dev/loop3", MountKind.REBOUND),
        ("overlay /x overlay lowerdir=/a", MountKind.REBOUND),
    ],
)
def test_what_is_not_on_a_volume_is_known(text: str, kind: MountKind) -> None:
    assert line(text).kind is kind


@pytest.mark.parametrize(
    ("options", "is_mounted"),
    [
        ("defaults", True),
        ("noauto", False),
        ("ro,noauto,user", False),
        ("noauto,x-systemd.automount", True),
        ("nofail", True),
    ],
)
def test_noauto_is_not_mounted_unless_on_first_use(options: str, is_mounted: bool) -> None:
    assert line(f"/dev/sda1 /x ext4 {options}").is_mounted_at_boot is is_mounted


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", b""),
        ("/var", b"var"),
        ("/var/", b"var"),
        ("//var//log", b"var/log"),
        ("/var/./x/../log", b"var/log"),
        ("/../../etc", b"etc"),
        (r"/a\040b", b"a b"),
        (r"/a\377b", b"a\xffb"),
    ],
)
def test_a_mount_point_is_a_path_of_the_tree(target: str, path: bytes) -> None:
    assert line(f"/dev/sda1 {target} ext4").path == path


def test_lines_are_counted_from_one() -> None:
    assert [item.number for item in parse_fstab(b"# x\n\na /b c\r\n d /e f\n")] == [3, 4]
