"""The reader protocol: what a format has to say of itself, and what opening it gives.

The one rule: every reader turns one :class:`~formats.core.source.ByteSource` into more
:class:`Volume` s, or one :class:`~formats.core.tree.Tree`. A third form, :class:`Member`, is for
formats that need several sources before they give a volume (LVM, mdraid, multi-device btrfs).

Readers are plain objects, found by :mod:`formats.core.registry`; a third party's come in through
the entry-point group ``oci_convert.readers.v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from formats.core.errors import ConvertError
from formats.core.finding import Finding
from formats.core.limits import Limits
from formats.core.machine import Machine
from formats.core.origin import Origin
from formats.core.source import ByteSource
from formats.core.tree import Tree


class Category(Enum):
    """Which room of ``formats/`` a reader belongs to."""

    COMPRESSION = "compression"
    DISK = "disk"
    BUNDLE = "bundle"
    VOLUMES = "volumes"
    FILESYSTEM = "filesystem"
    PACKAGE = "package"
    ARCHIVE = "archive"


class Role(Enum):
    """What a volume is for, as far as its container says."""

    DATA = "data"
    ROOT = "root"
    USR = "usr"
    HOME = "home"
    SRV = "srv"
    VAR = "var"
    BOOT = "boot"
    EFI = "efi"
    SWAP = "swap"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class Signature:
    """Bytes that a format has at a fixed place; a negative offset counts from the end."""

    offset: int
    magic: bytes


@dataclass(frozen=True, slots=True)
class ReaderDoc:
    """What the format reference and ``convert formats`` show.

    :ivar title: the format's name for people: "QEMU copy-on-write disk (qcow2 v2, v3)".
    :ivar extensions: usual file name endings, with the dot; they never decide.
    :ivar specification: name and address of the document the reader was written from.
    :ivar reads: what is read.
    :ivar refuses: what is recognised and refused by name.
    """

    title: str
    extensions: tuple[str, ...] = ()
    specification: str = ""
    reads: str = ""
    refuses: str = ""


@runtime_checkable
class Siblings(Protocol):
    """The files that lie beside an input: where extents and backing files may come from."""

    def exists(self, name: str) -> bool:
        """Tell whether ``name`` could be opened."""
        ...

    def open(self, name: str, origin: Origin) -> ByteSource:
        """Return the sibling.

        :param name: as the input spells it. Only a plain name in the same folder is taken: no
            path, no symlink; see ``--allow-backing`` for more.
        :raises UnsupportedError: if the name is refused.
        :raises CorruptError: if there is no such file.
        """
        ...


@dataclass(frozen=True, slots=True)
class Subvolume:
    """Which of the trees of one filesystem a volume is (Btrfs).

    :ivar number: as ``subvolid=`` takes it.
    :ivar path: from the top of the filesystem, as ``subvol=`` takes it; ``b""`` is the top itself.
    :ivar is_default: whether it is mounted where nothing says which.
    :ivar is_snapshot: whether it was made as a copy of another subvolume.
    """

    number: int
    path: bytes
    is_default: bool = False
    is_snapshot: bool = False
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A block device, a file, or a tree among others, found inside a container.

    :ivar source: its bytes; ``source.origin`` is the whole breadcrumb.
    :ivar label: short name, unique in its container: ``gpt:2``, ``vg0/root``.
    :ivar role: what the container says it is for.
    :ivar uuid: the container's identity of it (PARTUUID, LV UUID), lower case.
    :ivar part_label: PARTLABEL.
    :ivar number: partition number, as in ``/dev/sda3``.
    :ivar device_names: paths below ``/dev`` that Linux would give it, where they are certain:
        ``mapper/vg0-root``, ``vg0/root``.
    :ivar siblings: files beside it, where it is a file among files.
    :ivar problem: why the bytes cannot be given; ``source`` is then empty. A thin volume beside a
        linear root must be named, and must not stop the root from being read.
    :ivar content: what is in it, where the container knows that already: a subvolume is a tree, a
        machine of a collection has disks. ``source`` is not looked at then; it may be empty.
    :ivar subvolume: which tree of its filesystem ``content`` is.
    :ivar is_alternative: whether it is another form of what a volume beside it is, and meant only
        when it is asked for.
    """

    source: ByteSource
    label: str
    role: Role = Role.DATA
    uuid: str | None = None
    part_label: str | None = None
    number: int | None = None
    device_names: tuple[str, ...] = ()
    siblings: Siblings | None = None
    problem: ConvertError | None = None
    content: Volumes | Tree | None = None
    subvolume: Subvolume | None = None
    is_alternative: bool = False


@dataclass(frozen=True, slots=True)
class Volumes:
    """What a container holds.

    :ivar facts: worth showing: create type, disk UUID.
    :ivar machine: the machine that the volumes are the disks of, where the container says so.
    """

    volumes: tuple[Volume, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    machine: Machine | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One of several sources that make volumes only together.

    :ivar group: equal for all members of one set: the volume group's UUID.
    :ivar detail: the reader's own, handed back to :meth:`GroupReader.assemble`.
    """

    group: str
    source: ByteSource
    detail: object
    facts: Mapping[str, str] = field(default_factory=dict)


Opened: TypeAlias = Volumes | Tree | Member


class OpenContext(Protocol):
    """What the opener lends to a reader."""

    @property
    def limits(self) -> Limits:
        """Limits to hold to."""
        ...

    @property
    def siblings(self) -> Siblings:
        """Files beside the one that is being read; an empty set where there are none."""
        ...

    @property
    def keys(self) -> Sequence[bytes]:
        """Passphrases and contents of key files that may open encrypted volumes."""
        ...

    @property
    def spool_folder(self) -> Path:
        """A private folder of the host for decompressed copies, removed at the end."""
        ...

    def note(self, finding: Finding) -> None:
        """Record something that the user should know."""
        ...

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report the progress of long work, in bytes of input."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the artifact is closed, last come first called."""
        ...

    def open_as(self, reader: str, source: ByteSource, siblings: Siblings | None = None) -> Opened:
        """Open ``source`` with the reader of that name, whatever it looks like.

        Used for backing images, whose format is stated. Depth is counted against
        ``limits.backing_chain``.

        :raises UnsupportedError: if there is no such reader, or the bytes are not of its format.
        """
        ...


class Reader(Protocol):
    """A format."""

    @property
    def name(self) -> str:
        """Short lower-case name, unique: ``qcow2``."""
        ...

    @property
    def category(self) -> Category:
        """The room it belongs to."""
        ...

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """One of them must be there before :meth:`probe` is asked; empty: it is always asked."""
        ...

    @property
    def supersedes(self) -> frozenset[str]:
        """Readers that give way when both match: gpt supersedes mbr, its protective table."""
        ...

    @property
    def doc(self) -> ReaderDoc:
        """For people."""
        ...

    def probe(self, source: ByteSource) -> bool:
        """Tell whether the bytes are of this format. Cheap, and never raises for bad bytes.

        A damaged instance is still an instance: say yes, and let :meth:`open` say what is wrong.
        """
        ...

    def open(self, source: ByteSource, context: OpenContext) -> Opened:
        """Read the structure, not the content.

        :raises UnsupportedError: a feature that is not read, by name.
        :raises CorruptError: with the offset.
        """
        ...


@runtime_checkable
class GroupReader(Reader, Protocol):
    """A format whose volumes span several members."""

    def assemble(self, members: Sequence[Member], context: OpenContext) -> Volumes:
        """Return the volumes of one group, given all of its members that were found.

        A volume that cannot be given (a missing member, an unknown layout) must still be in the
        result, with :attr:`Volume.problem` saying why.
        """
        ...
