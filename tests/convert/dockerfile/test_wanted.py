"""Which packages were asked for, by the record of each package manager."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from convert.dockerfile.choose import choose_packages
from convert.dockerfile.wanted import Wanted, needed_by_none, wanted_packages
from formats.core.package import Package, PackageSystem, Relation, Requirement
from formats.core.tree import TreeIndex
from tests.convert.dockerfile.support import escaped
from tests.support.memory_tree import MemoryTree, memory_tree


def package(
    name: str,
    *needs: str,
    system: PackageSystem = PackageSystem.RPM,
    architecture: str = "x86_64",
    priority: str = "optional",
    weak: str = "",
) -> Package:
    requirements = [Requirement((Relation(need),), "Requires") for need in needs]
    if weak:
        requirements.append(Requirement((Relation(weak),), "Recommends"))
    return Package(
        system,
        name,
        "1.0-1",
        architecture,
        requirements=tuple(requirements),
        facts={"priority": priority},
    )


def asked(text: str, *names: str, system: PackageSystem = PackageSystem.RPM) -> Wanted:
    index = TreeIndex(memory_tree(text))
    wanted, _ = wanted_packages(index, [package(name, system=system) for name in names], system)
    return wanted


def test_apt_records_what_came_by_itself() -> None:
    states = escaped("Package: lib1\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\n")
    text = f"f 644 0:0 var/lib/apt/extended_states {states}"
    wanted = asked(text, "a", "b", "lib1", system=PackageSystem.DEB)
    assert wanted.names == ("a", "b")


def test_zypper_records_what_came_by_itself() -> None:
    text = "f 644 0:0 var/lib/zypp/AutoInstalled # written\\x20by\\nlib1\\n"
    assert asked(
        "f 644 0:0 var/lib/zypp/AutoInstalled #\\x20note\\nlib1\\n", "a", "lib1"
    ).names == ("a",)
    assert asked(text, "a").is_known


def test_yum_records_why_each_package_is_there() -> None:
    text = (
        "f 644 0:0 var/lib/yum/yumdb/h/0abc-httpd-tools-2.4-1.el7-x86_64/reason dep\n"
        "f 644 0:0 var/lib/yum/yumdb/m/1abc-mod_ssl-2.4-1.el7-x86_64/reason user\n"
    )
    assert asked(text, "httpd-tools", "mod_ssl").names == ("mod_ssl",)


def test_dnf5_records_why_each_package_is_there() -> None:
    state = (
        'version = "1.0"\n[packages]\n"lib1.x86_64" = {reason = "Dependency"}\n'
        '"python3.11.noarch" = {reason = "User"}\n'
    )
    text = f"f 644 0:0 usr/lib/sysimage/libdnf5/packages.toml {escaped(state)}"
    assert asked(text, "lib1", "python3.11").names == ("python3.11",)


def dnf_history(tmp_path: Path, *rows: tuple[str, int, int], pragma: str = "") -> MemoryTree:
    """Return a root with dnf's history: name, number of the transaction, reason."""
    file = tmp_path / "history.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(pragma)
        connection.executescript(
            "CREATE TABLE trans (id INTEGER PRIMARY KEY, state INTEGER);"
            "CREATE TABLE rpm (item_id INTEGER, name TEXT);"
            "CREATE TABLE trans_item (id INTEGER PRIMARY KEY, trans_id INTEGER, item_id INTEGER,"
            " action INTEGER, reason INTEGER, state INTEGER);"
            "INSERT INTO trans VALUES (1, 1), (2, 1), (3, 2);"
        )
        for number, (name, transaction, reason) in enumerate(rows):
            connection.execute("INSERT INTO rpm VALUES (?, ?)", (number, name))
            connection.execute(
                "INSERT INTO trans_item VALUES (NULL, ?, ?, 1, ?, 1)", (transaction, number, reason)
            )
    connection.close()
    content = "".join(f"\\x{byte:02x}" for byte in file.read_bytes())
    return memory_tree(f"f 644 0:0 var/lib/dnf/history.sqlite {content}")


@pytest.mark.parametrize("pragma", ["", "PRAGMA journal_mode = WAL;"])
def test_dnf_records_why_each_package_is_there(tmp_path: Path, pragma: str) -> None:
    tree = dnf_history(
        tmp_path,
        *(("lib1", 1, 1), ("lib2", 1, 4), ("httpd", 1, 2), ("vim", 1, 2), ("group", 1, 5)),
        *(("lib1", 2, 2), ("vim", 2, 1), ("httpd", 3, 1)),  # the last one failed
        pragma=pragma,
    )
    names = ("lib1", "lib2", "httpd", "vim", "group", "by-hand")
    found, _ = wanted_packages(
        TreeIndex(tree), [package(name) for name in names], PackageSystem.RPM
    )
    assert found.names == ("by-hand", "group", "httpd", "lib1")


def test_a_history_that_is_no_database_is_as_good_as_none() -> None:
    wanted = asked("f 644 0:0 var/lib/dnf/history.sqlite *5000", "a")
    assert (wanted.names, wanted.is_known) == (("a",), False)


def test_apk_keeps_what_its_world_asks_of_versions() -> None:
    text = "f 644 0:0 etc/apk/world nginx=1.26-r0\\nphp83@edge\\ngone\\n!mariadb\\n.virtual\\n"
    wanted = asked(text, "nginx", "php83", "mariadb", system=PackageSystem.APK)
    assert wanted.names == ("nginx", "php83")
    assert wanted.constraints == {"nginx": "=1.26-r0", "php83": "@edge"}


def test_pacman_records_what_came_by_itself() -> None:
    text = (
        "f 644 0:0 var/lib/pacman/local/a-1-1/desc %NAME%\\na\\n\\n%REASON%\\n1\\n\n"
        "f 644 0:0 var/lib/pacman/local/b-1-1/desc %NAME%\\nb\\n\\n%SIZE%\\n1\\n\n"
    )
    assert asked(text, "a", "b", system=PackageSystem.PACMAN).names == ("b",)


def test_without_a_record_those_count_that_no_other_one_needs() -> None:
    found = needed_by_none(
        [
            package("app", "lib"),
            package("lib", "libc"),
            package("libc"),
            package("one", "two"),
            package("two", "one"),
            package("tool", weak="doc"),
            package("doc"),
        ]
    )
    assert found == ("app", "doc", "one", "tool")


def chosen(
    *packages: Package, wanted: str, needed: str = "", init: bool = False
) -> tuple[str, ...]:
    return choose_packages(
        Wanted(tuple(sorted(wanted.split())), "a record"),
        packages,
        packages[0].system,
        needed.split(),
        init=init,
    ).names


def test_what_belongs_to_the_machine_is_not_installed() -> None:
    packages = [package(name) for name in ("httpd", "kernel-core", "grub2-pc", "cloud-init")]
    assert chosen(*packages, wanted="httpd kernel-core grub2-pc cloud-init") == ("httpd",)


def test_what_is_started_is_installed_though_it_is_plumbing() -> None:
    assert chosen(package("openssh-server"), wanted="openssh-server") == ()
    assert chosen(package("openssh-server"), wanted="", needed="openssh-server") == (
        "openssh-server",
    )


def test_what_is_started_is_not_named_where_something_else_brings_it() -> None:
    packages = (package("nginx-full", "nginx"), package("nginx"))
    assert chosen(*packages, wanted="nginx-full", needed="nginx") == ("nginx-full",)


def test_an_init_system_is_installed_where_one_stays() -> None:
    packages = (package("systemd"), package("httpd"))
    assert chosen(*packages, wanted="systemd httpd", init=True) == ("httpd", "systemd")
    assert chosen(*packages, wanted="systemd httpd") == ("httpd",)


def test_what_the_official_image_has_is_not_named() -> None:
    deb = PackageSystem.DEB
    packages = (
        package("base", "perl", system=deb, priority="required"),
        package("perl", system=deb),
        package("redis", system=deb),
    )
    assert chosen(*packages, wanted="base perl redis") == ("redis",)


def test_a_name_that_is_no_name_of_a_package_is_not_written() -> None:
    packages = (package("a; touch /pwned"), package("--option"), package("ok"))
    found = choose_packages(
        Wanted(("--option", "a; touch /pwned", "ok"), "a record"),
        packages,
        PackageSystem.RPM,
        (),
        init=False,
    )
    assert found.names == ("ok",)
    assert {why for _, why in found.left_out} == {"no Dockerfile can name it"}


def test_an_init_system_that_stays_is_named_though_the_image_might_need_one() -> None:
    deb = PackageSystem.DEB
    packages = (
        package("base", "systemd-sysv", system=deb, priority="required"),
        package("systemd-sysv", system=deb),
    )
    assert chosen(*packages, wanted="systemd-sysv", init=True) == ("systemd-sysv",)
    assert chosen(*packages, wanted="systemd-sysv") == ()
