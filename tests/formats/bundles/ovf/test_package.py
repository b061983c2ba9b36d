"""From descriptors beside their disks to volumes, in the order that the machine has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from formats.core.errors import CorruptError, LimitError, UnsupportedError
from tests.formats.bundles.ovf.support import write
from tests.formats.bundles.support import disks, heads
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
    assert disks("ovf", path) == ["4", "2", "5", "1", "3", "0"]
    with opened(path) as artifact:
        assert [child.disk for child in artifact.nodes[0].children] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "resource", ["ovf:/disk/d0", "/disk/d0", "ovf://disk/d0", "disk/d0", "ovf:/file/f0"]
)
def test_drives_refer_to_disks_and_files_in_all_spellings(tmp_path: Path, resource: str) -> None:
    assert disks("ovf", write(tmp_path, _arranged(Drive(resource)), "0")) == ["0"]


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
    assert disks("ovf", path) == ["0"]
    with opened(path) as artifact:
        facts = artifact.nodes[0].facts
    assert facts["removable-media"] == "setup.iso (CD), boot.flp (floppy)"
    assert facts["other-files"] == "server.nvram"


def test_disks_without_a_file_are_blank_and_keep_their_place(tmp_path: Path) -> None:
    what = _arranged(*(Drive(f"ovf:/disk/d{number}", address=number) for number in range(3)))
    blank = {"diskId": "d1", "capacity": "2", "capacityAllocationUnits": "byte * 2^20"}
    what = replace(what, disks=(what.disks[0], blank, what.disks[2]))
    path = write(tmp_path, what, *"012")
    assert disks("ovf", path) == ["0", "", "2"]
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
        disks("ovf", write(tmp_path, what))


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
    assert disks("ovf", path) == ["1", "2"]
    first = replace(what, more=options.replace(' ovf:default="true"', ""))
    assert disks("ovf", write(tmp_path, first)) == ["0", "2"]
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
        assert [heads(child) for child in node.children] == [["0"], ["1", "2"]]
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
        assert heads(db) == ["1", "2"]


def test_a_collection_of_one_machine_is_that_machine(tmp_path: Path) -> None:
    what = _two_machines()
    path = write(tmp_path, replace(what, machines=what.machines[1:]), *"012")
    assert disks("ovf", path) == ["1", "2"]


def test_collections_may_hold_collections(tmp_path: Path) -> None:
    what = _two_machines()
    inner = '<VirtualSystemCollection ovf:id="in"><Info/>{}</VirtualSystemCollection>'
    text = what.text()
    start = text.index('<VirtualSystem ovf:id="db"')
    stop = text.rindex("</VirtualSystemCollection>")
    path = write(tmp_path, what, *"012")
    path.write_text(text[:start] + inner.format(text[start:stop]) + text[stop:])
    with opened(path) as artifact:
        assert [heads(child) for child in artifact.nodes[0].children] == [["0"], ["1", "2"]]


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


def test_two_drives_with_one_number_are_two_drives(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk", "b.vmdk"), "a.vmdk", "b.vmdk")
    path.write_text(path.read_text().replace(">101<", ">100<"))
    assert disks("ovf", path) == ["a.vmdk", "b.vmdk"]


def test_an_item_of_the_deployment_option_replaces_the_one_for_all(tmp_path: Path) -> None:
    options = (
        '<DeploymentOptionSection><Info/><Configuration ovf:id="small"/></DeploymentOptionSection>'
    )
    what = _arranged(Drive("ovf:/disk/d0"), Drive("ovf:/disk/d1", configuration="small"))
    path = write(tmp_path, replace(what, more=options), *"01")
    path.write_text(path.read_text().replace(">101<", ">100<"))
    assert disks("ovf", path) == ["1"]


def _controller(number: int, address: int) -> str:
    return f"<rasd:Address>{address}</rasd:Address><rasd:InstanceID>{number}</rasd:InstanceID>"


def test_controllers_count_by_their_number_not_by_their_place(tmp_path: Path) -> None:
    what = _arranged(Drive("ovf:/disk/d0", SCSI, 0), Drive("ovf:/disk/d1", SCSI, 1))
    path = write(tmp_path, what, *"01")
    text = path.read_text()
    for number, address in ((60, 0), (61, 1)):
        assert _controller(number, address) in text
        text = text.replace(_controller(number, address), _controller(number, 1 - address))
    path.write_text(text)
    assert disks("ovf", path) == ["1", "0"]


def test_a_controller_of_nvme_comes_behind_those_of_sata(tmp_path: Path) -> None:
    what = _arranged(Drive("ovf:/disk/d0", SATA, 0), Drive("ovf:/disk/d1", SATA, 1))
    path = write(tmp_path, what, *"01")
    assert disks("ovf", path) == ["0", "1"]
    first = _controller(200, 0)
    kind = "<rasd:ResourceSubType>vmware.nvme.controller</rasd:ResourceSubType>"
    path.write_text(path.read_text().replace(first, first + kind))
    assert disks("ovf", path) == ["1", "0"]


@pytest.mark.parametrize("bound", ["min", "max"])
def test_items_that_only_bound_a_range_are_no_hardware(tmp_path: Path, bound: str) -> None:
    path = write(tmp_path, package("a.vmdk"), "a.vmdk")
    quantity = "<rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>8"
    item = f'<Item ovf:bound="{bound}">{quantity}</rasd:VirtualQuantity></Item>'
    end = "</VirtualHardwareSection>"
    path.write_text(path.read_text().replace(end, item + end))
    with opened(path) as artifact:
        assert artifact.nodes[0].facts["cpus"] == "2"


_PROPERTIES = "".join(f'<Property ovf:key="k{number}"/>' for number in range(1001))
MANY: dict[str, Package] = {
    "1024 disks": _arranged(*(Drive(f"ovf:/disk/d{number}") for number in range(1025))),
    "256 machines": Package(
        machines=tuple(Machine(f"m{number}") for number in range(257)), collection="<Name/>"
    ),
    "1,000 properties": package(
        "a.vmdk", more=f"<ProductSection><Info/>{_PROPERTIES}</ProductSection>"
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_more_than_any_machine_has_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LimitError, match=f"more than {name}"):
        disks("ovf", write(tmp_path, MANY[name]))
