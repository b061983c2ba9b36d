"""Folders, files, links, owners and modes: the plain forms of coreutils, and dpkg's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial

from convert.inspect.text import encoded
from convert.packages.commands.context import Context, Handler, options_of
from convert.packages.commands.modes import file_capabilities, mode_change
from convert.packages.shell.outcome import DONE, FAILED, Outcome
from convert.packages.system import DeedError
from convert.packages.world import Item
from formats.core.entry import Entry, Kind
from formats.core.finding import Action

_RECURSIVE = ("-R", "--recursive")
_QUIET = frozenset({"-v", "-f", "-c", "--verbose", "--quiet", "--silent", "--changes"})


def _mkdir(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"-m", "--mode"}))
    options.only(_QUIET | {"-m", "--mode", "-p", "--parents"})
    mode = options.value("-m", "--mode")
    for path in options.operands:
        bits = 0o755 if mode is None else mode_change(mode)(Entry(b"", Kind.FOLDER, 0o777))
        is_new = context.system.make_folder(path, context.by, bits)
        if not is_new and not options.has("-p", "--parents"):
            return FAILED
    return DONE


def _chmod(context: Context) -> Outcome:
    words = list(context.arguments)
    symbolic = next((word for word in words if _is_minus_mode(word)), None)
    if symbolic is not None:  # a mode such as -x, which looks like an option
        words.remove(symbolic)
    options = options_of(words, frozenset({"--reference"}))
    options.only(_QUIET | set(_RECURSIVE))
    operands = options.operands if symbolic is None else [symbolic, *options.operands]
    if len(operands) < 2:
        raise DeedError("it names no path")
    change = mode_change(operands[0])
    system = context.system
    for path in operands[1:]:
        if not options.has(*_RECURSIVE):
            system.set_mode(path, change, context.by)
            continue
        inside = [item for item in system.below(path) if not _is_link(context, item)]
        changed = sum(system.set_mode(item, change, "", tells=False) for item in inside)
        _tell_count(context, "package-mode", path, operands[0], changed)
    return DONE


def _is_link(context: Context, path: str) -> bool:
    item = context.system.item(path, follow=False)
    return item is not None and item.entry.kind is Kind.SYMLINK


def _tell_count(context: Context, rule: str, path: str, what: str, changed: int) -> None:
    if changed:
        real = context.system.path(path)
        evidence = f"{what} for {changed:,} paths, {context.by}"
        context.system.told(rule, real, Action.CHANGED, evidence)


def _is_minus_mode(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and set(word[1:]) <= set("rwxXst")


def _chown(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"--from", "--reference"}))
    options.only(_QUIET | set(_RECURSIVE) | {"-h", "--no-dereference", "--dereference", "-P", "-H"})
    if len(options.operands) < 2:
        raise DeedError("it names no path")
    owner, *paths = options.operands
    if context.call.name.endswith("chgrp"):
        user, group = "", owner
    else:
        user, separator, group = owner.partition(":")
        if not separator and owner not in context.system.accounts.users:
            user, _, group = owner.partition(".")
    owners = (user or None, group or None)
    system = context.system
    for path in paths:
        if not options.has(*_RECURSIVE):
            system.set_owner(path, *owners, context.by)
            continue
        inside = [item for item in system.below(path) if not _is_link(context, item)]
        changed = sum(system.set_owner(item, *owners, "", tells=False) for item in inside)
        _tell_count(context, "package-owner", path, owner, changed)
    return DONE


_INSTALL_VALUES = frozenset(
    {"-m", "--mode", "-o", "--owner", "-g", "--group", "-t", "--target-directory"}
)


def _install(context: Context) -> Outcome:
    options = options_of(context.arguments, _INSTALL_VALUES)
    options.only(
        _INSTALL_VALUES | _QUIET | {"-d", "--directory", "-D", "-p", "-s", "-T", "--preserve"}
    )
    mode = options.value("-m", "--mode")
    change = mode_change("755" if mode is None else mode)
    owner, group = options.value("-o", "--owner"), options.value("-g", "--group")
    folder = options.value("-t", "--target-directory")
    operands = list(options.operands)
    made: list[str] = []
    if options.has("-d", "--directory"):
        for path in operands:
            context.system.make_folder(path, context.by)
        made = operands
    else:
        if folder is None:
            folder = operands.pop() if operands else ""
        if options.has("-D") and len(operands) == 1:
            context.system.make_folder(folder.rpartition("/")[0] or "/", context.by)
        for path in operands:
            new = _inside(context, folder, path)
            context.system.copy(path, new, context.by, 0o755)
            made.append(new)
    for path in made:
        if mode is not None:
            context.system.set_mode(path, change, context.by)
        if owner is not None or group is not None:
            context.system.set_owner(path, owner, group, context.by)
    return DONE


def _inside(context: Context, target: str, path: str) -> str:
    """Return where a file goes that is put at ``target``, which may be a folder."""
    there = context.system.item(target)
    if there is not None and there.entry.kind is Kind.FOLDER:
        return f"{target.rstrip('/')}/{path.rstrip('/').rpartition('/')[2]}"
    return target


def _ln(context: Context) -> Outcome:
    options = options_of(context.arguments)
    options.only(
        _QUIET | {"-s", "--symbolic", "-n", "-T", "--no-dereference", "--force", "-r", "--relative"}
    )
    if not options.has("-s", "--symbolic") or options.has("-r", "--relative"):
        raise DeedError("it makes no plain symlink")
    if len(options.operands) != 2:
        raise DeedError("it does not name one link and where it leads")
    target, path = options.operands
    if not options.has("-n", "-T", "--no-dereference"):
        path = _inside(context, path, target)
    context.system.make_link(path, target, context.by, replaces=options.has("-f", "--force"))
    return DONE


def _cp(context: Context) -> Outcome:
    options = options_of(context.arguments)
    options.only(_QUIET | {"-p", "-a", "-d", "-P", "-L", "-u", "-n", "--no-clobber", "--preserve"})
    *paths, target = options.operands or [""]
    if not paths:
        raise DeedError("it does not say where to")
    for path in paths:
        new = _inside(context, target, path)
        if options.has("-n", "--no-clobber") and context.system.item(new) is not None:
            continue
        context.system.copy(path, new, context.by)
    return DONE


def _mv(context: Context) -> Outcome:
    options = options_of(context.arguments)
    options.only(_QUIET | {"-n", "--no-clobber", "-T"})
    *paths, target = options.operands or [""]
    if not paths:
        raise DeedError("it does not say where to")
    for path in paths:
        context.system.move(path, _inside(context, target, path), context.by)
    return DONE


def _rm(context: Context) -> Outcome:
    options = options_of(context.arguments)
    options.only(_QUIET | set(_RECURSIVE) | {"-r", "--force", "-p", "--ignore-fail-on-non-empty"})
    is_lenient = options.has("--ignore-fail-on-non-empty")
    for path in options.operands:
        if not path or set(path) & set("*?["):
            continue  # a pattern that stands for nothing
        try:
            context.system.remove(path, context.by, is_recursive=options.has("-r", *_RECURSIVE))
        except DeedError:
            if not is_lenient:
                raise
    return DONE


def _touch(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"-d", "-r", "-t"}))
    options.only(frozenset({"-a", "-m", "-c", "-h", "-d", "-r", "-t"}))
    for path in options.operands:
        if context.system.item(path) is None and not options.has("-c"):
            context.system.write(path, b"", context.by)
    return DONE


def _setcap(context: Context) -> Outcome:
    words = [word for word in context.arguments if word != "-q"]
    if len(words) != 2 or words[0] == "-r":
        raise DeedError("it does not set capabilities of one file")
    context.system.set_capability(words[1], file_capabilities(words[0]), context.by)
    return DONE


def _statoverride(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"--admindir", "--instdir", "--root"}))
    operands = options.operands
    overrides = context.system.overrides
    if options.has("--list"):
        found = [overrides[path] for path in sorted(overrides)]
        if operands:
            name = context.system.world.real(encoded(operands[0]), follow=False)
            found = [overrides[name]] if name in overrides else []
        return Outcome(bool(found), "".join(f"{line}\n" for line in found))
    if options.has("--remove"):
        return DONE if options.has("--force-all", "--quiet") else FAILED
    if not options.has("--add") or len(operands) != 4:
        raise DeedError("it adds no override")
    user, group, mode, path = operands
    if not re.fullmatch(r"[0-7]{1,5}", mode) or len(f"{user}:{group}".split()) != 1:
        raise DeedError("it is no override")
    real = context.system.path(path, follow=False)
    overrides[real] = f"{user} {group} {mode} {path}"
    if options.has("--update") and context.system.world.get(real) is not None:
        context.system.set_owner(path, user, group, context.by)
        context.system.set_mode(path, lambda _: int(mode, 8) & 0o7777, context.by)
    return DONE


def _divert(context: Context) -> Outcome:
    values = frozenset({"--package", "--divert", "--admindir", "--root", "--instdir"})
    options = options_of(context.arguments, values)
    diversions = context.system.diversions
    path = options.operands[0] if options.operands else options.value("--add", "--truename") or ""
    if options.has("--list", "--listpackage"):
        return Outcome(status=True, output="") if not diversions else Outcome(None, None)
    if options.has("--truename"):
        known = diversions.get(context.system.path(path, follow=False))
        new = path if known is None else "/" + known[0].decode("utf-8", "surrogateescape")
        return Outcome(output=f"{new}\n")
    if options.has("--remove"):
        if context.system.path(path, follow=False) in diversions:
            raise DeedError("it takes a diversion away that was made before")
        return DONE
    return _add_diversion(context, path, options.value("--divert"), options.value("--package"))


def _add_diversion(context: Context, path: str, new: str | None, package: str | None) -> Outcome:
    system = context.system
    real = system.path(path, follow=False)
    target = system.path(new or f"{path}.distrib", follow=False)
    system.diversions[real] = (target, package or context.package.name)
    there = system.world.get(real)
    if there is not None and there.package != (package or context.package.name):
        if there.is_base:
            raise DeedError(f"'{path}' is in the base, and stays")
        system.world.move(real, target)
    evidence = f"to /{target.decode('utf-8', 'backslashreplace')}, {context.by}"
    system.told("package-diversion", real, Action.CHANGED, evidence)
    return DONE


def _find_and_delete(context: Context) -> Outcome:
    """Carry out ``find FOLDER… [-maxdepth N] [-type d|f] [-name P] [-empty] -delete``."""
    words = list(context.arguments)
    paths: list[str] = []
    while words and not words[0].startswith(("-", "(", "!")):
        paths.append(words.pop(0))
    if not words or words.pop() != "-delete":
        raise DeedError("it does more than to delete")
    depth, checks = _find_tests(context, words)
    for path in paths:
        if context.system.item(path) is None:
            continue
        root = context.system.path(path)
        start = root.count(b"/") + 1 if root else 0
        for name in context.system.below(path):
            item = context.system.item(name, follow=False)
            level = name.count("/") - start
            if item is not None and level <= depth and all(check(item) for check in checks):
                context.system.remove(name, context.by)
    return DONE


def _find_tests(context: Context, words: list[str]) -> tuple[int, list[Callable[[Item], bool]]]:
    """Return how deep find(1) looks, and what holds for what it finds."""
    depth = context.system.world.limits.depth
    checks: list[Callable[[Item], bool]] = []
    rest = iter(words)
    for word in rest:
        if word == "-empty":
            checks.append(partial(_is_empty, context))
            continue
        value = next(rest, "")
        if word == "-maxdepth" and re.fullmatch(r"[0-9]{1,6}", value):
            depth = int(value)
        elif word == "-type" and value in _FIND_TYPES:
            checks.append(partial(_is_kind, _FIND_TYPES[value]))
        elif word == "-name":
            checks.append(partial(_is_named, value))
        else:
            raise DeedError(f"{word} is not known")
    return depth, checks


_FIND_TYPES = {"f": Kind.FILE, "d": Kind.FOLDER, "l": Kind.SYMLINK}


def _is_kind(kind: Kind, item: Item) -> bool:
    return item.entry.kind is kind


def _is_named(pattern: str, item: Item) -> bool:
    return fnmatchcase(item.entry.name.decode("utf-8", "surrogateescape"), pattern)


def _is_empty(context: Context, item: Item) -> bool:
    if item.entry.kind is Kind.FOLDER:
        return not context.system.world.children(item.entry.path)
    return item.entry.kind is Kind.FILE and not item.entry.size


FILES: dict[str, Handler] = {
    "find": _find_and_delete,
    "mkdir": _mkdir,
    "chmod": _chmod,
    "chown": _chown,
    "chgrp": _chown,
    "install": _install,
    "ln": _ln,
    "cp": _cp,
    "mv": _mv,
    "rm": _rm,
    "rmdir": _rm,
    "unlink": _rm,
    "touch": _touch,
    "setcap": _setcap,
    "dpkg-statoverride": _statoverride,
    "dpkg-divert": _divert,
}
