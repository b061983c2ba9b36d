"""OVA appliances: an OVF descriptor and its files in one tar archive, read in place.

Specification: DMTF DSP0243 clause 6.4. The descriptor ought to come first; any order is taken.
"""

from __future__ import annotations

from formats.bundles.members import Members, MemberSiblings, folder_of, text_of
from formats.bundles.ovf.package import open_package
from formats.bundles.tar import Content, classify, descriptor_path
from formats.core.errors import CorruptError
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource


class OvaReader:
    """The reader; see the module's documentation."""

    name = "ova"
    category = Category.BUNDLE
    signatures: tuple[Signature, ...] = ()  # v7 archives have none
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "Open Virtualization Appliance (OVA)",
        extensions=(".ova",),
        specification="DMTF DSP0243 1.1.0 and 2.1.0, clause 6.4",
        reads="members in any order, in place; what is read of OVF",
        refuses="what is refused of OVF; archives with several descriptors",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return classify(source) is Content.APPLIANCE

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Open the machines of the appliance.

        :raises CorruptError: for damaged archives, and as the reader of OVF raises it.
        :raises UnsupportedError: as the reader of OVF raises it.
        :raises LimitError: as the reader of OVF raises it.
        """
        members = Members(source, context.limits)
        return open_member(members, descriptor_path(members), context)


def open_member(members: Members, path: bytes | None, context: OpenContext) -> Volumes:
    """Open a descriptor among the members of an archive.

    :raises CorruptError: if there is none, and as the reader of OVF raises it.
    """
    descriptor = members.source(path) if path is not None else None
    if path is None or descriptor is None:
        raise CorruptError("has no OVF descriptor", origin=members.archive.origin)
    siblings = MemberSiblings(members, folder_of(path))
    name = text_of(path).rpartition("/")[2]
    return open_package(descriptor, name, siblings, context, members.archive.origin)


READER = OvaReader()
