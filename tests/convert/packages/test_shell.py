"""Scripts as they are followed, and as dash carries them out."""

from __future__ import annotations

import pytest

from convert.packages.scripts import ScriptHost
from convert.packages.shell.follow import Follower
from convert.packages.shell.lexer import ShellSyntaxError
from convert.packages.shell.outcome import Outcome
from convert.packages.shell.parser import parse_script
from convert.packages.shell.values import Variables
from formats.core.package import Script
from tests.convert.packages.support import package, root
from tests.support.programs import need, run

_PRINTING = {
    "quotes": """a='b c'; echo $a "$a" '$a' \\$a "\\$a" a'b'"c"d""",
    "fields": """a='1  2 3'; set -- $a; echo $# "$1" "$3"; set -- "$a"; echo $#
        set -- $none; echo $#""",
    "all-parameters": """set -- 'a b' c; for x in "$@"; do echo "<$x>"; done; echo "$*" $#""",
    "shift": """set -- a b c; shift; echo $1; shift 2; echo $#""",
    "defaults": """a=; echo ${a:-1} ${a-2} ${b:-3} ${b-4} ${a:+5} ${a+6} ${b+7}; echo ${c:=8} $c""",
    "lengths": """a=hello; echo ${#a} ${#b}""",
    "prefixes": """p=/usr/lib/a.b.so; echo ${p#*/} ${p##*/} ${p%.*} ${p%%.*} ${p%none}
        echo "${p##*/}" "${p#"/usr"}\"""",
    "patterns-in-quotes": """p='a*b'; echo "${p%'*b'}" "${p#a\\*}\"""",
    "if": """if [ a = b ]; then echo 1; elif [ -n "x" ] && [ ! -z y ]; then echo 2
        else echo 3; fi""",
    "test": """[ 2 -gt 1 -a 1 -le 1 ] && echo 1; [ ! a = b -o a = b ] && echo 2; test x && echo 3
        [ "" ] || echo 4; [ \\( 1 = 1 \\) ] && echo 5""",
    "case": """for x in configure abort-upgrade foo.bar z; do
        case "$x" in configure|abort*) echo 1;; *.*) echo 2;; ([xyz]) echo 3;; esac; done""",
    "functions": """f() { echo "$1-$#"; return 0; echo no; }; f a b; g() ( x=2; echo $x ); x=1
        g; echo $x""",
    "arguments-after-a-function": """f() { set -- z; }; set -- a; f b; echo $1""",
    "substitution": """a=$(echo x; echo y); echo "$a" $a
        echo `echo \\`echo in\\`` "$(echo "q $(echo r)")\"""",
    "pipes": """echo a:b:c | cut -d: -f2; printf '%s=%s\\n' a 1 b 2
        echo root:x:0 | grep -q ^root: && echo yes""",
    "here-documents": """n=1; cat <<EOF
a $n $(echo s) \\$n
EOF
cat <<'EOF'
$n
EOF
cat <<-EOF
\tt
\tEOF""",
    "break": """for x in a b c; do [ $x = b ] && continue
        [ $x = c ] && break; echo $x; done; echo $x""",
    "until": """x=; until [ "$x" = aaa ]; do x=a$x; echo $x; done; while false; do echo no; done""",
    "input-after-a-return": """f() { { return; } <<EOF
in
EOF
}
echo out | { f; cat; }""",
    "negation": """! false && echo 1; if ! true; then echo 2; else echo 3; fi""",
    "statuses": """true; echo $?; (exit 0) && echo 1; (exit 3) || echo 2
        f() { return 1; }; f || echo 3""",
    "redirections": """{ echo a; echo b >&2; } 2>/dev/null; echo c >/dev/null; (echo d) 2>&1""",
    "groups": """{ x=1; }; (x=2); echo $x; x=3 true; echo $x""",
    "comments": """echo a # b\necho a#b "#c" # d""",
    "continued-lines": """echo a \\\n  b; ec\\\nho c""",
    "separators": """IFS=:; x=a:b; set -- $x; echo $1; IFS=' '""",
    "locals": """f() { local y=2; echo $y; }; f; export z=3; echo $z; unset z; echo ${z-unset}""",
    "names": """basename /a/b.c .c; dirname /a/b; basename /a/b/""",
}


def _followed(text: str) -> tuple[Outcome, list[str]]:
    place = root()
    script = Script("postinst", "/bin/sh", text.encode())
    host = ScriptHost(place.system, package("tool").package, script)
    outcome = Follower(host, Variables()).follow(parse_script(text).body)
    return outcome, [reason for _, reason in host.reading.left]


@pytest.mark.parametrize("name", _PRINTING)
def test_what_is_known_is_what_dash_does(name: str) -> None:
    """Loops print nothing that is known: what is in them is printed by what comes after."""
    need("dash")
    text = _PRINTING[name]
    expected = run("dash", "-c", text).stdout.decode()
    collected = f"collect() {{\n{text}\n}}\ncollect"
    outcome, left = _followed(collected)
    assert left == []
    if outcome.output is None:
        assert any(word in text for word in ("for ", "until ")), "only loops are not collected"
        outcome = Outcome(output=_by_writing(text))
    assert outcome.output == expected


def _by_writing(text: str) -> str:
    """Return what a script prints, by having each command that prints append to a file."""
    place = root()
    assert place.left(f"echo() {{ printf '%s\\n' \"$*\" >>/printed; }}\n{text}") == []
    return place.text("/printed")


_SYNTAX = (
    "if true; then :; fi",
    "if true; then :",
    "if true; fi",
    "case x in a) ;; esac",
    "case x in a ;; esac",
    "for x in a b; do :; done",
    "for x; do :; done",
    "for in; do :; done",
    "f() { :; }",
    "f() :; }",
    "{ :; }",
    "{ : }",
    "( : )",
    "( :",
    "echo 'a",
    'echo "a',
    "echo $(echo a",
    "echo `echo a",
    "echo ${a",
    "echo $((1+1))",
    "a && || b",
    "a | | b",
    "; a",
    "a;; b",
    "cat <<E\na\nE",
    "while :; do :; done | cat",
    "x=1 y=2 cmd >a 2>&1 <b",
    "! ! true",
    "}",
    "done",
    "",
    "# nothing",
)


@pytest.mark.parametrize("text", _SYNTAX)
def test_what_dash_cannot_read_is_not_read(text: str) -> None:
    need("dash")
    is_read = run("dash", "-n", "-c", text, check=False).returncode == 0
    try:
        parse_script(text)
    except ShellSyntaxError:
        assert not is_read, "dash reads it"
    else:
        assert is_read, "dash does not read it"


@pytest.mark.parametrize(
    "text", ["x=(1 2)", "[[ a = b ]]", "echo ${a[1]}", "cat <(echo)", "echo ${a/b/c}"]
)
def test_syntax_of_bash_is_refused(text: str) -> None:
    with pytest.raises(ShellSyntaxError):
        parse_script(text)


@pytest.mark.parametrize(
    "text",
    ["$(" * 5000, "{ " * 5000, "if " * 5000, "${a:-" * 5000, "`" * 9999, "((" * 5000, "(" * 9000],
)
def test_deep_nesting_ends_in_an_error(text: str) -> None:
    with pytest.raises(ShellSyntaxError):
        parse_script(text)


def test_errors_name_the_line() -> None:
    with pytest.raises(ShellSyntaxError, match="'then' is missing") as caught:
        parse_script("a\n\nif b\nfi\n")
    assert caught.value.line == 4


def _counted(loops: int) -> str:
    """Return loops inside of each other, of nine rounds each."""
    heads = "".join(f"for x{n} in 1 2 3 4 5 6 7 8 9; do " for n in range(loops))
    return heads + ":" + "; done" * loops


@pytest.mark.parametrize(
    "text",
    [
        "while true; do x=1; done",
        "f() { f; }; f",
        "f() { f; f; }; f",
        "f() { " + "{ " * 20 + "f" + "; }" * 20 + "; }; f",
        _counted(5),
    ],
)
def test_scripts_without_an_end_are_left_at_some_point(text: str) -> None:
    _, left = _followed(text)
    assert left
    assert any(word in left[-1] for word in ("more than", "inside itself", "too deeply"))


@pytest.mark.parametrize(
    "text",
    ["true" + " && true" * 3000, "if false; then :; " + "elif false; then :; " * 3000 + "fi"],
    ids=["and", "elif"],
)
def test_long_chains_are_followed(text: str) -> None:
    assert _followed(text)[1] == []


def test_long_chains_of_what_is_not_known_are_followed() -> None:
    text = "if unknown; then :; " + "elif unknown; then :; " * 2000 + "fi"
    assert set(_followed(text)[1]) == {"unknown"}


def test_values_that_grow_without_end_are_not_known_at_some_point() -> None:
    doubled = "x=aaaaaaaaaaaaaaaaaaaa\n" + "x=$x$x\n" * 40 + "echo $x"
    assert _followed(doubled)[0].output is None


@pytest.mark.parametrize(
    "text",
    [
        "x=%s; while true; do y=${x##*?*?*?b}; done" % ("a" * 4000),
        "x=%s; while true; do case $x in *a*a*b) ;; esac; done" % ("a" * 4000),
        'set -- a b; while true; do set -- "$@" "$@"; done',
        "x='%s'; while true; do set -- $x $x; done" % ("a " * 20_000),
        "set -- " + "a " * 3000 + '\nset -- "' + "$@" * 5000 + '"',
        "x='%s'; while true; do echo $x$x | cat; done" % ("a" * 60_000),
        "x='%s'; while true; do cat <<E\n$x\nE\ndone" % ("a" * 60_000),
        "".join(f"v{number}=1\n" for number in range(5000)) + "while true; do (:); done",
    ],
    ids=["trimmed", "case", "doubled", "split", "repeated", "printed", "read", "variables"],
)
def test_scripts_that_handle_ever_more_are_left_at_some_point(text: str) -> None:
    _, left = _followed(text)
    assert left[-1:] == ["it takes too long"]


@pytest.mark.parametrize(
    "text",
    [
        "f() { x=" + "${a:-" * 55 + "$(f)" + "}" * 55 + "; }; f",
        "f() { x=" + "${a#" * 55 + "$(f)" + "}" * 55 + "; }; f",
        "command " * 5000 + "true",
        "exec command " * 5000 + "true",
    ],
    ids=["words", "patterns", "command", "exec"],
)
def test_what_is_deep_only_once_it_is_followed_is_not_known(text: str) -> None:
    _followed(text)


def test_digits_of_other_scripts_are_no_descriptors() -> None:
    assert _followed("echo a ²>/dev/null; echo b")[0].output == "b\n"
