"""The bundle of certificates that update-ca-certificates(8) makes: one file of all, one link each.

``/etc/ssl/certs/NAME.pem`` leads to the certificate, ``ca-certificates.crt`` holds all of them. The
links by hash that OpenSSL looks for in a folder are not made: its file of all comes first.
"""

from __future__ import annotations

from convert.inspect.text import encoded
from convert.packages.system import DeedError, System
from convert.packages.world import FILES
from formats.core.finding import Action

_STORE = b"usr/share/ca-certificates"
_LOCAL = b"usr/local/share/ca-certificates"
_FOLDER = "/etc/ssl/certs"
_BUNDLE = f"{_FOLDER}/ca-certificates.crt"
_CONFIGURATION = "/etc/ca-certificates.conf"
_PEM = b"-----BEGIN CERTIFICATE-----"
_BY = "as update-ca-certificates makes it"
_BUNDLE_MAX_BYTES = 32 << 20


def make_bundle(system: System) -> None:
    """Make the bundle, if packages bring certificates; all that they bring are trusted."""
    world = system.world
    refused = _refused(system)
    found: list[tuple[str, bytes]] = []
    size = 0
    is_new = False
    for store in (_STORE, _LOCAL):
        if world.get(store) is None:
            continue
        for path in sorted(world.below(store)):
            item = world.get(path)
            if item is None or item.entry.kind not in FILES or not path.endswith(b".crt"):
                continue
            if path.removeprefix(_STORE + b"/") in refused:
                continue
            content = world.content(path) or b""
            size += len(content)
            if not content.startswith(_PEM) or size > _BUNDLE_MAX_BYTES:
                continue
            is_new = is_new or not item.is_base
            found.append(("/" + path.decode("utf-8", "surrogateescape"), content))
    if not is_new:
        return
    try:
        _make(system, found)
    except DeedError as error:
        system.told("package-certificates", encoded(_BUNDLE[1:]), Action.REPORTED, str(error))


def _refused(system: System) -> set[bytes]:
    """Return what the root's configuration says not to trust: the names after a ``!``."""
    lines = (system.world.content(_CONFIGURATION.encode()) or b"").split(b"\n")
    return {line[1:].strip() for line in lines if line.startswith(b"!")}


def _make(system: System, found: list[tuple[str, bytes]]) -> None:
    quiet = System(system.world, system.accounts, lambda _: None)
    quiet.make_folder(_FOLDER, _BY)
    for path, _ in found:
        name = path.rpartition("/")[2].removesuffix(".crt")
        link = f"{_FOLDER}/{name.replace(' ', '_')}.pem"
        if quiet.item(link, follow=False) is None:
            quiet.make_link(link, path, _BY, replaces=False)
    bundle = b"".join(
        content if content.endswith(b"\n") else content + b"\n" for _, content in found
    )
    quiet.write(_BUNDLE, bundle, _BY)
    if quiet.item(_CONFIGURATION) is None:
        store = f"/{_STORE.decode()}/"
        names = [path.removeprefix(store) for path, _ in found if path.startswith(store)]
        quiet.write(_CONFIGURATION, encoded("".join(f"{name}\n" for name in names)), _BY)
    evidence = f"{len(found)} certificates, {_BY}"
    system.told("package-certificates", encoded(_BUNDLE[1:]), Action.ADDED, evidence)
