"""Users and groups: adduser(8) of Debian, useradd(8), groupadd(8), usermod(8), gpasswd(1)."""

from __future__ import annotations

from convert.inspect.accounts import is_number
from convert.packages.accounts import NO_LOGIN, User
from convert.packages.commands.context import Context, Handler, Options, options_of
from convert.packages.shell.outcome import DONE, FAILED, Outcome
from convert.packages.system import DeedError
from formats.core.finding import Action

_NOWHERE = "/nonexistent"
_ADDUSER_VALUES = frozenset(
    {"--home", "--shell", "--uid", "--gid", "--ingroup", "--gecos", "--comment", "--conf"}
    | {"--firstuid", "--lastuid", "--firstgid", "--lastgid", "-c", "-h", "-s", "-u", "-g", "-G"}
)
_USERADD_VALUES = frozenset(
    {"-b", "-c", "-d", "-e", "-f", "-g", "-G", "-k", "-K", "-p", "-s", "-u", "-Z", "-R", "-P"}
    | {"--base-dir", "--comment", "--home-dir", "--home", "--expiredate", "--inactive", "--gid"}
    | {"--groups", "--skel", "--key", "--password", "--shell", "--uid", "--root", "--prefix"}
)
_GROUPADD_VALUES = frozenset({"-g", "--gid", "-K", "--key", "-p", "-R", "-P", "-U", "--users"})
_SUPPORTED_ROOTS = frozenset({"", "/"})


def _adduser(context: Context) -> Outcome:
    options = options_of(context.arguments, _ADDUSER_VALUES)
    operands = options.operands
    is_group = context.call.name.endswith("addgroup") or (
        options.has("--group") and not options.has("--system") and len(operands) == 1
    )
    if len(operands) == 2:
        return _join(context, operands[0], operands[1])
    if len(operands) != 1:
        raise DeedError("it names no user")
    if not options.has("--system") and not is_group:
        raise DeedError("it makes an account for a person")
    if is_group:
        _add_group(context, operands[0], options.value("--gid"))
        return DONE
    name = operands[0]
    home = options.value("--home") or _NOWHERE
    accounts = context.system.accounts
    if name in accounts.users:
        return DONE
    uid = _number(options.value("--uid"))
    group = options.value("--ingroup") or options.value("--gid")
    if options.has("--group"):
        uid = accounts.free_id(uid) if uid is None else uid
        gid = _add_group(context, name, str(uid))
    else:
        uid = accounts.free_uid() if uid is None else uid
        gid = _group(context, group or "nogroup")
    comment = options.value("--gecos", "--comment") or ""
    shell = options.value("--shell") or NO_LOGIN
    _add_user(context, User(name, uid, gid, comment, home, shell))
    if not options.has("--no-create-home") and home != _NOWHERE:
        _make_home(context, name, home, 0o755)
    return DONE


def _useradd(context: Context) -> Outcome:
    options = options_of(context.arguments, _USERADD_VALUES)
    if len(options.operands) != 1:
        raise DeedError("it names no user")
    if (options.value("-R", "--root", "-P", "--prefix") or "") not in _SUPPORTED_ROOTS:
        raise DeedError("it works on another root")
    name = options.operands[0]
    accounts = context.system.accounts
    if name in accounts.users:
        return FAILED
    uid = _number(options.value("-u", "--uid"))
    if uid is None and not options.has("-r", "--system"):
        raise DeedError("it makes an account for a person")
    group = options.value("-g", "--gid")
    if group is not None:
        gid = _group(context, group)
        uid = accounts.free_uid() if uid is None else uid
    elif options.has("-N", "--no-user-group"):
        gid = _group(context, "users")
        uid = accounts.free_uid() if uid is None else uid
    else:
        known = accounts.groups.get(name)
        uid = accounts.free_id(known.gid if known else None) if uid is None else uid
        gid = _add_group(context, name, str(uid))
    home = options.value("-d", "--home-dir", "--home") or f"/home/{name}"
    comment = options.value("-c", "--comment") or ""
    shell = options.value("-s", "--shell") or "/bin/sh"
    _add_user(context, User(name, uid, gid, comment, home, shell))
    for other in (options.value("-G", "--groups") or "").split(","):
        if other:
            _join(context, name, other)
    if options.has("-m", "--create-home"):
        _make_home(context, name, home, 0o700)
    return DONE


def _groupadd(context: Context) -> Outcome:
    options = options_of(context.arguments, _GROUPADD_VALUES)
    if len(options.operands) != 1:
        raise DeedError("it names no group")
    name = options.operands[0]
    if name in context.system.accounts.groups:
        return DONE if options.has("-f", "--force") else FAILED
    _add_group(context, name, options.value("-g", "--gid"))
    return DONE


def _usermod(context: Context) -> Outcome:
    values = _USERADD_VALUES | {"-l", "--login"}
    options = options_of(context.arguments, values)
    user = context.system.accounts.users.get(options.operands[0] if options.operands else "")
    if user is None:
        return FAILED
    if options.has("-l", "--login", "-u", "--uid", "-m", "--move-home", "-p", "--password"):
        raise DeedError("it changes a name, a number or a password")
    _change(context, user, options)
    groups = options.value("-G", "--groups")
    if groups is not None and not options.has("-a", "--append"):
        raise DeedError("it takes a user out of groups")
    for group in (groups or "").split(","):
        if group:
            _join(context, user.name, group)
    return DONE


def _change(context: Context, user: User, options: Options) -> None:
    home = options.value("-d", "--home")
    shell = options.value("-s", "--shell")
    comment = options.value("-c", "--comment")
    group = options.value("-g", "--gid")
    values = [value for value in (home, shell, comment) if value is not None]
    if any(":" in value or "\n" in value for value in values):
        raise DeedError("what it says cannot be in /etc/passwd")
    before = str(user)
    user.home = user.home if home is None else home
    user.shell = user.shell if shell is None else shell
    user.comment = user.comment if comment is None else comment
    user.gid = user.gid if group is None else _group(context, group)
    if str(user) != before:
        context.system.accounts.is_changed = True
        evidence = f"user {user.name}, {context.by}"
        context.system.told("package-user", b"etc/passwd", Action.CHANGED, evidence)


def _gpasswd(context: Context) -> Outcome:
    options = options_of(context.arguments, frozenset({"-a", "--add", "-d", "-M", "-A"}))
    user = options.value("-a", "--add")
    if user is None or len(options.operands) != 1:
        raise DeedError("it does more than to add a member")
    return _join(context, user, options.operands[0])


def _join(context: Context, user: str, group: str) -> Outcome:
    accounts = context.system.accounts
    if user not in accounts.users:
        return FAILED
    is_new = accounts.add_member(user, group)
    if is_new:
        evidence = f"user {user} in group {group}, {context.by}"
        context.system.told("package-group", b"etc/group", Action.CHANGED, evidence)
    return DONE


def _group(context: Context, name: str) -> int:
    gid = context.system.accounts.gid(name)
    if gid is None:
        raise DeedError(f"there is no group '{name}'")
    return gid


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not is_number(text):
        raise DeedError(f"'{text}' is no number of a user or group")
    return int(text)


def _add_group(context: Context, name: str, gid: str | None) -> int:
    accounts = context.system.accounts
    is_new = name not in accounts.groups
    group = accounts.add_group(name, _number(gid))
    if is_new:
        evidence = f"group {name} ({group.gid}), {context.by}"
        context.system.told("package-group", b"etc/group", Action.ADDED, evidence)
    return group.gid


def _add_user(context: Context, user: User) -> None:
    context.system.accounts.add_user(user)
    evidence = f"user {user.name} ({user.uid}), {context.by}"
    context.system.told("package-user", b"etc/passwd", Action.ADDED, evidence)


def _make_home(context: Context, user: str, home: str, mode: int) -> None:
    if context.system.make_folder(home, context.by, mode):
        group = str(context.system.accounts.users[user].gid)
        context.system.set_owner(home, user, group, context.by)


PEOPLE: dict[str, Handler] = {
    "adduser": _adduser,
    "addgroup": _adduser,
    "useradd": _useradd,
    "groupadd": _groupadd,
    "usermod": _usermod,
    "gpasswd": _gpasswd,
}
