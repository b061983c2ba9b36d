"""Maintainer scripts and scriptlets, followed: what is in their plain forms is done, as data.

Nothing of a package is run. A script is read as the shell would when the package is installed on
a root that never had it (deb-postinst(5) ``configure`` without a version; ``$1`` is 1 for rpm), and
whatever is not understood, or stands under a condition that is not known, is told in one finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convert.inspect.text import encoded
from convert.packages.accounts import AccountError
from convert.packages.commands.conditions import holds
from convert.packages.commands.context import Context, Handler
from convert.packages.commands.files import FILES
from convert.packages.commands.ignored import IGNORED
from convert.packages.commands.people import PEOPLE
from convert.packages.commands.queries import CHANGES_WITH, QUERIES
from convert.packages.commands.services import SERVICES
from convert.packages.shell.follow import Follower
from convert.packages.shell.lexer import ShellSyntaxError
from convert.packages.shell.outcome import DONE, UNKNOWN, Call, Outcome
from convert.packages.shell.parser import parse_script
from convert.packages.shell.values import Value, Variables
from convert.packages.system import DeedError, System
from formats.core.errors import LimitError
from formats.core.finding import Action, Finding
from formats.core.package import Package, PackageSystem, Script

_DEEDS: dict[str, Handler] = {**FILES, **PEOPLE, **SERVICES}
_SHELLS = frozenset({"sh", "bash", "dash", "ash"})
_PROGRAM_FOLDERS = frozenset(
    {"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/lib/systemd", "/lib/systemd"}
)
_HARMLESS_SOURCES = frozenset({"/usr/share/debconf/confmodule"})
_SCRIPT_BYTES_MAX = 256 << 10
_SHOWN = 6
"""What is told of one script in its finding; the rest is counted."""
_SHOWN_CHARACTERS = 100
_REASON_CHARACTERS = 400

_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "preinst": ("install",),
    "postinst": ("configure", ""),
    "%pretrans": ("1",),
    "%pre": ("1",),
    "%post": ("1",),
    "%posttrans": ("1",),
}
"""The scripts that count when a package is installed for the first time, and their arguments."""
_TRIGGERED = ("triggerin", "triggerprein")
"""In the names of rpm's scriptlets that the installation of other packages sets off."""
_PATTERNS_MAX = 100
"""Of one script; each may look at every path there is."""


@dataclass(slots=True)
class Reading:
    """What came of following one script.

    :ivar left: what was not carried out: line and text, in order.
    """

    left: dict[tuple[int, str], None] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether everything in it was understood."""
        return not self.left

    def __str__(self) -> str:
        told = [f"line {line}: {text}" for line, text in self.left]
        more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        return "; ".join(told[:_SHOWN]) + more


class ScriptHost:
    """The commands of one script; see :class:`~convert.packages.shell.outcome.Host`."""

    def __init__(self, system: System, package: Package, script: Script) -> None:
        self._system = system
        self._package = package
        self._script = script
        self.reading = Reading()
        self._patterns = 0

    def call(self, call: Call) -> Outcome:
        """See :meth:`~convert.packages.shell.outcome.Host.call`."""
        name = _program_name(call.name)
        if name in {"test", "["}:
            words = call.words[1:-1] if name == "[" else call.words[1:]
            return Outcome(holds(words, self._system))
        if name in {".", "source"}:
            return self._sourced(call)
        if name == "db_get":
            return UNKNOWN
        if name in IGNORED:
            return DONE
        query = QUERIES.get(name)
        if query is not None and not CHANGES_WITH.get(name, frozenset()) & set(call.words):
            return self._asked(query, call)
        deed = _DEEDS.get(name)
        if deed is None:
            self.cannot(call.line, _shown(call))
            return UNKNOWN
        return self._done(deed, call)

    def _context(self, call: Call, arguments: tuple[str, ...]) -> Context:
        by = f"by {self._package.name}'s {self._script.name}, line {call.line}"
        return Context(call, arguments, self._system, self._package, by)

    def _asked(self, query: Handler, call: Call) -> Outcome:
        arguments = call.known
        if arguments is None:
            return Outcome(status=True if call.name in {"echo", "printf"} else None, output=None)
        try:
            return query(self._context(call, arguments))
        except (DeedError, AccountError):
            return UNKNOWN

    def _done(self, deed: Handler, call: Call) -> Outcome:
        arguments = call.known
        if arguments is None:
            self.cannot(call.line, f"{_shown(call)} (what it is about is not known)")
            return UNKNOWN
        is_question = bool({"--list", "--truename", "--listpackage"} & set(arguments))
        if call.doubt and not is_question:
            self.cannot(call.line, f"{_shown(call)} ({call.doubt})")
            return UNKNOWN
        try:
            return deed(self._context(call, arguments))
        except (DeedError, AccountError, LimitError) as error:
            self.cannot(call.line, f"{_shown(call)} ({error})")
            return UNKNOWN

    def _sourced(self, call: Call) -> Outcome:
        path = call.words[1] if len(call.words) > 1 else None
        if path not in _HARMLESS_SOURCES:
            self.cannot(call.line, _shown(call))
        return UNKNOWN

    def write(self, path: str, content: str | None, call: Call, *, appends: bool) -> None:
        """See :meth:`~convert.packages.shell.outcome.Host.write`."""
        if content is None or call.doubt:
            reason = call.doubt or "what it holds is not known"
            self.cannot(call.line, f"{path} is written ({reason})")
            return
        data = encoded(content)
        try:
            if appends and self._system.item(path) is not None:
                former = self._system.content(path)
                if former is None:
                    raise DeedError("it is no file, or too large for one that scripts write")
                data = former + data
            self._system.write(path, data, self._context(call, ()).by)
        except (DeedError, LimitError) as error:
            self.cannot(call.line, f"{path} is written ({error})")

    def read(self, path: str) -> str | None:
        """See :meth:`~convert.packages.shell.outcome.Host.read`."""
        try:
            content = self._system.content(path)
        except DeedError:
            return None
        return None if content is None else content.decode("utf-8", "surrogateescape")

    def matching(self, pattern: str) -> Sequence[str]:
        """See :meth:`~convert.packages.shell.outcome.Host.matching`."""
        self._patterns += 1
        if not pattern.startswith("/") or self._patterns > _PATTERNS_MAX:
            return ()
        found = self._system.world.matching(encoded(pattern[1:]))
        return ["/" + path.decode("utf-8", "surrogateescape") for path in found]

    def cannot(self, line: int, reason: str) -> None:
        """See :meth:`~convert.packages.shell.outcome.Host.cannot`."""
        self.reading.left[line, _cut(reason, _REASON_CHARACTERS)] = None


def _program_name(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return last if folder in _PROGRAM_FOLDERS else name


def _shown(call: Call) -> str:
    return _cut(" ".join(str(call).split()), _SHOWN_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def follow_script(system: System, package: Package, script: Script) -> Reading:
    """Follow one script of a package and do what is understood of it.

    :return: what is left; a finding of it is for the caller to make.
    """
    host = ScriptHost(system, package, script)
    interpreter = script.interpreter.split()
    program = interpreter[0].rpartition("/")[2] if interpreter else "sh"
    if program in IGNORED and not script.text.strip():
        return host.reading
    if program not in _SHELLS:
        host.cannot(1, f"it is for {script.interpreter}")
        return host.reading
    if len(script.text) > _SCRIPT_BYTES_MAX:
        host.cannot(1, f"{len(script.text):,} bytes are too many for a script to be followed")
        return host.reading
    try:
        parsed = parse_script(script.text.decode("utf-8", "surrogateescape"))
    except ShellSyntaxError as error:
        host.cannot(error.line, f"it cannot be read as POSIX shell: {error}")
        return host.reading
    Follower(host, _variables(package, script)).follow(parsed.body)
    return host.reading


def _variables(package: Package, script: Script) -> Variables:
    named: dict[str, Value] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    if package.system is PackageSystem.DEB:
        named |= {
            "DPKG_ROOT": "",
            "DPKG_ADMINDIR": "/var/lib/dpkg",
            "DPKG_MAINTSCRIPT_PACKAGE": package.name,
            "DPKG_MAINTSCRIPT_NAME": script.name,
            "DPKG_MAINTSCRIPT_ARCH": package.architecture,
            "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT": "1",
            "DPKG_RUNNING_VERSION": None,
            "DEBIAN_FRONTEND": "noninteractive",
        }
    arguments: list[Value] = list(_ARGUMENTS.get(script.name, ()))
    return Variables(named, arguments, script.name)


def follow_scripts(system: System, package: Package, names: Sequence[str]) -> None:
    """Follow those of a package's scripts that have one of these names; each has one finding.

    :param names: in the order in which they would run.
    """
    by_name = {script.name: script for script in package.scripts}
    for name in names:
        script = by_name.get(name)
        if script is None:
            continue
        reading = follow_script(system, package, script)
        if not reading.is_whole:
            where = f"{package.name} {name}".encode("utf-8", "surrogateescape")
            evidence = f"not carried out: {reading}"
            system.note(Finding("package-script", where, Action.REPORTED, evidence))


def report_triggers(system: System, package: Package) -> None:
    """Say which scriptlets a package has for others to set off: those are not followed."""
    names = dict.fromkeys(
        script.name for script in package.scripts if any(kind in script.name for kind in _TRIGGERED)
    )
    if names:
        where = package.name.encode("utf-8", "surrogateescape")
        evidence = f"not carried out: {', '.join(names)}"
        system.note(Finding("package-script", where, Action.REPORTED, evidence))
