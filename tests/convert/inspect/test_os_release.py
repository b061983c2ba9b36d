"""Which system a tree says it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.images.folder import FolderTree
from convert.inspect.guest import Guest
from convert.inspect.os_release import operating_system
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.programs import need, run
from tests.support.systemd import units_text

DEBIAN = (
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
    "VERSION_CODENAME=bookworm\nID=debian\n"
)


def _system(files: dict[str, str]) -> tuple[str, str, str | None, str]:
    found = operating_system(Guest(TreeIndex(memory_tree(units_text(files)))))
    assert found is not None
    return found.id, found.pretty_name, found.version_id, str(found.evidence)


def test_os_release_goes_before_everything_else() -> None:
    files = {"etc/os-release": DEBIAN, "etc/redhat-release": "CentOS release 6.10 (Final)\n"}

    name = "Debian GNU/Linux 12 (bookworm)"
    assert _system(files) == ("debian", name, "12", "/etc/os-release:5 (os-release)")


def test_the_one_in_usr_counts_where_etc_has_none() -> None:
    assert _system({"usr/lib/os-release": DEBIAN})[3] == "/usr/lib/os-release:5 (os-release)"


@pytest.mark.parametrize(
    ("files", "identity", "name", "version"),
    [
        (
            {"etc/redhat-release": "CentOS release 6.10 (Final)\n"},
            *("centos", "CentOS release 6.10 (Final)", "6.10"),
        ),
        (
            {"etc/redhat-release": "Red Hat Enterprise Linux Server release 7.9 (Maipo)\n"},
            *("rhel", "Red Hat Enterprise Linux Server release 7.9 (Maipo)", "7.9"),
        ),
        (
            {"etc/oracle-release": "Oracle Linux Server release 6.9\n", "etc/redhat-release": "x"},
            *("ol", "Oracle Linux Server release 6.9", "6.9"),
        ),
        (
            {"etc/system-release": "Amazon Linux AMI release 2018.03\n"},
            *("amzn", "Amazon Linux AMI release 2018.03", "2018.03"),
        ),
        (
            {"etc/SuSE-release": "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\n"},
            *("suse", "SUSE Linux Enterprise Server 11 (x86_64)", "11"),
        ),
        (
            {"etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\n"},
            *("ubuntu", "Ubuntu", "10.04"),
        ),
        ({"etc/alpine-release": "3.4.6\n"}, "alpine", "Alpine Linux 3.4.6", "3.4.6"),
        ({"etc/debian_version": "6.0.10\n"}, "debian", "Debian GNU/Linux 6.0.10", "6.0.10"),
        (
            {"etc/issue": "\nWelcome to Buildroot 2012.05\nbuildroot \\l\n"},
            *("buildroot", "Welcome to Buildroot 2012.05", "2012.05"),
        ),
        ({"etc/issue": "My Appliance \\r (\\l)\n"}, "linux", "My Appliance  ()", None),
        ({"etc/os-release": "NAME=Own\n"}, "linux", "Own", None),
        (
            {"usr/lib/os-release": 'ID=flatcar\nPRETTY_NAME="Flatcar 3760"\nVERSION_ID=3760.2.0\n'},
            *("flatcar", "Flatcar 3760", "3760.2.0"),
        ),
        (
            {"etc/os-release": 'NAME="Void"\nID="void"\nPRETTY_NAME="Void Linux"\n'},
            *("void", "Void Linux", None),
        ),
        (
            {
                "etc/os-release": "-> /etc/static/os-release",
                "etc/static": "-> /nix/store/abc-etc/etc",
                "nix/store/abc-etc/etc/os-release": 'ID=nixos\nVERSION_ID="23.11"\n',
            },
            *("nixos", "nixos", "23.11"),
        ),
        (
            {"nix/var/nix/profiles/system/nixos-version": "23.11.20231211.b4372c4\n"},
            *("nixos", "NixOS 23.11.20231211.b4372c4", "23.11.20231211.b4372c4"),
        ),
        ({"etc/NIXOS": ""}, "nixos", "NixOS", None),
        ({"etc/arch-release": ""}, "arch", "Arch Linux", None),
        (
            {"etc/photon-release": "VMware Photon Linux 1.0\nPHOTON_BUILD_NUMBER=62c543d\n"},
            *("photon", "VMware Photon Linux 1.0", "1.0"),
        ),
        ({"etc/br-version": "2012.02\n"}, "buildroot", "Buildroot 2012.02", "2012.02"),
        (
            {"etc/openwrt_release": "DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='15.05'\n"},
            *("openwrt", "OpenWrt", "15.05"),
        ),
        ({"etc/cirros/version": "0.6.2\n"}, "cirros", "CirrOS 0.6.2", "0.6.2"),
        ({"bin/busybox": "x"}, "busybox", "BusyBox", None),
    ],
)
def test_older_files_tell_it_too(
    files: dict[str, str], identity: str, name: str, version: str | None
) -> None:
    assert _system(files)[:3] == (identity, name, version)


def test_an_appliance_of_nothing_but_busybox_is_named_by_its_program(tmp_path: Path) -> None:
    need("busybox")
    (tmp_path / "bin").mkdir()
    shutil.copyfile("/bin/busybox", tmp_path / "bin" / "busybox")
    folder = FolderTree(tmp_path)
    found = operating_system(Guest(TreeIndex(folder)))
    folder.close()
    assert found is not None
    banner = run("busybox", "--help").stdout.decode()
    assert banner.startswith(f"BusyBox v{found.version_id} ")
    assert found.pretty_name == f"BusyBox {found.version_id}"


def test_no_file_no_system() -> None:
    assert operating_system(Guest(TreeIndex(memory_tree("")))) is None


@given(st.binary(max_size=80))
def test_any_bytes_give_text_that_json_can_hold(content: bytes) -> None:
    text = content.decode("utf-8", "surrogateescape")
    for path in ("etc/os-release", "etc/lsb-release", "etc/redhat-release", "etc/issue"):
        prefix = {"etc/os-release": "NAME=", "etc/lsb-release": "DISTRIB_ID="}.get(path, "")
        tree = memory_tree(units_text({path: prefix + text}))
        found = operating_system(Guest(TreeIndex(tree)))
        if found is not None:
            (found.id + found.name + found.pretty_name).encode()
