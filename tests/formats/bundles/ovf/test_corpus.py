"""Descriptors and appliances of others open, or are refused for the reason that is expected."""

from __future__ import annotations

import re

import pytest

from tests.support.survey import Row, Seen, rows, survey

_ABSENT = re.compile(r"disk files absent|must be refused")
_MISSING = re.compile(r"which is missing|not a plain name in the same folder")
_NAMED = frozenset({"corrupt", "unsupported", "limit-exceeded", "encrypted", "ambiguous"})

# Refused for other reasons than a missing disk: what each descriptor was written to be wrong in.
REASONS = {
    "ovf/cot__ersatz_ovf_3.0.ovf": "version that is not known",
    "ovf/cot__invalid.ovf": "'flash2', which it does not list",
    "ovf/govmomi__empty_envelope.ovf": "no VirtualSystem",
    "ovf/govmomi__invalid.ovf": "without its attribute id",
    "ovf/govmomi__properties.ovf": "without a disk",
    "ovf/ovftool__neg__DiskSection__Neg__dup_diskid.ovf": "'vmdisk1' twice",
    "ovf/ovftool__neg__DiskSection__Neg__inside_content.ovf": "which is no disk of it",
    "ovf/ovftool__neg__DiskSection__Neg__no_capacity.ovf": "attribute capacity",
    "ovf/ovftool__neg__DiskSection__Neg__no_diskid.ovf": "attribute diskId",
    "ovf/ovftool__neg__Envelope__Neg__bare_minimal.ovf": "without a disk",
    "ovf/ovftool__neg__Envelope__Neg__fileelements_samefile.ovf": "'doesnotexist.vmdk' twice",
    "ovf/ovftool__neg__Envelope__Neg__invalid_env.ovf": "'FakeEnvelope'",
    "ovf/ovftool__neg__Envelope__Neg__invalid_neg_chunk.ovf": "size is 'abcd'",
    "ovf/ovftool__neg__Envelope__Neg__invalid_no_version.ovf": "without a disk",
    "ovf/ovftool__neg__Envelope__Neg__invalid_no_vm.ovf": "no VirtualSystem",
    "ovf/ovftool__neg__Envelope__Neg__invalid_ref_no_href.ovf": "attribute href",
    "ovf/ovftool__neg__Envelope__Neg__invalid_version.ovf": "version that is not known: '1.3'",
    "ovf/ovftool__neg__Envelope__Neg__invalid_zero_capacity.ovf": "without a disk",
    "ovf/ovftool__neg__Envelope__Neg__no_content.ovf": "no VirtualSystem",
    "ovf/ovftool__neg__Envelope__Neg__section_compatibility_neg.ovf": "without a disk",
    "ovf/ovftool__neg__Envelope__Neg__section_withnoinfo.ovf": "without a disk",
    "ovf/ovftool__pos__DeltaDiskCompression__Pos__nvapp-disks-0.ovf": "without a disk",
    "ova/derived__cot-input-bad-manifest.ova": "input.vmdk: is not what the manifest says",
    "ova/osv-scalibr__valid.ova": "unbound prefix",  # it uses ovf: and declares no such prefix
    "vagrant-box/vagrant-aws__dummy.box": "is a Vagrant box for aws",
}
# Disks without a file, which are blank: these descriptors need nothing beside them.
BLANK = {
    "ovf/govmomi__disk-capacity-property.ovf",
    "ovf/ovftool__pos__DiskSection__Pos__no_fileref.ovf",
}


def _bundles() -> list[Row]:
    found = rows("ova", "ovf", "vagrant-box")
    return [row for row in found if row.path.suffix.lower() in {".ova", ".ovf", ".box"}]


def _errors(nodes: list[Seen]) -> list[str]:
    return [node.error for node in nodes if node.code is not None]


@pytest.fixture(scope="module")
def seen() -> dict[Row, list[Seen]]:
    bundles = _bundles()
    found = survey([row.path for row in bundles])
    return {row: found[row.path] for row in bundles}


def test_every_bundle_opens_or_is_refused_for_its_own_reason(
    seen: dict[Row, list[Seen]],
) -> None:
    assert len(seen) >= 60
    for row, nodes in seen.items():
        errors = _errors(nodes)
        assert {node.code for node in nodes if node.code} <= _NAMED, row.name
        assert nodes[0].reader in {"ovf", "ova", "gzip"}, row.name
        if row.name in REASONS:
            assert any(REASONS[row.name] in error for error in errors), (row.name, errors)
        elif _ABSENT.search(row.expected) and row.name not in BLANK:
            assert errors, row.name
            assert all(_MISSING.search(error) for error in errors), (row.name, errors)
        else:
            assert errors == [], (row.name, errors)


def test_what_is_expected_to_be_refused_is_refused(seen: dict[Row, list[Seen]]) -> None:
    refused = {row: nodes for row, nodes in seen.items() if "must be refused" in row.expected}
    assert len(refused) > 20
    for row, nodes in refused.items():
        assert _errors(nodes), row.name


def test_the_tree_of_a_box_has_as_many_entries_as_its_maker_counted(
    seen: dict[Row, list[Seen]],
) -> None:
    (row,) = [row for row in seen if "Linux root tree" in row.expected]
    counts = {kind: int(count) for kind, count in re.findall(r"(\w)=(\d+)", row.expected)}
    counts["d"] += 1  # lost+found, which is the filesystem's
    (found,) = [node.counts for node in seen[row] if node.counts is not None]
    assert list(found) == [counts[kind] for kind in "fdlc"]


def test_a_package_of_cisco_is_verified_with_its_own_manifest(seen: dict[Row, list[Seen]]) -> None:
    (nodes,) = [nodes for row, nodes in seen.items() if row.name == "ovf/cot_input/input.ovf"]
    assert [node.reader for node in nodes] == ["ovf", "vmdk", None]
    assert _errors(nodes) == []
