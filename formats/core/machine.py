"""What a descriptor beside the disks says of the machine that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StatedPort:
    """A port that the machine serves, as its descriptor says.

    :ivar port: as an image's config has it: ``80/tcp``.
    :ivar where: file and line, for people: ``Vagrantfile:12``.
    """

    port: str
    where: str


@dataclass(frozen=True, slots=True)
class Machine:
    """One virtual machine of an OVF descriptor, a .vmx, a Vagrant box or an AMI.

    Nothing of it is needed to read the disks; it is for the user, and for the image's config.

    :ivar name: unique in its bundle, as ``--vm`` takes it.
    :ivar title: product or display name, where it has one.
    :ivar vendor: who made the product.
    :ivar version: of the product.
    :ivar licence: text of the licence agreements, as it stands in the descriptor.
    :ivar properties: what the descriptor says else, by short lower-case names with dots
        (``property.hostname``, ``annotation``, ``os``); becomes labels.
    :ivar ports: ports that others are meant to reach.
    """

    name: str
    title: str | None = None
    vendor: str | None = None
    version: str | None = None
    licence: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[StatedPort, ...] = ()
