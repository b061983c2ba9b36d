"""Commands that ask for something: the answer is what it will be in the root, where it is known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

from convert.inspect.text import ARGUMENTS_MAX
from convert.packages.commands.context import Context, Handler, options_of
from convert.packages.shell.outcome import DONE, FAILED, UNKNOWN, Outcome
from formats.core.entry import Kind
from formats.packages.deb.version import compare

_PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def _which(context: Context) -> Outcome:
    found: list[str] = []
    for name in context.arguments:
        if name.startswith("-"):
            continue
        places = [name] if name.startswith("/") else [f"{f}/{name}" for f in _PROGRAM_FOLDERS]
        there = [path for path in places if _is_program(context, path)]
        if not there:
            return FAILED
        found.append(there[0])
    return Outcome(output="".join(f"{path}\n" for path in found))


def _is_program(context: Context, path: str) -> bool:
    item = context.system.item(path)
    return item is not None and item.entry.kind is Kind.FILE and bool(item.entry.mode & 0o111)


def _getent(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"-s"}))
    database, *names = options.operands or [""]
    accounts = context.system.accounts
    found: list[str | None] = []
    if database == "passwd":
        users = list(accounts.users.values())
        wanted = {name: _first(users, name, "uid") for name in names}
        found = [*wanted.values()] if names else [str(user) for user in users]
    elif database == "group":
        groups = list(accounts.groups.values())
        wanted = {name: _first(groups, name, "gid") for name in names}
        found = [*wanted.values()] if names else [str(group) for group in groups]
    else:
        return UNKNOWN
    lines = [line for line in found if line is not None]
    return Outcome(len(lines) == len(found), "".join(f"{line}\n" for line in lines))


def _first(rows: Iterable[object], name: str, number: str) -> str | None:
    """Return the line of the first with that name or number."""
    for row in rows:
        if name in {getattr(row, "name", ""), str(getattr(row, number, ""))}:
            return str(row)
    return None


def _id(context: Context) -> Outcome:
    options = options_of(context.arguments)
    name = options.operands[0] if options.operands else "root"
    user = context.system.accounts.users.get(name)
    if user is None:
        return FAILED
    groups = context.system.accounts.groups.values()
    own = next((group.name for group in groups if group.gid == user.gid), str(user.gid))
    members = [group.name for group in groups if name in group.members]
    is_named = options.has("-n", "--name")
    if options.has("-u", "--user"):
        return Outcome(output=f"{name if is_named else user.uid}\n")
    if options.has("-g", "--group"):
        return Outcome(output=f"{own if is_named else user.gid}\n")
    if options.has("-G", "--groups") and is_named:
        return Outcome(output=" ".join([own, *members]) + "\n")
    return Outcome(status=True, output=None)


_COMPARISONS = {
    "lt": {-1},
    "le": {-1, 0},
    "eq": {0},
    "ne": {-1, 1},
    "ge": {0, 1},
    "gt": {1},
    "<<": {-1},
    "<=": {-1, 0},
    "=": {0},
    ">=": {0, 1},
    ">>": {1},
    "<": {-1, 0},
    ">": {0, 1},
}
_EMPTY_IS_LATER = {"lt-nl": {-1}, "le-nl": {-1, 0}, "ge-nl": {0, 1}, "gt-nl": {1}}
"""dpkg(1): an empty version is earlier than any, but for these."""


def _dpkg(context: Context) -> Outcome:
    words = list(context.arguments)
    if words[:1] == ["--compare-versions"] and len(words) == 4:
        _, one, operator, other = words
        if operator in _EMPTY_IS_LATER:
            return Outcome(_order(one, other, empty=1) in _EMPTY_IS_LATER[operator])
        wanted = _COMPARISONS.get(operator)
        return UNKNOWN if wanted is None else Outcome(_order(one, other, empty=-1) in wanted)
    if words == ["--print-architecture"]:
        return Outcome(output=f"{context.system.architecture}\n")
    if words == ["--print-foreign-architectures"]:
        return DONE
    if words and words[0].startswith("--assert-"):
        return DONE
    if words[:1] in (["-s"], ["--status"]) and len(words) == 2:
        is_there = words[1].partition(":")[0] in context.system.packages
        return Outcome(is_there, None)
    return UNKNOWN


def _order(one: str, other: str, *, empty: int) -> int:
    if not one or not other:
        return (bool(other) - bool(one)) * empty
    order = compare(one, other)
    return (order > 0) - (order < 0)


def _echo(context: Context) -> Outcome:
    words = list(context.arguments)
    is_bare = bool(words) and words[0] == "-n"
    text = " ".join(words[1:] if is_bare else words)
    if "\\" in text:
        return Outcome(output=None)
    return Outcome(output=text if is_bare else text + "\n")


_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\", "%%": "%"}


def _printf(context: Context) -> Outcome:
    if not context.arguments:
        return FAILED
    template, *values = context.arguments
    parts = re.split(r"(%s|%%|\\n|\\t|\\\\)", template)
    plain = parts[::2]
    count = parts[1::2].count("%s")
    if any("%" in text or "\\" in text for text in plain) or (values and not count):
        return Outcome(output=None)
    rounds = max(1, -(-len(values) // count)) if count else 1
    if rounds * len(template) + sum(map(len, values)) > ARGUMENTS_MAX:
        return Outcome(output=None)
    rest = iter(values)
    written: list[str] = []
    for _ in range(rounds):
        written += [next(rest, "") if part == "%s" else _ESCAPES.get(part, part) for part in parts]
    return Outcome(output="".join(written))


def _cat(context: Context) -> Outcome:
    options = options_of(context.arguments)
    if options.given:
        return Outcome(output=None)
    if not options.operands:
        return Outcome(output=context.call.stdin)
    texts: list[str] = []
    length = 0
    for path in options.operands:
        content = _content(context, path)
        length += len(content or "")
        if content is None or length > ARGUMENTS_MAX:
            return Outcome(None, None)
        texts.append(content)
    return Outcome(output="".join(texts))


def _content(context: Context, path: str) -> str | None:
    """Return the text of a file, or of the input for ``-``."""
    if path == "-":
        return context.call.stdin
    content = context.system.content(path)
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _cut(context: Context) -> Outcome:
    options = options_of(
        context.arguments, frozenset({"-d", "--delimiter", "-f", "--fields", "-c"})
    )
    text = context.call.stdin if not options.operands else _content(context, options.operands[0])
    delimiter = options.value("-d", "--delimiter") or "\t"
    field = options.value("-f", "--fields") or ""
    if text is None or not field.isdecimal() or len(field) > 3 or options.has("-c", "-s"):
        return Outcome(output=None)
    lines: list[str] = []
    for line in text.removesuffix("\n").split("\n"):
        fields = line.split(delimiter)
        lines.append(line if len(fields) == 1 else "".join(fields[int(field) - 1 : int(field)]))
    return Outcome(output="".join(f"{line}\n" for line in lines))


def _dirname(context: Context) -> Outcome:
    path = context.arguments[-1].rstrip("/") if context.arguments else ""
    folder = path.rpartition("/")[0]
    return Outcome(output=f"{folder or ('/' if path.startswith('/') else '.')}\n")


def _basename(context: Context) -> Outcome:
    if not 0 < len(context.arguments) < 3 or context.arguments[0].startswith("-"):
        return Outcome(output=None)
    name = context.arguments[0].rstrip("/").rpartition("/")[2]
    suffix = context.arguments[1] if len(context.arguments) == 2 else ""
    return Outcome(output=f"{name.removesuffix(suffix) if name != suffix else name}\n")


def _readlink(context: Context) -> Outcome:
    options = options_of(context.arguments)
    path = options.operands[0] if options.operands else ""
    if options.has("-f", "-e", "-m", "--canonicalize"):
        real = context.system.path(path)
        return Outcome(output=f"/{real.decode('utf-8', 'surrogateescape')}\n")
    item = context.system.item(path, follow=False)
    if item is None or item.entry.target is None:
        return FAILED
    return Outcome(output=item.entry.target.decode("utf-8", "surrogateescape") + "\n")


_SIMPLE_PATTERN = re.compile(r"\^?(?:[\w /:=,@#.-]|\\\.|\[\^?[\w:/ -]+\]\*?)*\$?")
"""Patterns that mean the same in every kind of regular expression."""
_MOST_REPEATED = 1
_LONGEST_LINE = 2048
"""Of what a pattern that repeats is looked for in: that takes the square of it."""


def _grep(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"-e", "--regexp", "-m", "-f", "-A", "-B"}))
    operands = list(options.operands)
    pattern = options.value("-e", "--regexp") or (operands.pop(0) if operands else "")
    texts = [_content(context, path) for path in operands] or [context.call.stdin]
    is_plain = options.has("-F") or _SIMPLE_PATTERN.fullmatch(pattern) is not None
    if operands and all(context.system.item(path) is None for path in operands):
        return FAILED
    if None in texts or not is_plain or options.has("-i", "-w", "-v", "-r", "-P", "-f"):
        return UNKNOWN
    if options.has("-F"):
        pattern = re.escape(pattern)
    try:
        matcher = re.compile(f"(?:{pattern})$" if options.has("-x") else pattern)
    except re.error:  # a range that ends before it begins
        return UNKNOWN
    lines = [line for text in texts for line in (text or "").split("\n") if line]
    repeated = pattern.count("*")
    if repeated > _MOST_REPEATED or (repeated and max(map(len, lines), default=0) > _LONGEST_LINE):
        return UNKNOWN
    search = matcher.match if options.has("-x") else matcher.search
    found = [line for line in lines if search(line)]
    is_quiet = options.has("-q", "-s", "--quiet", "-l", "-c")
    return Outcome(bool(found), "" if is_quiet else "".join(f"{line}\n" for line in found))


def _find(context: Context) -> Outcome:
    """Return nothing for what is not there; the rest is not followed."""
    paths = list(takewhile(lambda word: not word.startswith(("-", "(", "!")), context.arguments))
    if paths and all(context.system.item(path) is None for path in paths):
        return DONE
    return UNKNOWN


def _yes(_: Context) -> Outcome:
    return DONE


def _no(_: Context) -> Outcome:
    return FAILED


def _silent(_: Context) -> Outcome:
    return Outcome(status=True, output=None)


def _open(_: Context) -> Outcome:
    return UNKNOWN


QUERIES: dict[str, Handler] = {
    "which": _which,
    "type": _which,
    "getent": _getent,
    "id": _id,
    "dpkg": _dpkg,
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "cut": _cut,
    "dirname": _dirname,
    "basename": _basename,
    "readlink": _readlink,
    "realpath": _readlink,
    "find": _find,
    "grep": _grep,
    "egrep": _grep,
    "fgrep": _grep,
    "true": _yes,
    ":": _yes,
    "false": _no,
    **dict.fromkeys(("pidof", "pgrep", "runlevel", "ischroot", "aa-enabled", "mountpoint"), _no),
    **dict.fromkeys(("selinuxenabled", "selinux_enabled", "systemd-detect-virt"), _no),
    **dict.fromkeys(("uname", "date", "hostname", "nproc", "pwd", "mktemp", "tempfile"), _silent),
    **dict.fromkeys(("head", "tail", "sort", "uniq", "tr", "wc", "awk", "expr", "seq"), _silent),
    "sed": _silent,
    **dict.fromkeys(("md5sum", "sha1sum", "sha256sum", "sha512sum", "perl-md5"), _silent),
    **dict.fromkeys(("dpkg-query", "cmp", "diff", "stat", "ls", "dpkg-architecture"), _open),
    **dict.fromkeys(("dpkg-vendor", "rpm", "lsb_release", "file", "ps", "df", "mount"), _open),
}
"""All that only tell something; what the last ones tell is not known."""

CHANGES_WITH = {
    "sed": frozenset({"-i", "--in-place", "-Ei", "-ri", "-ie"}),
    "find": frozenset({"-delete", "-exec", "-execdir", "-ok", "-okdir"}),
}
"""Options with which a command that only tells something changes files."""
