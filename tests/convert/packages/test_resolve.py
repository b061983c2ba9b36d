"""Tests of the resolver, against every choice that there is, and against apt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.packages.matching import STRONG, agrees, excludes, offered_by
from convert.packages.pool import Pools, open_pools
from convert.packages.pools.files import Candidate, PoolFiles, Stock
from convert.packages.resolve import Resolution, resolve
from formats.core.errors import UnsupportedError
from formats.core.opener import open_artifact
from formats.core.package import Package
from formats.core.tree import TreeIndex
from formats.packages.deb.control import describe
from formats.packages.deb.stanzas import parse_stanza
from tests.images.debs import deb
from tests.support.memory_tree import MemoryTree
from tests.support.programs import need, run


def package(name: str, version: str = "1", architecture: str = "amd64", **fields: str) -> Package:
    """Return a package; ``Multi_Arch`` stands for ``Multi-Arch``."""
    lines = {"Package": name, "Version": version, "Architecture": architecture}
    lines |= {key.replace("_", "-"): value for key, value in fields.items()}
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    return describe(parse_stanza(text.encode()), facts=("multi-arch", "priority"))


def pools_of(*packages: Package, absent: Iterable[str] = ()) -> Pools:
    files = PoolFiles(TreeIndex(MemoryTree([])), open_artifact([]).lend())
    stock = Stock(absent=set(absent))
    stock.candidates += [
        Candidate(item, files, f"{number}.deb".encode()) for number, item in enumerate(packages)
    ]
    return Pools([(files, stock)])


def added(resolution: Resolution) -> list[str]:
    found = (addition.candidate.package for addition in resolution.additions)
    return [f"{item.name} {item.version}" for item in found]


def resolved(
    names: Sequence[str], *packages: Package, installed: Sequence[Package] = ()
) -> list[str]:
    return added(resolve([], names, pools_of(*packages), installed, "amd64"))


def test_what_is_needed_is_added_with_the_reason() -> None:
    pools = pools_of(
        package("app", Depends="lib (>= 1)"), package("lib", Pre_Depends="base"), package("base")
    )
    found = resolve([], ["app"], pools, architecture="amd64").additions
    assert [(item.candidate.package.name, item.reason, item.is_named) for item in found] == [
        ("app", "asked for by name", True),
        ("lib", "because of app: Depends: lib (>= 1)", False),
        ("base", "because of lib: Pre-Depends: base", False),
    ]


def test_wishes_are_not_followed() -> None:
    assert resolved(
        ["app"], package("app", Recommends="more", Suggests="most"), package("more")
    ) == ["app 1"]


def test_the_newest_version_is_taken() -> None:
    assert resolved(
        ["app"], package("app", "1.9"), package("app", "1.10"), package("app", "1.2")
    ) == ["app 1.10"]


def test_a_version_can_be_asked_for() -> None:
    packages = package("app", "1"), package("app", "2")
    assert resolved(["app=1"], *packages) == ["app 1"]


def test_an_older_version_is_taken_if_the_newest_cannot_be_installed() -> None:
    packages = package("app", "1"), package("app", "2", Depends="nowhere")
    assert resolved(["app"], *packages) == ["app 1"]


def test_the_first_alternative_that_can_be_installed_is_taken() -> None:
    packages = (
        package("app", Depends="none | broken | second | third"),
        package("broken", Depends="none"),
        package("second"),
        package("third"),
    )
    assert resolved(["app"], *packages) == ["app 1", "second 1"]


def test_what_is_chosen_already_is_preferred_to_earlier_alternatives() -> None:
    packages = package("app", Depends="second, first | second"), package("first"), package("second")
    assert resolved(["app"], *packages) == ["app 1", "second 1"]


def test_the_base_is_preferred_to_earlier_alternatives() -> None:
    packages = package("app", Depends="first | second"), package("first"), package("second")
    assert resolved(["app"], *packages, installed=[package("second")]) == ["app 1"]


def test_a_package_of_the_name_comes_before_those_that_provide_it() -> None:
    packages = package("app", Depends="mail"), package("a", Provides="mail"), package("mail")
    assert resolved(["app"], *packages) == ["app 1", "mail 1"]


def test_of_those_that_provide_a_name_the_priority_decides_before_the_name() -> None:
    packages = (
        package("app", Depends="mail"),
        package("a", Provides="mail", Priority="extra"),
        package("b", Provides="mail", Priority="standard"),
    )
    assert resolved(["app"], *packages) == ["app 1", "b 1"]


def test_only_a_version_that_is_provided_meets_one_that_is_wanted() -> None:
    packages = (
        package("app", Depends="api (>= 2)"),
        package("a", Provides="api"),
        package("b", Provides="api (= 1)"),
        package("c", Provides="api (= 2.1)"),
    )
    assert resolved(["app"], *packages) == ["app 1", "c 1"]


def test_a_package_in_the_base_that_is_too_old_is_replaced() -> None:
    pools = pools_of(package("app", Depends="lib (>= 2)"), package("lib", "2"))
    old = package("lib", "1")
    found = resolve([], ["app"], pools, [old], "amd64").additions
    assert [(item.candidate.package.name, item.former) for item in found] == [
        ("app", None),
        ("lib", old),
    ]


def test_what_the_base_has_in_the_same_version_is_not_added_again() -> None:
    found = resolve([], ["app"], pools_of(package("app")), [package("app")], "amd64")
    assert not found.additions
    assert [item.name for item in found.present] == ["app"]


@pytest.mark.parametrize(
    ("name", "there", "expected"),
    [
        ("app", "1", ["app 2"]),
        ("app", "2", []),
        ("app", "3", []),
        ("app=2", "3", ["app 2"]),
        ("service", "1", []),
    ],
)
def test_what_is_named_is_no_older_than_in_the_base_unless_that_is_said(
    name: str, there: str, expected: list[str]
) -> None:
    own = package("app", there, Provides="service")
    pooled = [package("app", "2"), package("other", "9", Provides="service")]
    assert resolved([name], *pooled, installed=[own]) == expected


def test_what_the_base_has_in_an_older_version_is_added_when_asked_for() -> None:
    assert resolved(["app"], package("app", "2"), installed=[package("app", "1")]) == ["app 2"]


def test_an_alternative_that_conflicts_is_passed_over() -> None:
    packages = (
        package("app", Depends="one, mail"),
        package("one", Breaks="a"),
        package("a", Provides="mail"),
        package("b", Provides="mail"),
    )
    assert resolved(["app"], *packages) == ["app 1", "one 1", "b 1"]


def test_a_choice_is_taken_back_when_it_turns_out_to_be_in_the_way() -> None:
    packages = (
        package("app", Depends="lib, deep"),
        package("lib", "2"),
        package("lib", "1"),
        package("deep", Depends="lib (<< 2)"),
    )
    assert sorted(resolved(["app"], *packages)) == ["app 1", "deep 1", "lib 1"]


def test_packages_may_conflict_with_what_they_provide_themselves() -> None:
    packages = (
        package("one", Provides="mail", Conflicts="mail"),
        package("two", Provides="mail", Conflicts="mail"),
    )
    assert resolved(["one"], *packages) == ["one 1"]
    with pytest.raises(UnsupportedError, match="cannot be beside one 1"):
        resolved(["one", "two"], *packages)


def test_packages_that_need_each_other_are_added() -> None:
    packages = package("a", Depends="b"), package("b", Depends="a")
    assert resolved(["a"], *packages) == ["a 1", "b 1"]


def test_a_chain_of_ten_thousand_needs_is_followed() -> None:
    chain = [package(f"p{n}", Depends=f"p{n + 1}") for n in range(10_000)]
    assert len(resolved(["p0"], *chain, package("p10000"))) == 10_001
    with pytest.raises(UnsupportedError, match=r"needed by p9999 .*… *, needed by p0"):
        resolved(["p0"], *chain)


def test_everything_that_is_missing_is_named_with_who_needs_it() -> None:
    packages = (
        package("app", Depends="lib, gone (>= 3) | lost"),
        package("lib", Depends="deep"),
        package("deep", Pre_Depends="old (>= 2), away"),
        package("old", "1"),
    )
    pools = pools_of(*packages, absent=["away"])
    with pytest.raises(UnsupportedError) as caught:
        resolve([], ["app", "nothing"], pools, architecture="amd64")
    assert caught.value.message == (
        "4 things are not in the pools:"
        " old (>= 2) (there is old 1), needed by deep (Pre-Depends), needed by lib, needed by app;"
        " away (an index lists it, and the file is not there), needed by deep (Pre-Depends),"
        " needed by lib, needed by app;"
        " gone (>= 3) | lost, needed by app (Depends);"
        " nothing, which was asked for"
    )


def test_what_a_given_package_needs_is_added_and_the_given_one_is_not_replaced() -> None:
    pools = pools_of(package("app", "9"), package("lib", Depends="app"))
    assert added(resolve([package("app", Depends="lib")], [], pools, [], "amd64")) == ["lib 1"]


def test_packages_of_other_architectures_are_not_taken() -> None:
    packages = (
        package("app", Depends="lib"),
        package("lib", "2", "arm64"),
        package("lib", "1", "all"),
    )
    assert resolved(["app"], *packages) == ["app 1", "lib 1"]


def test_a_package_of_another_architecture_serves_if_it_says_so() -> None:
    app = package("app", Depends="tool, lib")
    tool = package("tool", "1", "i386", Multi_Arch="foreign")
    lib = package("lib", "1", "i386", Multi_Arch="same")
    pools = pools_of(package("lib", "2"))
    with pytest.raises(UnsupportedError, match=r"lib \(there is lib 1\)"):
        resolve([app, tool, lib], [], pools, [], "amd64")
    assert added(resolve([app, tool], [], pools, [], "amd64")) == ["lib 2"]


def test_conflicts_of_what_is_there_anyhow_are_told() -> None:
    pools = pools_of(package("new", Breaks="old (<< 2)"))
    found = resolve([], ["new"], pools, [package("old", "1")], "amd64")
    assert found.conflicts == ("new 1 (amd64) conflicts with old 1 (amd64): old (<< 2)",)


# every choice that there is

_NAMES = "abcd"
_RELATION = st.builds(
    lambda name, limit: f"{name} {limit}".strip(),
    st.sampled_from([*_NAMES, "v"]),
    st.sampled_from(["", "(= 1)", "(>= 2)", "(<< 2)"]),
)
_CLAUSE = st.lists(_RELATION, min_size=1, max_size=2).map(" | ".join)
_PACKAGE = st.fixed_dictionaries(
    {},
    optional={
        "Depends": st.lists(_CLAUSE, min_size=1, max_size=2).map(", ".join),
        "Conflicts": _RELATION,
        "Provides": st.sampled_from(["v", "v (= 1)", "v (= 2)"]),
    },
)
_WORLD = st.dictionaries(st.tuples(st.sampled_from(_NAMES), st.sampled_from("12")), _PACKAGE)


def _is_sound(packages: Iterable[Package]) -> bool:
    """Tell whether packages can be installed together, by the definition of it."""
    chosen = list(packages)
    if len({item.name for item in chosen}) != len(chosen):
        return False
    if any(excludes(one, other) for one in chosen for other in chosen if one is not other):
        return False
    offers = [(item.system, offered) for item in chosen for offered in offered_by(item)]
    return all(
        any(
            offered.name == relation.name and agrees(system, offered, relation)
            for relation in requirement.alternatives
            for system, offered in offers
        )
        for item in chosen
        for requirement in item.requirements
        if requirement.when in STRONG
    )


@settings(max_examples=400, deadline=None)
@given(_WORLD)
def test_there_is_a_resolution_exactly_if_some_choice_of_packages_fits(
    world: Mapping[tuple[str, str], Mapping[str, str]],
) -> None:
    packages = [package(*key, **fields) for key, fields in sorted(world.items())]
    possible = any(
        _is_sound(choice) and any(item.name == "a" for item in choice)
        for size in range(1, len(packages) + 1)
        for choice in combinations(packages, size)
    )
    try:
        found = resolve([], ["a"], pools_of(*packages), [], "amd64")
    except UnsupportedError:
        assert not possible
    else:
        chosen = [addition.candidate.package for addition in found.additions]
        assert _is_sound(chosen)
        assert chosen[0].name == "a"


# apt

_REPOSITORY = (
    package("server", Depends="lib (>= 2), default-mta | mail-agent, tool:any, data"),
    package("lib", "2", Depends="data (= 2)"),
    package("lib", "1"),
    package("data", "2", "all"),
    package("postfix", Provides="mail-agent", Conflicts="mail-agent", Pre_Depends="debconf"),
    package("default-mta", Depends="away"),
    package("tool", Multi_Arch="allowed"),
    package("debconf", Depends="debconf-i18n | debconf-english"),
    package("debconf-english"),
    package("broken", Depends="server, default-mta"),
    package("epochs", Depends="lib (>= 1:0)"),
    package("old", Depends="lib (<< 2)"),
    package("api", Provides="abi (= 1.5)"),
    package("user", Depends="abi (>= 1.2), abi (<< 2)"),
    package("useless", Depends="abi (>= 2)"),
    package("loop", Depends="loop-data"),
    package("loop-data", "1", "all", Depends="loop (= 1)"),
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("apt-ftparchive", "apt-get")
    top = tmp_path_factory.mktemp("repository")
    pool = top / "pool"
    pool.mkdir()
    for item in _REPOSITORY:
        deb(pool / f"{item.name}_{item.version}.deb", control=_control(item))
    index = top / "dists/stable/main/binary-amd64/Packages"
    index.parent.mkdir(parents=True)
    index.write_bytes(run("apt-ftparchive", "packages", "pool", cwd=top).stdout)
    fields = {"Suite": "stable", "Components": "main", "Architectures": "amd64"}
    words = (f"APT::FTPArchive::Release::{key}={value}" for key, value in fields.items())
    options = [part for word in words for part in ("-o", word)]
    release = run("apt-ftparchive", *options, "release", "dists/stable", cwd=top).stdout
    (top / "dists/stable/Release").write_bytes(release)
    return top


def _control(item: Package) -> bytes:
    fields = {"Package": item.name, "Version": item.version, "Architecture": item.architecture}
    for when in ("Depends", "Pre-Depends"):
        fields[when] = ", ".join(str(one) for one in item.requirements if one.when == when)
    fields["Provides"] = ", ".join(map(str, item.provides))
    fields["Conflicts"] = ", ".join(map(str, item.conflicts))
    fields["Multi-Arch"] = item.facts.get("multi-arch", "")
    fields |= {"Maintainer": "A <a@example.org>", "Description": "x"}
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value).encode()


_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)


@pytest.fixture(scope="module")
def apt(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The words that start an apt with nothing but the repository."""
    root = tmp_path_factory.mktemp("apt")
    for folder in ("etc/apt/preferences.d", "lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "status").touch()
    (root / "sources.list").write_text(f"deb [trusted=yes] file:{repository} stable main\n")
    words = {
        "Dir::Etc": f"{root}/etc/apt",
        "Dir::Etc::sourcelist": f"{root}/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": f"{root}/lists",
        "Dir::State::status": f"{root}/status",
        "Dir::Cache": f"{root}/cache",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
    }
    command = [
        "apt-get",
        *(word for key, value in words.items() for word in ("-o", f"{key}={value}")),
    ]
    run(*command, "update", timeout=60)
    return command


def test_an_older_version_is_taken_where_apt_gives_up(apt: Sequence[str]) -> None:
    done = run(*apt, "-s", "install", "old", timeout=60, check=False)
    assert b"lib (< 2) but 2 is to be installed" in done.stdout
    assert resolved(["old"], *_REPOSITORY) == ["old 1", "lib 1"]


@pytest.mark.parametrize("name", sorted({item.name for item in _REPOSITORY} - {"old"}))
def test_apt_takes_the_same_packages(apt: Sequence[str], repository: Path, name: str) -> None:
    done = run(*apt, "-s", "install", name, timeout=60, check=False)
    expected = [" ".join(match) for match in _INSTALLED.findall(done.stdout.decode())]
    with open_artifact([]) as artifact:
        pools = open_pools([str(repository)], artifact, architecture="amd64")
        if done.returncode:
            with pytest.raises(UnsupportedError):
                resolve([], [name], pools, [], "amd64")
        else:
            found = added(resolve([], [name], pools, [], "amd64"))
            assert sorted(found) == sorted(expected)
