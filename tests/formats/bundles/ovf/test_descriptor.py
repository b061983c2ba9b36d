"""Descriptors of all versions and encodings; such that contradict themselves are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.core.errors import CorruptError, EncryptedError, LimitError, UnsupportedError
from formats.core.limits import Limits
from formats.core.opener import open_artifact
from formats.core.origin import Origin
from formats.core.reader import Volume
from formats.core.source import MemorySource
from tests.formats.bundles.ovf.support import write
from tests.formats.bundles.support import disks
from tests.images.ovf import (
    DMTF1,
    DMTF2,
    VMWARE,
    Drive,
    Machine,
    Package,
    package,
)
from tests.images.volumes import opened


@pytest.mark.parametrize(
    "namespace", [VMWARE, DMTF1, DMTF2, "http://schemas.dmtf.org/ovf/1/envelope"]
)
def test_all_versions_are_read(tmp_path: Path, namespace: str) -> None:
    path = write(tmp_path, package("a.vmdk", "b.vmdk", namespace=namespace), "a.vmdk", "b.vmdk")
    assert disks("ovf", path) == ["a.vmdk", "b.vmdk"]


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
        disks("ovf", write(tmp_path, what, "a.vmdk", "b.vmdk"))


def test_a_descriptor_without_an_envelope_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk"), "a.vmdk")
    path.write_text(path.read_text().replace("Envelope", "FakeEnvelope"))
    with pytest.raises(CorruptError, match="'FakeEnvelope'"):
        disks("ovf", path)


def test_other_xml_is_no_descriptor(tmp_path: Path) -> None:
    for name, text in {"page": "<html>DSP0243</html>", "text": "Envelope", "empty": ""}.items():
        (tmp_path / name).write_text(text)
        with opened(tmp_path / name) as artifact:
            assert artifact.nodes[0].reader is None


def test_a_descriptor_may_not_be_larger_than_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, package("a.vmdk"), "a.vmdk")
    with opened(path, limits=Limits(descriptor_bytes=1000)) as artifact:
        assert isinstance(artifact.nodes[0].problem, LimitError)


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
