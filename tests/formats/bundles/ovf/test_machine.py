"""What descriptors say of a machine beside its disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from formats.bundles.ovf.units import bytes_of, shown_bytes
from formats.core.machine import Machine
from tests.images.ovf import DMTF1, DMTF2, VMWARE, Drive, Package, package
from tests.images.ovf import Machine as Described
from tests.images.volumes import opened
from tests.support.programs import corpus

PRODUCT = """
<ProductSection ovf:class="com.example" ovf:instance="1"><Info/>
  <Product>Shop</Product><Vendor>Example &amp; Co.</Vendor><Version>1.2</Version>
  <FullVersion>1.2.3-build7</FullVersion><ProductUrl>http://shop.example</ProductUrl>
  <Property ovf:key="HostName" ovf:type="string" ovf:value="shop"/>
  <Property ovf:key="gateway" ovf:type="string"/>
  <Property ovf:key="pin" ovf:type="string" ovf:password="true" ovf:value="canary-1"/>
  <Property ovf:key="admin_password" ovf:type="string" ovf:value="canary-2"/>
  <Property ovf:key="size" ovf:type="int" ovf:value="1">
    <Value ovf:value="5" ovf:configuration="large"/>
  </Property>
  <Property ovf:key="tier" ovf:type="string" ovf:value="x" ovf:configuration="small"/>
</ProductSection>
"""
LARGE = (
    '<DeploymentOptionSection><Info/><Configuration ovf:id="large"/>'
    '<Configuration ovf:id="small"/></DeploymentOptionSection>'
)


def _open(folder: Path, what: Package) -> tuple[Machine, Mapping[str, str]]:
    path = folder / "server.ovf"
    path.write_text(what.text())
    with opened(path) as artifact:
        node = artifact.nodes[0]
        assert node.problem is None, str(node.problem)
        assert node.machine is not None
        return node.machine, node.facts


def test_products_have_title_vendor_version_and_addresses(tmp_path: Path) -> None:
    machine, facts = _open(tmp_path, package("a", more=PRODUCT))
    assert (machine.name, machine.title, machine.version) == ("server", "Shop", "1.2")
    assert machine.vendor == "Example & Co."
    assert machine.properties["full-version"] == "1.2.3-build7"
    assert machine.properties["product-url"] == "http://shop.example"
    assert facts["product"] == "Shop 1.2"


def test_properties_have_their_full_names_and_default_values(tmp_path: Path) -> None:
    machine, _ = _open(tmp_path, replace(package("a", more=PRODUCT), more=LARGE))
    found = {
        key.removeprefix("property.com.example."): value
        for key, value in machine.properties.items()
        if key.startswith("property.")
    }
    assert found == {
        "hostname.1": "shop",
        "gateway.1": "",
        "pin.1": "(not shown)",
        "admin_password.1": "(not shown)",
        "size.1": "5",
    }


def test_passwords_are_nowhere(tmp_path: Path) -> None:
    machine, facts = _open(tmp_path, package("a", more=PRODUCT))
    assert "canary" not in f"{machine} {facts}"


def test_hardware_and_networks_are_stated(tmp_path: Path) -> None:
    what = package("a")
    what = replace(what, machines=(replace(what.machines[0], networks=("dmz", "lan", "dmz")),))
    machine, facts = _open(tmp_path, what)
    stated = {
        "cpus": "2",
        "memory": "2 GiB",
        "hardware": "vmx-10",
        "networks": "dmz, lan",
    }
    assert stated.items() <= machine.properties.items()
    assert (facts["cpus"], facts["memory"], facts["networks"]) == ("2", "2 GiB", "dmz, lan")


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("<Description>Debian 12</Description>", "Debian 12"),
        ("", "debian10_64Guest"),
    ],
)
def test_the_system_is_named_by_description_or_type(
    tmp_path: Path, section: str, name: str
) -> None:
    more = (
        '<OperatingSystemSection ovf:id="96" xmlns:vmw="http://www.vmware.com/schema/ovf"'
        f' vmw:osType="debian10_64Guest"><Info/>{section}</OperatingSystemSection>'
    )
    assert _open(tmp_path, package("a", more=more))[0].properties["os"] == name


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("96", "Debian (64-bit)"),
        ("80", "Red Hat Enterprise Linux (64-bit)"),
        ("4711", "CIM type 4711"),
    ],
)
def test_the_system_is_named_by_number_where_nothing_else_is(
    tmp_path: Path, number: str, name: str
) -> None:
    more = f'<OperatingSystemSection ovf:id="{number}"><Info/></OperatingSystemSection>'
    assert _open(tmp_path, package("a", more=more))[0].properties["os"] == name


def test_licences_and_annotations_are_whole(tmp_path: Path) -> None:
    more = (
        "<EulaSection><Info/><License>First,\n  of two.</License></EulaSection>"
        "<EulaSection><Info/><License>Second.</License></EulaSection>"
        "<AnnotationSection><Info/><Annotation>Made\nby hand</Annotation></AnnotationSection>"
    )
    machine, _ = _open(tmp_path, package("a", more=more))
    assert machine.licence == "First,\n  of two.\n\nSecond."
    assert machine.properties["annotation"] == "Made\nby hand"


def test_a_licence_is_no_longer_than_it_may_be(tmp_path: Path) -> None:
    licence = f"<EulaSection><Info/><License>{'x' * 300_000}</License></EulaSection>"
    machine, _ = _open(tmp_path, package("a", more=licence))
    assert machine.licence == "x" * (1 << 18) + "…"


def test_sections_of_the_draft_say_the_same(tmp_path: Path) -> None:
    more = (
        '<Section xsi:type="ovf:ProductSection_Type"><Info/><Product>Old</Product></Section>'
        '<Section xsi:type="ovf:EulaSection_Type"><Info/><License>Yes</License></Section>'
    )
    machine, _ = _open(tmp_path, package("a", more=more, namespace=VMWARE))
    assert (machine.title, machine.licence) == ("Old", "Yes")


@pytest.mark.parametrize("namespace", [DMTF1, DMTF2])
def test_a_collection_fills_in_what_a_machine_does_not_say(tmp_path: Path, namespace: str) -> None:
    product = "<ProductSection><Info/><Product>Suite</Product><Vendor>All</Vendor></ProductSection>"
    own = "<ProductSection><Info/><Product>Web</Product></ProductSection>"
    drives = (Drive("ovf:/disk/disk0"),)
    what = replace(
        package("a", namespace=namespace),
        machines=(Described("web", drives, own), Described("db", drives)),
        collection=product,
    )
    path = tmp_path / "x.ovf"
    path.write_text(what.text())
    with opened(path) as artifact:
        machines = [child.machine for child in artifact.nodes[0].children]
    said = [(item.title, item.vendor) for item in machines if item is not None]
    assert said == [("Web", "All"), ("Suite", "All")]


def test_messages_of_the_descriptor_stand_in_for_texts(tmp_path: Path) -> None:
    product = '<ProductSection><Info/><Product ovf:msgid="name"/></ProductSection>'
    strings = (
        '<Strings xml:lang="de-DE"><Msg ovf:msgid="name">Laden</Msg></Strings>'
        '<Strings xml:lang="en-US"><Msg ovf:msgid="name">Shop</Msg></Strings>'
    )
    what = replace(package("a", more=product), more=strings)
    assert _open(tmp_path, what)[0].title == "Laden"
    text = what.text().replace("<Envelope ", '<Envelope xml:lang="en-US" ', 1)
    (tmp_path / "b.ovf").write_text(text)
    with opened(tmp_path / "b.ovf") as artifact:
        machine = artifact.nodes[0].machine
    assert machine is not None
    assert machine.title == "Shop"


def test_an_appliance_of_cisco_says_what_its_maker_wrote() -> None:
    """Its own tool's documentation shows the same (``cot info``)."""
    with opened(corpus("ovf/cot__iosv.ovf")) as artifact:
        machine = artifact.nodes[0].machine
    assert machine is not None
    assert (machine.name, machine.title) == ("com.cisco.iosv", "Cisco IOSv Virtual Router")
    assert (machine.vendor, machine.version) == ("Cisco Systems, Inc.", "15.4(2.4)T")
    assert machine.properties["memory"] == "384 MiB"


@pytest.mark.parametrize(
    ("quantity", "unit", "size"),
    [
        ("1", "byte", 1),
        ("2", "", 2),
        ("512", "MegaBytes", 512 << 20),
        ("512", "byte * 2^20", 512 << 20),
        ("3", "byte*2^30", 3 << 30),
        ("3", "byte * 10^9", 3 * 10**9),
        ("4", "byte * 1024", 4096),
        ("8", "GB", 8 << 30),
        ("x", "byte", None),
        ("-1", "byte", None),
        ("1", "hertz * 10^6", None),
        ("1", "byte * 2^2^2", None),
    ],
)
def test_sizes_have_the_units_of_the_specification_and_of_drafts(
    quantity: str, unit: str, size: int | None
) -> None:
    assert bytes_of(quantity, unit) == size


def test_sizes_are_shown_in_the_largest_whole_unit() -> None:
    shown = [shown_bytes(size) for size in (0, 5, 3 << 20, 1536 << 20, 2 << 40)]
    assert shown == ["0 bytes", "5 bytes", "3 MiB", "1,536 MiB", "2 TiB"]
