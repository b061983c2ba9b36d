from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.rules.globs import PathPatterns, PatternSet, components, escaped
from formats.core.errors import UsageError
from tests.support.programs import need

PATHS = sorted(
    os.fsencode(path)
    for path in (
        *("a", "b", ".a", "ab", "a.b", "-", "!", "^", "[", "]", "*", "?", "a\\b", "a b", "ba\n"),
        *("c/a", "c/b", "c/.a", "c/ab", "c/c/a", "c/c/b/a", "c/a-b/a", "c/[a]/b", "c/*/a"),
        *(".c/a", ".c/.c/a", "d/a/a/a/a", "d/a/b/a/b", "d/b/a", "d/ab/b", "d/aab", "d/b-", "d/é"),
        "d/\udcff",
    )
)
FOLDERS = sorted({path[:at] for path in PATHS for at in range(len(path)) if path[at] == 0x2F})
EVERY = sorted({*PATHS, *FOLDERS})

_SETS = ("[ab]", "[!a]", "[a-c]", "[!a-b]", "[]a]", "[!]]", "[*]", "[?]", "[[]", "[-a]", "[a-]")
_PIECE = st.sampled_from(["a", "b", "c", ".", "-", "*", "?", "é", *_SETS])
_NAME = st.lists(_PIECE, min_size=1, max_size=4).map("".join)
_COMPONENT = st.one_of(
    st.sampled_from(["**", "*", "?", "a", "b", "c", "d", ".c"]),
    _NAME.filter(lambda name: "**" not in name and name not in {".", ".."}),
)
PATTERN = st.lists(_COMPONENT, min_size=1, max_size=5).map("/".join)

_BASH = """\
shopt -s globstar dotglob nullglob
IFS=
while read -r pattern; do
    for path in $pattern; do [[ -e $path ]] && printf '%s\\0' "${path%/}"; done
    printf '\\0'
done
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("globs")
    for path in PATHS:
        place = os.path.join(os.fsencode(base), path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "xb"):
            pass
    return base


def bash_matches(folder: Path, patterns: Sequence[str]) -> list[set[bytes]]:
    """Return what bash expands each pattern to."""
    need("bash")
    done = subprocess.run(
        ["bash", "--norc", "-c", _BASH],
        input="\n".join(patterns).encode() + b"\n",
        capture_output=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        check=True,
        timeout=60,
    )
    found: list[set[bytes]] = [set()]
    for path in done.stdout.split(b"\0")[:-1]:
        if path:
            found[-1].add(path)
        else:
            found.append(set())
    assert len(found) == len(patterns) + 1
    return found[:-1]


def matching(compiled: PatternSet[int], path: bytes) -> list[int]:
    """Return the values of the patterns that match a path."""
    *folders, name = path.split(b"/")
    state = compiled.start()
    for part in folders:
        state = state.step(part) if state is not None else None
    return [] if state is None else list(state.values(name))


def our_matches(patterns: Iterable[str]) -> list[set[bytes]]:
    """Return what each pattern matches of the same paths, all matched together."""
    compiled: PatternSet[int] = PatternSet()
    found: list[set[bytes]] = []
    for number, pattern in enumerate(patterns):
        compiled.add(components(pattern), number)
        found.append(set())
    for path in EVERY:
        for number in matching(compiled, path):
            found[number].add(path)
    return found


def as_bash_has_it(pattern: str) -> str:
    """Return the pattern for bash, where ``**`` at the end also matches the folder in front."""
    return f"{pattern}/*" if pattern.rpartition("/")[2] == "**" else pattern


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(patterns=st.lists(PATTERN, min_size=1, max_size=12))
def test_patterns_match_what_bash_expands_them_to(folder: Path, patterns: list[str]) -> None:
    theirs = bash_matches(folder, [as_bash_has_it(pattern) for pattern in patterns])
    ours = our_matches(patterns)
    for pattern, expected, found in zip(patterns, theirs, ours, strict=True):
        assert found == expected, pattern


@pytest.mark.parametrize("pattern", ["", "/", "a//b", "a/./b", "../a", "/a/..", "a**", "/**x/a"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        components(pattern)


@pytest.mark.parametrize("pattern", ["/var/log", "var/log", "/var/log/"])
def test_slashes_at_the_ends_mean_nothing(pattern: str) -> None:
    assert components(pattern) == (b"var", b"log")


@pytest.mark.parametrize("path", EVERY)
def test_an_escaped_path_matches_itself_alone(path: bytes) -> None:
    compiled: PatternSet[int] = PatternSet()
    compiled.add(escaped(path), 1)
    assert [other for other in EVERY if matching(compiled, other)] == [path]


@pytest.mark.parametrize(
    ("pattern", "is_covered"),
    [
        ("/var", True),
        ("/var/**", True),
        ("/v*", True),
        ("/**", True),
        ("/var/*", False),
        ("/var/lib", False),
        ("/usr", False),
    ],
)
def test_a_folder_is_covered_if_nothing_of_it_is_left(pattern: str, is_covered: bool) -> None:
    assert PathPatterns(["/nope", pattern]).covers(b"var") is is_covered


def test_a_folder_inside_of_what_is_dropped_is_covered() -> None:
    assert PathPatterns(["/var"]).covers(b"var/lib")
    assert PathPatterns(["/var/**"]).covers(b"var/lib")


def test_what_cannot_match_any_more_has_no_state() -> None:
    compiled: PatternSet[None] = PatternSet()
    for number in range(1000):
        compiled.add(components(f"/var/log/{number}/*.gz"), None)
    state = compiled.start()
    assert state is not None
    assert state.step(b"usr") is None
    below = state.step(b"var")
    assert below is not None
    assert below.step(b"lib") is None


def test_a_state_is_made_once() -> None:
    compiled: PatternSet[None] = PatternSet()
    compiled.add(components("/a/**/x*/y"), None)
    state = compiled.start()
    assert state is not None
    inside = state.step(b"a")
    assert inside is not None
    deep = inside.step(b"b")
    assert deep is not None
    assert deep.step(b"c") is deep
    assert deep.step(b"x1") is deep.step(b"x2")
