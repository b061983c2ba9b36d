"""VMware's description of a machine (.vmx), with its disks beside it.

VMware does not specify it; see :mod:`formats.bundles.vmx.text`.

Read: the disks that are attached, in the order of their buses and units, snapshots through the
disks' own chain; CD and floppy images are listed. Refused by name: encrypted machines.
"""

from __future__ import annotations

from formats.bundles.vmx.machine import open_machine
from formats.bundles.vmx.text import looks_like_vmx
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource


class VmxReader:
    """The reader; see the module's documentation."""

    name = "vmx"
    category = Category.BUNDLE
    signatures: tuple[Signature, ...] = ()  # its lines come in any order
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "VMware machine (.vmx)",
        extensions=(".vmx",),
        specification='VMware knowledge base 1714, "Editing a virtual machine configuration file"',
        reads="its disks beside it, with their snapshots",
        refuses="encrypted machines",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return looks_like_vmx(source)

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Open the machine's disks; see :func:`~formats.bundles.vmx.machine.open_machine`."""
        return open_machine(source, context.siblings, context, source.origin)


READER = VmxReader()
