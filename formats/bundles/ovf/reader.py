"""OVF descriptors as files of their own, with their disks beside them.

Specification: DMTF DSP0243 1.1.0 and 2.1.0 ("Open Virtualization Format"), and VMware's draft 0.9.

Read: machines with several disks in the order of their controllers, chunked and gzip-compressed
files, disks without a file (blank), collections of machines, deployment options (the default one),
manifests (verified). Refused by name: delta disks, encrypted packages, files that would have to be
fetched from elsewhere.
"""

from __future__ import annotations

import codecs
import re

from formats.bundles.ovf.package import open_package
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource

_PROBE_BYTES = 4096
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF16_STARTS = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
# The root's start tag with the namespace among its attributes. Damaged roots are still OVF.
_ENVELOPE = re.compile(
    r"<(?:[\w.-]+:)?\w*Envelope\b[^>]*"
    r"(?:schemas\.dmtf\.org/ovf/|www\.vmware\.com/schema/ovf/1/envelope)"
)


def looks_like_ovf(source: ByteSource) -> bool:
    """Tell by the first bytes whether a file is an OVF descriptor."""
    head = bytes(source.read_at(0, _PROBE_BYTES))
    if head.startswith(_UTF16_BOMS):
        text = head.decode("utf-16", "replace")
    elif head[:2] in _UTF16_STARTS:
        text = head.decode(_UTF16_STARTS[head[:2]], "replace")
    else:
        text = head.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    return text.lstrip()[:1] == "<" and _ENVELOPE.search(text) is not None


class OvfReader:
    """The reader; see the module's documentation."""

    name = "ovf"
    category = Category.BUNDLE
    signatures: tuple[Signature, ...] = ()  # white space and comments may come first
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "Open Virtualization Format descriptor (OVF 0.9, 1.x, 2.x)",
        extensions=(".ovf",),
        specification="DMTF DSP0243 1.1.0 and 2.1.0",
        reads="its disks beside it, also in chunks or compressed; several machines; manifests are"
        " verified",
        refuses="delta disks, encrypted packages, files that are elsewhere",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return looks_like_ovf(source)

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Open the disks of the machines that are described.

        :raises CorruptError: for what contradicts itself, its manifest, or the specification.
        :raises UnsupportedError: for what is refused by name, and where there is no disk.
        :raises LimitError: for documents and disks that are too large.
        """
        name = source.origin.parts[-1]
        return open_package(source, name, context.siblings, context, source.origin)


READER = OvfReader()
