"""Small guests with systemd, of which only the services matter."""

from __future__ import annotations

from convert.inspect.entrypoint import EntrypointDecision, decide_entrypoint
from convert.inspect.tree import inspect_tree
from formats.core.tree import TreeIndex
from tests.support.memory_tree import memory_tree
from tests.support.systemd import units_text

UNITS = "usr/lib/systemd/system"
WANTS = "etc/systemd/system/multi-user.target.wants"

SYSTEM = """
f 755 0:0 usr/lib/systemd/systemd \\x7fELF\\x02\\x01
l 777 0:0 sbin/init ../usr/lib/systemd/systemd
f 755 0:0 bin/sh x
f 755 0:0 usr/bin/app x
f 755 0:0 usr/bin/other x
"""
ACCOUNTS = {
    "etc/passwd": (
        "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\npostgres:x:70:70::/:/bin/sh\n"
        "mysql:x:71:71::/:/bin/sh\n"
    ),
    "etc/group": "root:x:0:\nwebs:x:34:\nssl:x:35:postgres\n",
}


def decide(
    units: dict[str, str],
    files: dict[str, str] | None = None,
    more: str = SYSTEM,
    wanted: str | None = None,
) -> EntrypointDecision:
    """Return the decision for a system in which all of ``units`` are enabled."""
    index = guest_index(units, files, more)
    return decide_entrypoint(inspect_tree(index), index, wanted=wanted)


def guest_index(
    units: dict[str, str], files: dict[str, str] | None = None, more: str = SYSTEM
) -> TreeIndex:
    """Return the tree of such a system."""
    texts = {**ACCOUNTS, **(files or {}), f"{UNITS}/multi-user.target": "[Unit]\nDescription=x\n"}
    for name, text in units.items():
        texts[f"{UNITS}/{name}"] = text
        texts[f"{WANTS}/{name}"] = f"-> /{UNITS}/{name}"
    return TreeIndex(memory_tree(more + units_text(texts)))


def service(command: str, *settings: str) -> str:
    return "\n".join(["[Service]", f"ExecStart={command}", *settings, ""])
