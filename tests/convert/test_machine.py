"""What a descriptor says of a machine, in the image's config."""

from __future__ import annotations

from convert.options import ConvertOptions
from convert.plan import Decisions, make_plan
from formats.core.machine import Machine, StatedPort
from formats.core.opener import open_artifact
from formats.core.origin import Origin
from formats.core.reader import Volume, Volumes
from formats.core.source import MemorySource
from tests.support.memory_tree import memory_tree

ROOT = """
f 644 0:0 etc/os-release ID=small\\nPRETTY_NAME=Small\\nVERSION_ID=9\\n
f 755 0:0 sbin/init x
f 755 0:0 bin/sh x
d 755 0:0 usr
"""
PRODUCT = Machine(
    "web",
    title="Shop",
    vendor="Maker",
    version="2.1",
    licence="Do as you please.",
    properties={"property.hostname": "shop", "annotation": "x" * 2000},
    ports=(StatedPort("8080/tcp", "Vagrantfile:3"), StatedPort("22/tcp", "Vagrantfile:4")),
)
OPTIONS = ConvertOptions(platform=("linux", "amd64", None))


def planned(machine: Machine | None, options: ConvertOptions = OPTIONS) -> Decisions:
    disk = Volume(MemorySource(b"", Origin(("box", "disk"))), "disk", content=memory_tree(ROOT))
    whole = Volume(
        MemorySource(b"", Origin(("box",))), "box", content=Volumes((disk,), machine=machine)
    )
    with open_artifact([whole]) as artifact:
        return make_plan(artifact, options).decisions


def labels(machine: Machine | None) -> dict[str, str]:
    return dict(planned(machine).config.config.labels)


def test_product_vendor_licence_and_properties_become_labels() -> None:
    found = labels(PRODUCT)
    assert found["org.opencontainers.image.title"] == "Shop"
    assert found["org.opencontainers.image.version"] == "2.1"
    assert found["org.opencontainers.image.vendor"] == "Maker"
    assert found["dev.oci-convert.machine"] == "web"
    assert found["dev.oci-convert.machine.licence"] == "Do as you please."
    assert found["dev.oci-convert.machine.property.hostname"] == "shop"


def test_long_texts_are_cut_where_that_can_be_seen() -> None:
    annotation = labels(PRODUCT)["dev.oci-convert.machine.annotation"]
    assert len(annotation) == 1024
    assert annotation.endswith("x…")


def test_a_machine_without_a_product_keeps_the_name_of_its_system() -> None:
    found = labels(Machine("web"))
    assert found["org.opencontainers.image.title"] == "Small"
    assert found["org.opencontainers.image.version"] == "9"


def test_a_product_without_a_version_does_not_get_that_of_the_system() -> None:
    assert "org.opencontainers.image.version" not in labels(Machine("web", title="Shop"))


def test_a_disk_without_a_descriptor_has_no_such_labels() -> None:
    assert not [name for name in labels(None) if name.startswith("dev.oci-convert.machine")]


def test_ports_of_the_descriptor_are_exposed_with_where_they_are_written() -> None:
    config = planned(PRODUCT).config
    assert config.config.exposed_ports == ("8080/tcp",)
    (why,) = [reason.why for reason in config.reasons if reason.field == "port"]
    assert why == ("the machine is meant to serve it: Vagrantfile:3",)


def test_ports_that_are_asked_for_stand_alone() -> None:
    options = ConvertOptions(platform=("linux", "amd64", None), ports=("99",))
    assert planned(PRODUCT, options).config.config.exposed_ports == ("99/tcp",)
