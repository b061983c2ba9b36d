"""Units, init scripts, alternatives, shells and managed configuration files."""

from __future__ import annotations

from convert.inspect.text import encoded
from convert.packages.alternatives import parse_install
from convert.packages.commands.context import Context, Handler, options_of
from convert.packages.shell.outcome import DONE, FAILED, UNKNOWN, Outcome
from convert.packages.system import DeedError

_ENABLING = frozenset({"enable", "preset", "reenable"})
_WITHOUT_EFFECT = frozenset(
    {"unmask", "update-state", "purge", "disable", "daemon-reload", "daemon-reexec", "start"}
    | {"stop", "restart", "try-restart", "reload", "reload-or-restart", "kill", "reset-failed"}
    | {"condrestart", "try-reload-or-restart", "set-property", "show-environment"}
)
_NOT_SO = frozenset({"is-active", "is-failed", "is-enabled", "is-system-running"})


def _helper(context: Context) -> Outcome:
    """Carry out deb-systemd-helper(1p)."""
    options = options_of(context.arguments)
    action, *units = options.operands or [""]
    if options.has("--user"):
        return DONE  # sessions of persons: no container has one
    if action == "was-enabled":
        return DONE
    if action == "debian-installed":
        return FAILED
    return _act(context, action, units)


def _systemctl(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"-p", "--property", "--root", "-t", "-n"}))
    action, *units = options.operands or [""]
    if options.has("--user", "--global"):
        return DONE
    if action in _NOT_SO or not action:
        return FAILED
    if action in {"show", "cat", "status", "list-units", "list-unit-files", "get-default"}:
        return UNKNOWN
    return _act(context, action, units)


def _act(context: Context, action: str, units: list[str]) -> Outcome:
    if action in _WITHOUT_EFFECT:
        return DONE
    names = [unit if "." in unit else f"{unit}.service" for unit in units]
    if any("/" in name or not name.isprintable() for name in names):
        raise DeedError("it names no unit")
    if action == "mask":
        context.system.masked.update(dict.fromkeys(names, context.by))
    elif action in _ENABLING:
        context.system.enable(context.package.name, names, context.by)
    else:
        raise DeedError(f"'{action}' is not known")
    return DONE


def _update_rc(context: Context) -> Outcome:
    """Carry out update-rc.d(8)."""
    options = options_of(context.arguments)
    if len(options.operands) < 2:
        raise DeedError("it names no script")
    script, action = options.operands[:2]
    if action in {"defaults", "enable", "start"}:
        context.system.enable(context.package.name, [f"{script}.service"], context.by)
    return DONE


def _update_helper(context: Context) -> Outcome:
    """Carry out what rpm's macros for units call: systemd-update-helper."""
    action, *units = context.arguments or ("",)
    if action == "install-system-units":
        context.system.enable(context.package.name, units, context.by)
    return DONE


def _chkconfig(context: Context) -> Outcome:
    """Carry out chkconfig(8)."""
    match list(context.arguments):
        case ["--add", name] | [name, "on"]:
            context.system.enable(context.package.name, [f"{name}.service"], context.by)
    return DONE


def _alternatives(context: Context) -> Outcome:
    system = context.system
    words = [word for word in context.arguments if word not in {"--quiet", "--verbose", "--force"}]
    asked = parse_install(tuple(words))
    if asked is not None:
        if system.item(asked[1].path) is None:
            raise DeedError(f"'{asked[1].path}' is not there")
        system.alternatives.install(*asked)
        system.show_alternative(asked[0].name, context.by)
        return DONE
    match words:
        case ["--remove" | "--remove-all", *_]:
            return DONE
        case ["--set", name, path]:
            is_set = system.alternatives.set_by_hand(name, path)
            system.show_alternative(name, context.by)
            return Outcome(is_set)
        case ["--auto", name]:
            is_set = system.alternatives.set_by_hand(name, None)
            system.show_alternative(name, context.by)
            return Outcome(is_set)
        case ["--query" | "--list" | "--display" | "--get-selections", *names]:
            known = [system.alternatives.get(name) is not None for name in names]
            return Outcome(all(known), None if any(known) else "")
    raise DeedError("it is not of the plain form")


_UCF_VALUES = frozenset({"--debconf-template", "--state-dir", "--src-dir", "--sum-file"})


def _ucf(context: Context) -> Outcome:
    """Carry out ucf(1) of a root where nobody has changed the file."""
    options = options_of(context.arguments, _UCF_VALUES)
    if options.has("-p", "--purge"):
        return DONE
    if len(options.operands) != 2:
        raise DeedError("it does not name two files")
    source, path = options.operands
    there = context.system.item(path)
    if there is None:
        context.system.copy(source, path, context.by)
    elif there.is_base:
        raise DeedError(f"'{path}' is in the base, and stays")
    return DONE


def _add_shell(context: Context) -> Outcome:
    """Carry out add-shell(8)."""
    item = context.system.item("/etc/shells")
    content = None if item is None else context.system.world.content(item.entry.path)
    known = content or b"# /etc/shells: valid login shells\n"
    lines = known.decode("utf-8", "surrogateescape")
    new = [shell for shell in context.arguments if shell not in lines.split("\n")]
    if new:
        text = lines + "".join(f"{shell}\n" for shell in new)
        context.system.write("/etc/shells", encoded(text), context.by)
    return DONE


SERVICES: dict[str, Handler] = {
    "deb-systemd-helper": _helper,
    "systemctl": _systemctl,
    "systemd-update-helper": _update_helper,
    "update-rc.d": _update_rc,
    "chkconfig": _chkconfig,
    "update-alternatives": _alternatives,
    "alternatives": _alternatives,
    "ucf": _ucf,
    "add-shell": _add_shell,
    "update-shells": lambda _: DONE,
}
