"""systemd as the judge of what we read from its units.

``systemd --test`` loads units and works out the first transaction without starting anything. With
``SYSTEMD_UNIT_PATH`` it looks at our folders and not at the machine's.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from formats.core.entry import Kind
from formats.core.tree import Tree
from tests.support.programs import need, need_root, refuse, run

_NOBODY = "65534"
_SYSTEMD = (Path("/usr/lib/systemd/systemd"), Path("/lib/systemd/systemd"))
_UNIT = re.compile(r"\t-> Unit (.+):")
_JOB = re.compile(r"\t\tAction: (.+) -> (?:start|verify-active)")
_FIELD = re.compile(r"\t\t(\w[\w ]*): (.*)")
_COMMANDS = re.compile(r"\t\t-> (\w+):")
_COMMAND = re.compile(r"\t\t\tCommand Line: (.*)")


@dataclass(frozen=True, slots=True)
class LoadedUnit:
    """A unit as systemd prints it.

    :ivar fields: all values of a field, in their order.
    :ivar commands: of ``ExecStart`` and so on, before variables are put in.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    commands: dict[str, list[list[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transaction:
    """What systemd loaded, and what it would start."""

    units: dict[str, LoadedUnit]
    started: frozenset[str]
    log: str


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """Give a folder that other users can look into, as pytest's cannot."""
    folder = Path(tempfile.mkdtemp(prefix="oci-convert-units-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def transaction(root: Path, unit: str) -> Transaction:
    """Return what starting ``unit`` would start, were ``root`` the root folder."""
    need("setpriv")
    program = next(filter(Path.exists, _SYSTEMD), None)
    if program is None:
        refuse("systemd is not installed")
    folders = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")
    path = ":".join(str(root / folder) for folder in folders)
    as_nobody = ["setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups"]
    command = [
        *(as_nobody if os.geteuid() == 0 else []),
        *("env", "-i", f"SYSTEMD_UNIT_PATH={path}", "SYSTEMD_LOG_LEVEL=info", "HOME=/root"),
        *(str(program), "--test", "--system", "--no-pager", f"--unit={unit}"),
    ]
    done = run(*command, timeout=60)
    return _parsed(done.stdout.decode(errors="surrogateescape"), done.stderr.decode())


def transaction_of_disk(disk: Path, offset: int, folder: Path) -> Transaction:
    """Return what the systemd on a disk would start; its own files are not changed.

    :param offset: of the root filesystem in the disk, in bytes.
    :param folder: empty, for mount points; nothing stays mounted.
    """
    systemd = "/lib/systemd/systemd --test --system --no-pager --unit=default.target"
    as_nobody = f'env -i HOME=/root PATH="$PATH" chroot --userspec={_NOBODY}:{_NOBODY}'
    done = run_on_disk(disk, offset, folder, f"{as_nobody} {{root}} {systemd}")
    return _parsed(done.decode(errors="surrogateescape"), "")


def run_on_disk(disk: Path, offset: int, folder: Path, command: str) -> bytes:
    """Return what a shell command prints that can use ``{root}``, the disk's root folder.

    Whatever it writes there is lost: the disk is the lower half of an overlay.
    """
    need_root()
    need("unshare", "chroot")
    for name in ("lower", "memory", "root"):
        (folder / name).mkdir()
    script = """
        mount -o loop,ro,noload,offset="$2" "$1" lower
        mount -t tmpfs none memory
        mkdir memory/upper memory/work
        mount -t overlay none -o lowerdir=lower,upperdir=memory/upper,workdir=memory/work root
        mount -t proc none root/proc
        mount --bind /dev root/dev
        mount --rbind /sys root/sys
        {command}
    """.replace("{command}", command.replace("{root}", "root"))
    done = run(
        *("unshare", "--mount", "sh", "-euc", script, "sh", disk, str(offset)),
        cwd=folder,
        timeout=120,
    )
    return done.stdout


def _parsed(text: str, log: str) -> Transaction:
    units: dict[str, LoadedUnit] = {}
    started: set[str] = set()
    unit = LoadedUnit()
    commands: list[list[str]] = []
    for line in text.split("\n"):
        if match := _UNIT.fullmatch(line):
            unit = units.setdefault(match[1], LoadedUnit())
        elif match := _JOB.fullmatch(line):
            started.add(match[1])
        elif match := _FIELD.fullmatch(line):
            unit.fields.setdefault(match[1], []).append(match[2])
        elif match := _COMMANDS.fullmatch(line):
            commands = unit.commands.setdefault(match[1], [])
        elif match := _COMMAND.fullmatch(line):
            commands.append(_printed_words(match[1]))
    return Transaction(units, frozenset(started), log)


_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _printed_words(line: str) -> list[str]:
    return [unquoted(match[0]) for match in _WORD.finditer(line)]


def unquoted(word: str) -> str:
    """Return a word that systemd printed: in double quotes and with C's escapes if need be."""

    def unescaped(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code, 8)) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(unescaped, word[1:-1]) if word.startswith('"') else word


def unpack(tree: Tree, folder: Path) -> None:
    """Write a tree's folders, files and links, with their modes; owners as far as we may."""
    for entry in tree.entries():
        path = folder / os.fsdecode(entry.path)
        if entry.kind is Kind.FOLDER:
            path.mkdir(exist_ok=True)
        elif entry.kind is Kind.SYMLINK:
            path.symlink_to(os.fsdecode(entry.target or b""))
        elif entry.kind is Kind.FILE:
            path.write_bytes(b"".join(tree.read(entry)))
        if entry.kind is not Kind.SYMLINK:
            path.chmod(entry.mode)


def units_text(files: Mapping[str, str]) -> str:
    """Return the lines of :func:`tests.support.memory_tree.memory_tree` for files and links.

    A value that starts with ``->`` is a link's target.
    """
    lines = []
    for path, content in files.items():
        if content.startswith("->"):
            lines.append(f"l 777 0:0 {path} {content[2:].strip()}")
        else:
            escaped = "".join(  # a star would stand for a length
                character
                if "!" < character < "\x7f" and character not in "\\*"
                else _escaped(character)
                for character in content
            )
            lines.append(f"f 644 0:0 {path} {escaped}".rstrip())
    return "\n".join(lines)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
