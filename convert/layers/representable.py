"""What a layer cannot hold, or must not, is taken out of the tree here, each with its finding.

==================  ==============================================================================
rule                what
==================  ==============================================================================
``socket``          sockets: tar has no form for them, and a service makes its own
``special-file``    device nodes and fifos: runtimes make their own ``/dev``
``whiteout-name``   names that begin with ``.wh.``, and what is below such folders: in a layer they
                    delete (OCI image-spec, layer.md, "Whiteouts")
``xattr``           xattrs that are bound to one machine, that engines act on, or that do not fit
``capability``      file capabilities in a form that only works in one user namespace
==================  ==============================================================================

Kept xattrs: ``security.capability``, ``user.*`` but for what engines keep there, POSIX ACLs.
Labels that a security policy puts on every file are counted, one finding for each name; everything
else has a finding for each path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import Struct
from typing import TypeAlias

from convert.layers.tar import PAX_HEADER_BYTES
from convert.trees import FilteredTree
from formats.core.entry import Entry, Kind
from formats.core.finding import Action, Finding
from formats.core.limits import KIB
from formats.core.origin import printable
from formats.core.tree import Tree

_Xattr: TypeAlias = tuple[bytes, bytes]

_WHITEOUT_PREFIX = b".wh."
_SPECIAL = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE, Kind.FIFO})

_CAPABILITY = b"security.capability"
_ACLS = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})
_USER = b"user."
_ENGINE_XATTRS = {
    b"user.overlay.": "overlay filesystems act on it",
    b"user.fuseoverlayfs.": "fuse-overlayfs acts on it",
    b"user.containers.": "container storage takes owner and mode from it",
    b"user.rootlesscontainers": "rootless runtimes take the owner from it",
}
"""A layer that brings these could hide files, or change owners, on the host that unpacks it."""
_BOUND_XATTRS = {
    b"security.": "belongs to the security policy of one machine",
    b"trusted.": "is for the guest's own kernel and tools",
    b"system.nfs4_acl": "only works on NFS",
}
_COUNTED = b"security."
_XATTR_BYTES = PAX_HEADER_BYTES - 64 * KIB
"""What xattrs of one file may take together, which leaves room for its names."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A tree that can be encoded, and what it lost."""

    tree: Tree
    findings: tuple[Finding, ...]


def fit_layer(tree: Tree) -> Fitted:
    """Return ``tree`` as far as an image layer should hold it."""
    return _Fit(_layer_objection, _layer_xattr).result(tree)


def fit_tar(tree: Tree) -> Fitted:
    """Return ``tree`` as far as a tar archive can hold it, devices and all xattrs included."""
    return _Fit(_tar_objection, _tar_xattr).result(tree)


@dataclass(frozen=True, slots=True)
class _Objection:
    """Why an entry is dropped."""

    rule: str
    evidence: str


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The value to keep, None to drop the xattr; ``finding`` says what is worth knowing."""

    value: bytes | None
    finding: str = ""


class _Fit:
    """One run over a tree, with what it found.

    :param objection: why an entry is dropped, or None.
    :param xattr: what to do about one of its xattrs.
    """

    def __init__(
        self,
        objection: Callable[[Entry], _Objection | None],
        xattr: Callable[[_Xattr], _Verdict],
    ) -> None:
        self._objection = objection
        self._xattr = xattr
        self._findings: list[Finding] = []
        self._counted: dict[bytes, tuple[bytes, int]] = {}
        """First path and number of files, by name of an xattr that every file has."""

    def result(self, tree: Tree) -> Fitted:
        """Decide on every entry."""
        fitted = FilteredTree(tree, self._decide)
        labels = (
            Finding(
                "xattr",
                path,
                Action.DROPPED,
                f"{printable(name)} {_BOUND_XATTRS[_COUNTED]}; the first of {count:,} files",
            )
            for name, (path, count) in sorted(self._counted.items())
        )
        return Fitted(fitted, (*self._findings, *labels))

    def _decide(self, entry: Entry) -> Entry | None:
        objection = self._objection(entry)
        if objection is not None:
            self._findings.append(
                Finding(objection.rule, entry.path, Action.DROPPED, objection.evidence)
            )
            return None
        if not entry.xattrs or entry.kind is Kind.HARDLINK:  # a link has what its target has
            return entry
        kept = self._fitting(entry)
        return entry if kept == entry.xattrs else replace(entry, xattrs=kept)

    def _fitting(self, entry: Entry) -> tuple[_Xattr, ...]:
        kept: list[_Xattr] = []
        for xattr in entry.xattrs:
            verdict = self._xattr(xattr)
            if verdict.finding:
                self._note(entry, xattr[0], verdict)
            if verdict.value is not None:
                kept.append((xattr[0], verdict.value))
        while sum(len(name) + len(value) for name, value in kept) > _XATTR_BYTES:
            largest = max(kept, key=lambda xattr: len(xattr[1]))
            kept.remove(largest)
            self._note(entry, largest[0], _Verdict(None, "makes the xattrs of this file too large"))
        return tuple(kept)

    def _note(self, entry: Entry, name: bytes, verdict: _Verdict) -> None:
        if name.startswith(_COUNTED) and name != _CAPABILITY:
            first, count = self._counted.get(name, (entry.path, 0))
            self._counted[name] = first, count + 1
            return
        rule = "capability" if name == _CAPABILITY else "xattr"
        action = Action.DROPPED if verdict.value is None else Action.CHANGED
        self._findings.append(
            Finding(rule, entry.path, action, f"{printable(name)} {verdict.finding}")
        )


def _tar_objection(entry: Entry) -> _Objection | None:
    if entry.kind is Kind.SOCKET:
        return _Objection("socket", "no archive can hold a socket")
    return None


def _layer_objection(entry: Entry) -> _Objection | None:
    if _WHITEOUT_PREFIX in entry.path and _is_whiteout(entry.path):
        return _Objection("whiteout-name", "would delete files in layers below")
    if entry.kind in _SPECIAL:
        return _Objection("special-file", f"is a {entry.kind.value}")
    return _tar_objection(entry)


def _is_whiteout(path: bytes) -> bool:
    return any(part.startswith(_WHITEOUT_PREFIX) for part in path.split(b"/"))


def _tar_xattr(xattr: _Xattr) -> _Verdict:
    name, value = xattr
    if b"=" in name:
        return _Verdict(None, "has a name that pax headers cannot hold")
    return _Verdict(value)


def _layer_xattr(xattr: _Xattr) -> _Verdict:
    name, value = xattr
    if name == _CAPABILITY:
        return _portable_capability(value)
    if name in _ACLS:
        return _Verdict(value)
    if not name.startswith(_USER):
        reasons = [reason for start, reason in _BOUND_XATTRS.items() if name.startswith(start)]
        return _Verdict(None, reasons[0] if reasons else "is not known to mean the same elsewhere")
    for start, reason in _ENGINE_XATTRS.items():
        if name.startswith(start):
            return _Verdict(None, reason)
    if not value:  # pax(1): an empty value is no record, and clients written in Go hold to it
        return _Verdict(None, "is empty, which container engines do not read")
    return _tar_xattr(xattr)


# linux/capability.h: struct vfs_cap_data and vfs_ns_cap_data, little-endian.
_CAPABILITY_FORMS = {
    0x01000000: Struct("<III"),  # version 1: flags, then one permitted and inheritable pair
    0x02000000: Struct("<IIIII"),  # version 2: two pairs
    0x03000000: Struct("<IIIIII"),  # version 3: two pairs and the root user's id
}
_CAPABILITY_VERSION_2 = 0x02000000
_CAPABILITY_VERSION_MASK = 0xFF000000


def _portable_capability(value: bytes) -> _Verdict:
    """Return file capabilities as version 2, which every namespace takes.

    Version 3 only counts where one certain user id is root. Version 1 can be read by a kernel, but
    not be set any more.
    """
    version = int.from_bytes(value[:4], "little") & _CAPABILITY_VERSION_MASK
    form = _CAPABILITY_FORMS.get(version)
    if form is None or len(value) != form.size:
        return _Verdict(None, "is not in a form that Linux reads")
    if version == _CAPABILITY_VERSION_2:
        return _Verdict(value)
    flags, *words = form.unpack(value)
    pairs = (*words[:4], 0, 0)[:4]
    portable = _CAPABILITY_FORMS[_CAPABILITY_VERSION_2].pack(
        flags & ~_CAPABILITY_VERSION_MASK | _CAPABILITY_VERSION_2, *pairs
    )
    return _Verdict(portable, f"is rewritten from version {version >> 24} to version 2")
