"""From descriptors beside their disks to volumes, in the order that the machine has them."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.errors import CorruptError, EncryptedError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.opener import Node, open_artifact
from formats.core.origin import Origin
from formats.core.reader import Volume
from formats.core.source import MemorySource
from tests.images.ovf import (
    DMTF1,
    DMTF2,
    IDE,
    SATA,
    SCSI,
    VMWARE,
    Drive,
    Machine,
    Package,
    package,
)
from tests.images.volumes import opened
from tests.support.disks import whole

SECTOR = 512


def write(folder: Path, what: Package, *names: str) -> Path:
    """Write a descriptor, and files that hold their own names."""
    for name in names:
        (folder / name).write_bytes(name.encode().ljust(SECTOR, b"."))
    path = folder / "server.ovf"
    path.write_text(what.text())
    return path


def disks_of(node: Node) -> list[str]:
    """Return what each disk starts with: the name of its file, or nothing."""
    found = []
    for child in node.children:
        if child.problem is not None:
            raise child.problem
        head = bytes(child.volume.source.read_at(0, SECTOR))
        found.append(head.rstrip(b".\0").decode())
    return found


def disks(path: Path) -> list[str]:
    with opened(path) as artifact:
        (node,) = artifact.nodes
        assert node.reader is not None
        if node.problem is not None:
            raise node.problem
        return disks_of(node)


@pytest.mark.parametrize(
    "namespace", [VMWARE, DMTF1, DMTF2, "http://schemas.dmtf.org/ovf/1/envelope"]
)
def test_all_versions_are_read(tmp_path: Path, namespace: str) -> None:
    path = write(tmp_path, package("a.vmdk", "b.vmdk", namespace=namespace), "a.vmdk", "b.vmdk")
    assert disks(path) == ["a.vmdk", "b.vmdk"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_descriptors_in_any_encoding_of_xml_are_read(tmp_path: Path, encoding: str) -> None:
    named = {"utf-8-sig": "UTF-8", "latin-1": "ISO-8859-1"}.get(encoding, "UTF-16")
    what = replace(
        package("dïsk.vmdk"), prologue=f'<?xml version="1.0" encoding="{named}"?><!-- made -->\n'
    )
    path = write(tmp_path, what, "dïsk.vmdk")
    path.write_bytes(what.text().encode(encoding))
    with opened(path) as artifact:
        assert [child.volume.label for child in artifact.nodes[0].children] == ["dïsk.vmdk"]
        assert artifact.nodes[0].children[0].problem is None


def _arranged(*drives: Drive) -> Package:
    """Return a package of the disks ``0``, ``1``, … in the order in which they are listed."""
    count = len(drives)
    return Package(
        tuple({"id": f"f{number}", "href": str(number)} for number in range(count)),
        tuple(
            {"diskId": f"d{number}", "fileRef": f"f{number}", "capacity": "1"}
            for number in range(count)
        ),
        (Machine(drives=drives),),
    )


@pytest.mark.parametrize("namespace", [VMWARE, DMTF1, DMTF2])
def test_disks_come_in_the_order_of_controllers_and_addresses(
    tmp_path: Path, namespace: str
) -> None:
    what = _arranged(
        Drive("ovf:/disk/d0", IDE, 0, 0),
        Drive("ovf:/disk/d1", SCSI, 1, 0),
        Drive("ovf:/disk/d2", SCSI, 0, 10),
        Drive("ovf:/disk/d3", SATA, 0, 0),
        Drive("ovf:/disk/d4", SCSI, 0, 9),
        Drive("ovf:/disk/d5", SCSI, 0, None),
    )
    path = write(tmp_path, replace(what, namespace=namespace), *"012345")
    assert disks(path) == ["4", "2", "5", "1", "3", "0"]
    with opened(path) as artifact:
        assert [child.disk for child in artifact.nodes[0].children] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "resource", ["ovf:/disk/d0", "/disk/d0", "ovf://disk/d0", "disk/d0", "ovf:/file/f0"]
)
def test_drives_refer_to_disks_and_files_in_all_spellings(tmp_path: Path, resource: str) -> None:
    assert disks(write(tmp_path, _arranged(Drive(resource)), "0")) == ["0"]


def test_cd_and_floppy_images_are_listed_and_not_opened(tmp_path: Path) -> None:
    what = _arranged(
        Drive("ovf:/disk/d0"),
        Drive("ovf:/file/f1", IDE, kind=15),
        Drive("ovf:/file/f2", IDE, 1, kind=14),
    )
    what = replace(
        what,
        files=(
            *what.files[:1],
            {"id": "f1", "href": "setup.iso"},
            {"id": "f2", "href": "boot.flp"},
        ),
        disks=what.disks[:1],
    )
    what = replace(what, files=(*what.files, {"id": "f3", "href": "server.nvram"}))
    path = write(tmp_path, what, "0", "setup.iso", "boot.flp", "server.nvram")
    assert disks(path) == ["0"]
    with opened(path) as artifact:
        facts = artifact.nodes[0].facts
    assert facts["removable-media"] == "setup.iso (CD), boot.flp (floppy)"
    assert facts["other-files"] == "server.nvram"


def test_disks_without_a_file_are_blank_and_keep_their_place(tmp_path: Path) -> None:
    what = _arranged(*(Drive(f"ovf:/disk/d{number}", address=number) for number in range(3)))
    blank = {"diskId": "d1", "capacity": "2", "capacityAllocationUnits": "byte * 2^20"}
    what = replace(what, disks=(what.disks[0], blank, what.disks[2]))
    path = write(tmp_path, what, *"012")
    assert disks(path) == ["0", "", "2"]
    with opened(path) as artifact:
        node = artifact.nodes[0]
        assert node.children[1].volume.source.size == 2 << 20
        assert node.facts["blank-disks"] == "d1 (2 MiB)"
        assert [child.disk for child in node.children] == [0, 1, 2]


def test_the_size_of_a_blank_disk_may_be_a_property(tmp_path: Path) -> None:
    prop = '<Property ovf:key="size" ovf:type="int" ovf:value="3"/>'
    more = f"<ProductSection><Info/>{prop}</ProductSection>"
    disk = {"diskId": "d0", "capacity": "${size}", "capacityAllocationUnits": "MegaBytes"}
    what = Package(disks=(disk,), machines=(Machine(drives=(Drive("ovf:/disk/d0"),), more=more),))
    with opened(write(tmp_path, what)) as artifact:
        assert artifact.nodes[0].children[0].volume.source.size == 3 << 20


@pytest.mark.parametrize(
    ("disk", "error"),
    [
        ({"capacity": "${size}"}, UnsupportedError),
        ({"capacity": "1", "capacityAllocationUnits": "furlong"}, UnsupportedError),
        ({"capacity": "1", "capacityAllocationUnits": "byte * 2^60"}, LimitError),
        ({"capacity": "9" * 18, "capacityAllocationUnits": "byte * 10^99"}, LimitError),
    ],
)
def test_blank_disks_of_unknown_or_absurd_sizes_are_refused(
    tmp_path: Path, disk: dict[str, str], error: type[Exception]
) -> None:
    what = Package(
        disks=({"diskId": "d0", **disk},), machines=(Machine(drives=(Drive("ovf:/disk/d0"),)),)
    )
    with pytest.raises(error):
        disks(write(tmp_path, what))


def test_of_deployment_options_the_default_one_applies(tmp_path: Path) -> None:
    options = (
        "<DeploymentOptionSection><Info/>"
        '<Configuration ovf:id="small"/><Configuration ovf:id="large" ovf:default="true"/>'
        "</DeploymentOptionSection>"
    )
    what = _arranged(
        Drive("ovf:/disk/d0", configuration="small"),
        Drive("ovf:/disk/d1", address=1, configuration="large huge"),
        Drive("ovf:/disk/d2", address=2),
    )
    path = write(tmp_path, replace(what, more=options), *"012")
    assert disks(path) == ["1", "2"]
    first = replace(what, more=options.replace(' ovf:default="true"', ""))
    assert disks(write(tmp_path, first)) == ["0", "2"]
    with opened(path) as artifact:
        facts = artifact.nodes[0].facts
    assert (facts["configuration"], facts["configurations"]) == ("small", "small, large")


def _two_machines() -> Package:
    what = _arranged(Drive("ovf:/disk/d0"), Drive("ovf:/disk/d1"), Drive("ovf:/disk/d2", address=1))
    one, two, three = what.machines[0].drives
    machines = (Machine("web", (one,)), Machine("db", (two, three)))
    return replace(what, machines=machines, collection="<Name>Shop</Name>")


@pytest.mark.parametrize("namespace", [DMTF1, DMTF2])
def test_machines_of_a_collection_are_volumes_with_their_disks(
    tmp_path: Path, namespace: str
) -> None:
    what = replace(_two_machines(), namespace=namespace)
    with opened(write(tmp_path, what, *"012")) as artifact:
        (node,) = artifact.nodes
        assert [child.volume.label for child in node.children] == ["vm:web", "vm:db"]
        assert [disks_of(child) for child in node.children] == [["0"], ["1", "2"]]
        names = [child.machine.name for child in node.children if child.machine]
        assert names == ["web", "db"]
        assert node.machine is None
        inner = [disk for child in node.children for disk in child.children]
        assert [disk.machine.name for disk in inner if disk.machine] == ["web", "db", "db"]


def test_a_machine_that_cannot_be_read_keeps_no_other_from_it(tmp_path: Path) -> None:
    what = _two_machines()
    broken = Machine("web", (Drive("ovf:/disk/none"),))
    path = write(tmp_path, replace(what, machines=(broken, what.machines[1])), *"012")
    with opened(path) as artifact:
        web, db = artifact.nodes[0].children
        assert isinstance(web.problem, CorruptError)
        assert disks_of(db) == ["1", "2"]


def test_a_collection_of_one_machine_is_that_machine(tmp_path: Path) -> None:
    what = _two_machines()
    path = write(tmp_path, replace(what, machines=what.machines[1:]), *"012")
    assert disks(path) == ["1", "2"]


def test_collections_may_hold_collections(tmp_path: Path) -> None:
    what = _two_machines()
    inner = '<VirtualSystemCollection ovf:id="in"><Info/>{}</VirtualSystemCollection>'
    text = what.text()
    start = text.index('<VirtualSystem ovf:id="db"')
    stop = text.rindex("</VirtualSystemCollection>")
    path = write(tmp_path, what, *"012")
    path.write_text(text[:start] + inner.format(text[start:stop]) + text[stop:])
    with opened(path) as artifact:
        assert [disks_of(child) for child in artifact.nodes[0].children] == [["0"], ["1", "2"]]


def test_a_missing_disk_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk", "b.vmdk"), "b.vmdk")
    with opened(path) as artifact:
        first, second = artifact.nodes[0].children
        assert isinstance(first.problem, CorruptError)
        assert "'a.vmdk', which is missing" in str(first.problem)
        assert second.problem is None


def test_delta_disks_are_refused_by_name(tmp_path: Path) -> None:
    what = package("a.vmdk", "b.vmdk")
    what = replace(what, disks=(what.disks[0], {**what.disks[1], "parentRef": "disk0"}))
    with opened(write(tmp_path, what, "a.vmdk", "b.vmdk")) as artifact:
        base, delta = artifact.nodes[0].children
        assert base.problem is None
        assert isinstance(delta.problem, UnsupportedError)
        assert "'disk1' changed of 'disk0'" in str(delta.problem)


def test_compressed_disks_are_decompressed(tmp_path: Path) -> None:
    what = package("disk.raw.gz")
    what = replace(what, files=({**what.files[0], "compression": "gzip"},))
    path = write(tmp_path, what)
    content = bytes(range(256)) * 1000
    (tmp_path / "disk.raw.gz").write_bytes(gzip.compress(content))
    with opened(path) as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.reader is not None
        assert disk.reader.name == "gzip"
        assert whole(disk.children[0].volume.source) == content


def test_a_disk_that_is_not_compressed_as_stated_is_an_error(tmp_path: Path) -> None:
    what = package("disk.raw")
    what = replace(what, files=({**what.files[0], "compression": "gzip"},))
    with pytest.raises(CorruptError, match="not compressed by gzip"):
        disks(write(tmp_path, what, "disk.raw"))


CHUNK = 1000


def _chunked(folder: Path, size: int | None, *lengths: int) -> tuple[Path, bytes]:
    """Write a disk in chunks of these lengths; return the descriptor and the disk's content."""
    content = bytes(number % 251 for number in range(sum(lengths)))
    position = 0
    for number, length in enumerate(lengths):
        (folder / f"disk.raw.{number:09}").write_bytes(content[position : position + length])
        position += length
    what = package("disk.raw")
    stated = {"chunkSize": str(CHUNK)} | ({} if size is None else {"size": str(size)})
    return write(folder, replace(what, files=({**what.files[0], **stated},))), content


@pytest.mark.parametrize("lengths", [(CHUNK, CHUNK, 10), (CHUNK, CHUNK), (7,)])
@pytest.mark.parametrize("is_stated", [True, False])
def test_chunks_are_put_together(
    tmp_path: Path, lengths: tuple[int, ...], *, is_stated: bool
) -> None:
    path, content = _chunked(tmp_path, sum(lengths) if is_stated else None, *lengths)
    with opened(path) as artifact:
        (disk,) = artifact.nodes[0].children
        assert disk.problem is None
        assert whole(disk.volume.source) == content


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (3 * CHUNK, (CHUNK, CHUNK)),  # the last is missing
        (2 * CHUNK, (CHUNK, CHUNK - 1)),  # the last is cut short
        (3 * CHUNK, (CHUNK, CHUNK - 1, CHUNK)),  # one in the middle is
        (2 * CHUNK, (CHUNK + 1, CHUNK - 1)),  # one is too long
        (None, (CHUNK + 1,)),
        (CHUNK, ()),
    ],
)
def test_missing_chunks_and_such_of_a_wrong_size_are_errors(
    tmp_path: Path, size: int | None, lengths: tuple[int, ...]
) -> None:
    with pytest.raises(CorruptError):
        disks(_chunked(tmp_path, size, *lengths)[0])


def test_a_size_that_differs_is_reported(tmp_path: Path) -> None:
    what = package("a.vmdk")
    what = replace(what, files=({**what.files[0], "size": "9"},))
    with opened(write(tmp_path, what, "a.vmdk")) as artifact:
        assert artifact.nodes[0].children[0].problem is None
        assert [finding.rule for finding in artifact.findings] == ["ovf-size-differs"]


@pytest.mark.parametrize(
    ("href", "name"),
    [("a%20b.vmdk", "a b.vmdk"), ("a%20b.vmdk", "a%20b.vmdk"), ("ü.vmdk", "ü.vmdk")],
)
def test_references_are_taken_as_written_or_with_their_escapes(
    tmp_path: Path, href: str, name: str
) -> None:
    assert disks(write(tmp_path, package(href), name)) == [name.encode().decode()]


@pytest.mark.parametrize(
    "href", ["../secret", "%2e%2e/secret", "/etc/hostname", "sub/disk", "C:\\disk", "", "."]
)
def test_references_out_of_the_folder_are_refused(tmp_path: Path, href: str) -> None:
    (tmp_path / "secret").write_bytes(b"canary")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "disk").write_bytes(b"canary")
    with pytest.raises((UnsupportedError, CorruptError)) as caught:
        disks(write(folder, package(href)))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "file", "ftp"])
def test_nothing_is_fetched_from_elsewhere(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(UnsupportedError, match="nothing is fetched"):
        disks(write(tmp_path, package(f"{scheme}://localhost/disk.vmdk")))


def test_symlinks_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk"))
    (tmp_path / "a.vmdk").symlink_to("/etc/hostname")
    with pytest.raises(UnsupportedError, match="symlink"):
        disks(path)


def _changed(**changes: object) -> Package:
    return replace(package("a.vmdk", "b.vmdk"), **changes)  # type: ignore[arg-type]


_FILE, _DISK = {"id": "f", "href": "a.vmdk"}, {"diskId": "d", "fileRef": "f", "capacity": "1"}
_DRIVES = (Machine(drives=(Drive("ovf:/disk/d"),)),)
WRONG: dict[str, tuple[Package, type[Exception], str]] = {
    "no machine": (_changed(machines=()), CorruptError, "no VirtualSystem"),
    "no disk": (_changed(machines=(Machine(),)), UnsupportedError, "without a disk"),
    "an id twice": (
        _changed(machines=(Machine("a", _DRIVES[0].drives), Machine("a"))),
        CorruptError,
        "two machines",
    ),
    "no id": (_changed(machines=(Machine(""),)), CorruptError, "attribute id"),
    "another version": (
        _changed(namespace="http://schemas.dmtf.org/ovf/envelope/3"),
        UnsupportedError,
        "version",
    ),
    "a version that is none": (_changed(attributes={"version": "x"}), UnsupportedError, "'x'"),
    "another version than its namespace": (
        _changed(attributes={"version": "2.0"}),
        UnsupportedError,
        "'2.0'",
    ),
    "a file without href": (
        Package(({"id": "f"},), (_DISK,), _DRIVES),
        CorruptError,
        "attribute href",
    ),
    "a file twice": (
        Package((_FILE, {**_FILE, "id": "g"}), (_DISK,), _DRIVES),
        CorruptError,
        "'a.vmdk' twice",
    ),
    "a file of size x": (
        Package(({**_FILE, "size": "x"},), (_DISK,), _DRIVES),
        CorruptError,
        "size is 'x'",
    ),
    "a negative size": (
        Package(({**_FILE, "size": "-1"},), (_DISK,), _DRIVES),
        CorruptError,
        "size is '-1'",
    ),
    "chunks of nothing": (
        Package(({**_FILE, "chunkSize": "0"},), (_DISK,), _DRIVES),
        CorruptError,
        "chunks of 0",
    ),
    "an unknown compression": (
        Package(({**_FILE, "compression": "xz"},), (_DISK,), _DRIVES),
        UnsupportedError,
        "'xz'",
    ),
    "a disk twice": (Package((_FILE,), (_DISK, _DISK), _DRIVES), CorruptError, "'d' twice"),
    "a disk without capacity": (
        Package((_FILE,), ({"diskId": "d", "fileRef": "f"},), _DRIVES),
        CorruptError,
        "attribute capacity",
    ),
    "a disk in no file": (
        Package((_FILE,), ({**_DISK, "fileRef": "none"},), _DRIVES),
        CorruptError,
        "'none', which it does not list",
    ),
    "a drive of no disk": (
        Package((_FILE,), (_DISK,), (Machine(drives=(Drive("ovf:/disk/none"),)),)),
        CorruptError,
        "'none'",
    ),
    "a drive of something else": (
        Package((_FILE,), (_DISK,), (Machine(drives=(Drive("a.vmdk"),)),)),
        CorruptError,
        "'a.vmdk'",
    ),
    "a file attached twice": (
        Package(
            (_FILE,),
            (_DISK, {**_DISK, "diskId": "e"}),
            (Machine(drives=(Drive("ovf:/disk/d"), Drive("ovf:/disk/e", address=1))),),
        ),
        CorruptError,
        "twice",
    ),
    "encryption": (
        _changed(more="<EncryptionSection><Info/></EncryptionSection>"),
        EncryptedError,
        "encrypted",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_contradicts_itself_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    what, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        disks(write(tmp_path, what, "a.vmdk", "b.vmdk"))


def test_a_descriptor_without_an_envelope_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk"), "a.vmdk")
    path.write_text(path.read_text().replace("Envelope", "FakeEnvelope"))
    with pytest.raises(CorruptError, match="'FakeEnvelope'"):
        disks(path)


def test_other_xml_is_no_descriptor(tmp_path: Path) -> None:
    for name, text in {"page": "<html>DSP0243</html>", "text": "Envelope", "empty": ""}.items():
        (tmp_path / name).write_text(text)
        with opened(tmp_path / name) as artifact:
            assert artifact.nodes[0].reader is None


def test_a_descriptor_may_not_be_larger_than_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk"), "a.vmdk")
    with opened(path, limits=Limits(descriptor_bytes=1000)) as artifact:
        assert isinstance(artifact.nodes[0].problem, LimitError)


def test_two_drives_with_one_number_are_two_drives(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk", "b.vmdk"), "a.vmdk", "b.vmdk")
    path.write_text(path.read_text().replace(">101<", ">100<"))
    assert disks(path) == ["a.vmdk", "b.vmdk"]


def test_an_item_of_the_deployment_option_replaces_the_one_for_all(tmp_path: Path) -> None:
    options = (
        '<DeploymentOptionSection><Info/><Configuration ovf:id="small"/></DeploymentOptionSection>'
    )
    what = _arranged(Drive("ovf:/disk/d0"), Drive("ovf:/disk/d1", configuration="small"))
    path = write(tmp_path, replace(what, more=options), *"01")
    path.write_text(path.read_text().replace(">101<", ">100<"))
    assert disks(path) == ["1"]


_WHOLE = replace(
    package("a.vmdk", "b.vmdk"),
    collection="<ProductSection><Info/><Product>x</Product></ProductSection>",
    more='<DeploymentOptionSection><Info/><Configuration ovf:id="a"/></DeploymentOptionSection>',
).text()
_PIECES = (
    "",
    '"',
    "<",
    ">",
    "</Item>",
    "<Item>",
    "-1",
    "9" * 30,
    "ovf:",
    "disk0",
    "17",
    "../",
    "&#0;",
)


@given(st.data())
def test_whatever_is_changed_there_is_a_machine_or_a_typed_error(data: st.DataObject) -> None:
    text = _WHOLE
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 40))
        text = text[:start] + data.draw(st.sampled_from(_PIECES)) + text[start + length :]
    source = MemorySource(text.encode(), Origin(("server.ovf",)))
    with open_artifact([Volume(source, "server.ovf")]) as artifact:
        (node,) = artifact.nodes
        assert node.reader is None or node.problem is not None or node.children
