"""Sources of packages that somebody added go into the image; the distribution's do not."""

from __future__ import annotations

from convert.dockerfile.originals import read_originals
from convert.dockerfile.sources import Sources, third_party_sources
from formats.core.package import PackageSystem
from formats.core.tree import TreeIndex
from tests.convert.dockerfile.support import escaped
from tests.support.memory_tree import memory_tree


def sources(text: str, system: PackageSystem) -> Sources:
    index = TreeIndex(memory_tree(text))
    return third_party_sources(index, read_originals(index), system)


def paths(found: Sources) -> list[str]:
    return [entry.path.decode() for entry in found.entries]


def test_sources_of_apt_are_copied_with_their_keys_in_both_forms() -> None:
    old = escaped(
        "deb [signed-by=/etc/apt/keyrings/a.gpg] https://apt.example.org/deb stable main\n"
    )
    new = escaped("Types: deb\nURIs: http://deb822.example.org/x\nSuites: stable\n")
    own = escaped("deb http://deb.debian.org/debian bookworm-backports main\n")
    found = sources(
        f"f 644 0:0 etc/apt/sources.list.d/a.list {old}\n"
        f"f 644 0:0 etc/apt/sources.list.d/b.sources {new}\n"
        f"f 644 0:0 etc/apt/sources.list.d/backports.list {own}\n"
        "f 644 0:0 etc/apt/keyrings/a.gpg key\n"
        "f 644 0:0 usr/share/keyrings/debian.gpg key\n"
        "f 644 0:0 etc/apt/preferences.d/pin pin\n"
        "f 644 0:0 var/lib/dpkg/info/keyring.list /usr/share/keyrings/debian.gpg\\n\n",
        PackageSystem.DEB,
    )
    assert paths(found) == [
        "etc/apt/keyrings/a.gpg",
        "etc/apt/preferences.d/pin",
        "etc/apt/sources.list.d/a.list",
        "etc/apt/sources.list.d/b.sources",
    ]
    assert found.hosts == ("apt.example.org", "deb822.example.org")
    assert found.is_tls


def test_other_lines_of_the_main_list_of_apt_are_told() -> None:
    lines = (
        "deb http://security.debian.org/ bookworm main\n"
        "# deb http://commented.example.org/ x main\n"
        "deb http://mirror.example.org/debian bookworm main\n"
    )
    found = sources(f"f 644 0:0 etc/apt/sources.list {escaped(lines)}", PackageSystem.DEB)
    assert found.untold == ("deb http://mirror.example.org/debian bookworm main",)
    assert not found.entries


def test_a_host_is_not_the_distributions_for_ending_like_it() -> None:
    line = escaped("deb http://notdebian.org/ stable main\n")
    text = f"f 644 0:0 etc/apt/sources.list.d/a.list {line}"
    assert sources(text, PackageSystem.DEB).hosts == ("notdebian.org",)


def test_a_password_in_an_address_is_not_its_host() -> None:
    line = escaped("deb https://user:canary@apt.example.org:8443/ stable main\n")
    found = sources(f"f 644 0:0 etc/apt/sources.list.d/a.list {line}", PackageSystem.DEB)
    assert found.hosts == ("apt.example.org",)


def test_repositories_of_dnf_are_copied_with_their_keys() -> None:
    repo = escaped("[x]\nbaseurl=https://rpm.example.org/$releasever/\ngpgcheck=1\n")
    found = sources(
        f"f 644 0:0 etc/yum.repos.d/x.repo {repo}\nf 644 0:0 etc/pki/rpm-gpg/X key\n",
        PackageSystem.RPM,
    )
    assert paths(found) == ["etc/pki/rpm-gpg/X", "etc/yum.repos.d/x.repo"]


def test_repositories_of_apk_are_lines() -> None:
    lines = "https://dl-cdn.alpinelinux.org/alpine/v3.20/main\n@x https://apk.example.org/y\n"
    found = sources(f"f 644 0:0 etc/apk/repositories {escaped(lines)}", PackageSystem.APK)
    assert found.lines == ("@x https://apk.example.org/y",)
