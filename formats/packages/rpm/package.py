"""What an rpm says of itself, as every package is described.

Specification: rpm.org "Tag Listing", "Signatures and Digests".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from formats.core.errors import ConvertError
from formats.core.limits import Limits
from formats.core.package import Package, PackageSystem
from formats.core.source import ByteSource
from formats.packages.rpm import tags
from formats.packages.rpm.files import PackagedFile, files_of
from formats.packages.rpm.header import Header, read_header
from formats.packages.rpm.lead import LEAD_BYTES, read_lead
from formats.packages.rpm.record import package_record
from formats.packages.rpm.relations import (
    boolean_conflicts_of,
    conflicts_of,
    provides_of,
    requirements_of,
)
from formats.packages.rpm.scripts import scripts_of, triggers_of
from formats.packages.rpm.signatures import signatures_of
from formats.packages.rpm.verify import verify_header

_MD5 = 1

_TEXT_FACTS = (
    ("licence", tags.LICENSE),
    ("vendor", tags.VENDOR),
    ("distribution", tags.DISTRIBUTION),
    ("packager", tags.PACKAGER),
    ("group", tags.GROUP),
    ("url", tags.URL),
    ("build host", tags.BUILDHOST),
    ("built with rpm", tags.RPMVERSION),
)
UNREAD_RELATIONS = "boolean dependencies"
"""Fact: the boolean dependencies that requirements do not say exactly."""


@dataclass(frozen=True, slots=True)
class PackageHeaders:
    """All of a package but its payload.

    :ivar is_source: whether it is a source package.
    :ivar payload_start: where the payload begins.
    """

    signature: Header
    header: Header
    is_source: bool
    payload_start: int


def read_headers(source: ByteSource) -> PackageHeaders:
    """Return the headers of a package, the digests of the header verified.

    :raises CorruptError: if they are damaged.
    :raises LimitError: if they are too large.
    :raises UnsupportedError: for packages of rpm 2 and before.
    """
    lead = read_lead(source)
    signature, stop = read_header(source, LEAD_BYTES, "signature header")
    signature.region(tags.HEADERSIGNATURES)
    header, payload_start = read_header(source, stop + -stop % 8, "header")
    verify_header(signature, header)
    is_source = tags.SOURCERPM not in header and (lead.is_source or tags.SOURCEPACKAGE in header)
    return PackageHeaders(signature, header, is_source, payload_start)


def read_package(source: ByteSource, limits: Limits) -> tuple[Package, tuple[bytes, ...]]:
    """Return the description of a package, and the paths of its files, without their content.

    :raises CorruptError: if its headers are damaged.
    :raises LimitError: if they are too large.
    :raises UnsupportedError: for packages of rpm 2 and before.
    """
    headers = read_headers(source)
    files = files_of(headers.header, limits)
    package = describe(headers.header, files, headers.signature, is_source=headers.is_source)
    return package, tuple(file.path for file in files)


def describe(
    header: Header,
    files: Sequence[PackagedFile],
    signature: Header | None = None,
    *,
    is_source: bool = False,
) -> Package:
    """Return the description of a package.

    :param files: as :func:`~formats.packages.rpm.files.files_of` gives them.
    :param signature: the signature header; None where ``header`` is of a database.
    :raises CorruptError: if tags do not fit together, or name, version or release are missing.
    """
    try:
        requirements = requirements_of(header)
    except ConvertError as error:
        raise error.at(header.origin) from error
    facts = _facts(header, signature)
    unread = (*requirements.unread, *boolean_conflicts_of(header))
    if unread:
        facts[UNREAD_RELATIONS] = "; ".join(unread)
    return Package(
        system=PackageSystem.RPM,
        name=_needed(header, tags.NAME, "name"),
        version=version_of(header),
        architecture="src" if is_source else header.text(tags.ARCH) or "noarch",
        summary=header.text(tags.SUMMARY),
        source=header.text(tags.SOURCERPM),
        requirements=requirements.met,
        provides=provides_of(header),
        conflicts=conflicts_of(header),
        record=header.blob if signature is None else package_record(header, signature),
        configuration=tuple(file.path for file in files if file.flags & tags.FILE_CONFIG),
        scripts=scripts_of(header),
        triggers=triggers_of(header),
        digests=_digests(header, files),
        facts=facts,
    )


def version_of(header: Header) -> str:
    """Return ``[epoch:]version-release``; an epoch of zero is none.

    :raises CorruptError: if version or release are missing.
    """
    epoch = header.number(tags.EPOCH)
    version = _needed(header, tags.VERSION, "version")
    release = _needed(header, tags.RELEASE, "release")
    return f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}"


def _needed(header: Header, tag: int, what: str) -> str:
    value = header.text(tag)
    if not value:
        raise header.corrupt(f"has no {what} (tag {tag})")
    return value


def _digests(header: Header, files: Sequence[PackagedFile]) -> dict[bytes, tuple[str, str]]:
    algorithm = tags.DIGESTS.get(header.number(tags.FILEDIGESTALGO) or _MD5)
    if algorithm is None:
        return {}
    return {
        file.path: (algorithm, file.digest)
        for file in files
        if file.digest and file.is_regular and not file.is_ghost
    }


def _facts(header: Header, signature: Header | None) -> dict[str, str]:
    facts = {name: text for name, tag in _TEXT_FACTS if (text := header.text(tag))}
    built_at = header.number(tags.BUILDTIME)
    if built_at:
        facts["built"] = f"{datetime.fromtimestamp(built_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    size = header.number(tags.LONGSIZE, tags.SIZE)
    if size is not None:
        facts["installed size"] = f"{size:,} bytes"
    prefixes = header.texts(tags.PREFIXES)
    if prefixes:
        facts["relocatable from"] = ", ".join(prefixes)
    if signature is not None:
        found = "; ".join(map(str, signatures_of(signature)))
        facts["signatures"] = f"{found} (not verified: no key is known)" if found else "none"
        if tags.SIG_FILESIGNATURES in signature:
            facts["file signatures"] = "IMA; left out"
    return facts
