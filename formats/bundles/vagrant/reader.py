"""Vagrant boxes (.box): a tar archive, mostly compressed, with a machine for one provider.

Specification: Vagrant's documentation, "Box File Format"; of the providers' own parts
vagrant-libvirt, vagrant-parallels, and the formats that the others are made of (OVF, .vmx).

Read: virtualbox, libvirt, vmware, hyperv, parallels (disks of one file), and disk images in boxes
of providers that are not known. Refused by name: docker, lxc, boxes that only name a machine in a
cloud. The Vagrantfile is read for what it states, and never run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from formats.bundles.members import Members
from formats.bundles.tar import Content, classify
from formats.bundles.texts import clean_facts, clean_machine
from formats.bundles.vagrant.box import Box, read_box
from formats.bundles.vagrant.providers import open_disks
from formats.core.machine import Machine
from formats.core.origin import Origin
from formats.core.reader import Category, OpenContext, ReaderDoc, Signature, Volumes
from formats.core.source import ByteSource


class VagrantReader:
    """The reader; see the module's documentation."""

    name = "vagrant"
    category = Category.BUNDLE
    signatures: tuple[Signature, ...] = ()  # what makes it a box is among its members
    supersedes: frozenset[str] = frozenset()
    doc = ReaderDoc(
        "Vagrant box",
        extensions=(".box",),
        specification="Vagrant documentation: Box File Format",
        reads="boxes for virtualbox, libvirt, vmware, hyperv and parallels; forwarded ports and"
        " settings of the Vagrantfile as facts",
        refuses="boxes for docker, lxc and clouds; Parallels disks of several files",
    )

    def probe(self, source: ByteSource) -> bool:
        """See :class:`~formats.core.reader.Reader`."""
        return classify(source) is Content.BOX

    def open(self, source: ByteSource, context: OpenContext) -> Volumes:
        """Open the disks of the box.

        :raises UnsupportedError: for boxes without a disk, and what is refused of their parts.
        :raises CorruptError: for damaged archives, metadata and descriptors.
        """
        members = Members(source, context.limits)
        box = read_box(members, context.limits)
        opened = open_disks(members, box, context)
        machine = _machine(opened.machine, box, source.origin)
        facts = clean_facts({"provider": box.provider, **_facts(box), **opened.facts})
        return replace(opened, facts=facts, machine=machine)


def _facts(box: Box) -> dict[str, str]:
    facts = {"architecture": box.architecture or ""}
    return facts | {"ports": ", ".join(port.port for port in box.vagrantfile.ports)}


def _machine(described: Machine | None, box: Box, origin: Origin) -> Machine:
    """Return the machine with what the box adds; what its own descriptor says goes first."""
    machine = described or Machine(re.sub(r"\.(box|tar)$", "", origin.parts[-1]))
    added = {"vagrant.provider": box.provider, **_prefixed("vagrant.info", box.info)}
    if box.architecture:
        added["architecture"] = box.architecture
    added |= _prefixed("vagrant", box.vagrantfile.settings)
    properties = {**added, **machine.properties}
    return clean_machine(replace(machine, properties=properties, ports=box.vagrantfile.ports))


def _prefixed(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{name}": value for name, value in values.items() if value}


READER = VagrantReader()
