"""The documents that ``--json`` prints and ``--report`` writes, as pydantic models.

Keys are stable: within one ``version`` they are added to, never renamed and never given another
meaning. ``docs/json.md`` describes them. Guest names are printable text (see
:func:`formats.core.origin.printable`); sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from convert.data_volumes import ExtractedVolume
from convert.export import Export
from convert.inspect.facts import Facts
from convert.oci.problems import Code
from convert.pipeline import Conversion, Inspection
from convert.plan import Decisions
from convert.reasons import Confidence, Reason
from convert.report.counts import counted
from convert.report.found import FoundDocument
from convert.structure import Part
from convert.verify import Verification
from convert.version import DISTRIBUTION, VERSION
from formats.core.errors import ConvertError
from formats.core.finding import Finding
from formats.core.machine import Machine
from formats.core.origin import printable

DOCUMENT_VERSION: Literal[1] = 1


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorDocument(_Document):
    """An error, as one object."""

    code: str
    message: str
    origin: str | None
    offset: int | None
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, error: ConvertError) -> Self:
        """Return the error's document."""
        return cls.model_validate(error.as_dict())


class FindingDocument(_Document):
    """A finding; ``path`` is a breadcrumb where it is not about a path."""

    rule: str
    path: str
    action: str
    evidence: str
    line: int | None = Field(description="of the file, where it is about one")

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Return the finding's document."""
        return cls.model_validate(finding.as_dict())


class MachineDocument(_Document):
    """What a descriptor beside the disks says of a machine."""

    name: str = Field(description="as --vm takes it")
    title: str | None
    vendor: str | None
    version: str | None
    licence: str | None
    properties: dict[str, str]
    ports: dict[str, str] = Field(description="port → where that is written")

    @classmethod
    def of(cls, machine: Machine) -> Self:
        """Return the machine's document."""
        return cls(
            name=machine.name,
            title=machine.title,
            vendor=machine.vendor,
            version=machine.version,
            licence=machine.licence,
            properties=dict(sorted(machine.properties.items())),
            ports={stated.port: stated.where for stated in machine.ports},
        )


class PartDocument(_Document):
    """One thing in an artifact, with what is inside it."""

    name: str
    origin: str
    size: int
    role: str
    format: str | None
    uuid: str | None
    label: str | None
    used: int | None
    facts: dict[str, str]
    made_of: list[str]
    machine: MachineDocument | None = Field(description="the machine whose disks are inside")
    problem: ErrorDocument | None
    parts: list[PartDocument]

    @classmethod
    def of(cls, part: Part) -> PartDocument:
        """Return the part's document, and those of all inside it."""
        return cls(
            name=part.name,
            origin=part.origin,
            size=part.size,
            role=part.role.value,
            format=part.format,
            uuid=part.uuid,
            label=part.label,
            used=part.used,
            facts=part.facts,
            made_of=list(part.made_of),
            machine=None if part.machine is None else MachineDocument.of(part.machine),
            problem=None if part.problem is None else ErrorDocument.of(part.problem),
            parts=[cls.of(inner) for inner in part.parts],
        )


class ServiceDocument(_Document):
    """A service that the guest starts, and why it is or is not the workload."""

    name: str
    manager: str
    evidence: str
    not_workload: str | None


class SystemDocument(_Document):
    """The operating system, in the words of os-release(5)."""

    id: str
    name: str
    version: str | None
    evidence: str


class RejectedDocument(_Document):
    """A candidate that lost."""

    value: str
    why: str


class DecisionDocument(_Document):
    """One field of the config, and why it is so."""

    field: str
    value: str
    why: list[str]
    confidence: str = Field(description=f"{', '.join(item.value for item in Confidence)}")
    rejected: list[RejectedDocument] = Field(description="what it could have been")

    @classmethod
    def of(cls, reason: Reason) -> Self:
        """Return the decision's document."""
        return cls(
            field=reason.field,
            value=reason.value,
            why=list(reason.why),
            confidence=reason.confidence.value,
            rejected=[RejectedDocument(value=item.value, why=item.why) for item in reason.rejected],
        )


class PackageDocument(_Document):
    """A package in the new layer."""

    name: str
    version: str
    architecture: str


class JobDocument(_Document):
    """A periodic job of the guest; the container runs none."""

    time: str
    user: str
    command: str
    evidence: str


class DecisionsDocument(_Document):
    """What was found out and decided."""

    root: str
    base: str | None = Field(description="the image that the layer is put on")
    packages: list[PackageDocument] = Field(description="what the layer is made of")
    mounts: dict[str, str] = Field(description="folder → breadcrumb of the volume laid there")
    machine: str | None = Field(description="name of the machine, where a descriptor has one")
    system: SystemDocument | None
    init: str | None
    services: list[ServiceDocument]
    jobs: list[JobDocument] = Field(description="what cron would start")
    found: FoundDocument
    not_chosen: dict[str, str] = Field(description="service → why it is not the entrypoint")
    config: list[DecisionDocument]
    entries: int
    content_bytes: int
    applied: dict[str, int] = Field(description="rule → number of findings")
    findings: list[FindingDocument] = Field(description="by rules first, in the tree's order")

    @classmethod
    def of(cls, decisions: Decisions) -> Self:
        """Return the document of all decisions."""
        return cls(
            root=str(decisions.root),
            base=decisions.base,
            packages=[
                PackageDocument(
                    name=package.name, version=package.version, architecture=package.architecture
                )
                for package in decisions.packages
            ],
            mounts={folder: str(origin) for folder, origin in decisions.mounts},
            machine=decisions.machine.name if decisions.machine is not None else None,
            system=_system(decisions.facts),
            init=decisions.facts.init.name if decisions.facts.init is not None else None,
            services=_services(decisions.facts),
            jobs=[
                JobDocument(
                    time=job.time, user=job.user, command=job.command, evidence=str(job.evidence)
                )
                for job in decisions.facts.jobs
            ],
            found=FoundDocument.of(decisions.facts),
            not_chosen={loser.name: loser.reason for loser in decisions.entrypoint.losers},
            config=[DecisionDocument.of(reason) for reason in decisions.config.reasons],
            entries=decisions.entries,
            content_bytes=decisions.content_bytes,
            applied=counted(decisions.applied),
            findings=_findings((*decisions.applied, *decisions.findings)),
        )


class LayerDocument(_Document):
    """A layer of the image."""

    digest: str
    diff_id: str
    media_type: str
    size: int
    uncompressed_size: int


class ImageDocument(_Document):
    """The image that was written."""

    destination: str
    digest: str = Field(description="of the manifest; what registries call the image's digest")
    config_digest: str = Field(description="what engines call the image's ID")
    platform: str
    size: int = Field(description="bytes that a client has to fetch")
    layers: list[LayerDocument]

    @classmethod
    def of(cls, done: Conversion) -> Self:
        """Return the document of the image that a conversion wrote."""
        image = done.image
        return cls(
            destination=done.destination,
            digest=str(image.digest),
            config_digest=str(image.config.digest),
            platform=str(image.platform),
            size=image.size,
            layers=[
                LayerDocument(
                    digest=str(layer.digest),
                    diff_id=str(layer.diff_id),
                    media_type=layer.descriptor.media_type,
                    size=layer.descriptor.size,
                    uncompressed_size=layer.uncompressed_size,
                )
                for layer in image.layers
            ],
        )


class VolumeDocument(_Document):
    """A data folder whose content was written beside the image."""

    path: str
    file: str
    entries: int
    content_bytes: int


class RunDocument(_Document):
    """Result of ``convert run``."""

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    sources: list[str]
    image: ImageDocument
    volumes: list[VolumeDocument] = Field(description="archives of data folders, beside the image")
    decisions: DecisionsDocument

    @classmethod
    def of(cls, sources: Iterable[str], done: Conversion) -> Self:
        """Return the document of a conversion."""
        return cls(
            sources=list(sources),
            image=ImageDocument.of(done),
            volumes=_volumes(done.volumes),
            decisions=DecisionsDocument.of(done.decisions),
        )


class InspectDocument(_Document):
    """Result of ``convert inspect``."""

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    sources: list[str]
    parts: list[PartDocument]
    decisions: DecisionsDocument | None
    problem: ErrorDocument | None = Field(description="why it cannot be converted")
    findings: list[FindingDocument] = Field(description="what was noted while it was opened")

    @classmethod
    def of(cls, sources: Iterable[str], seen: Inspection) -> Self:
        """Return the document of an inspection."""
        return cls(
            sources=list(sources),
            parts=[PartDocument.of(part) for part in seen.parts],
            decisions=None if seen.decisions is None else DecisionsDocument.of(seen.decisions),
            problem=None if seen.problem is None else ErrorDocument.of(seen.problem),
            findings=_findings(seen.findings),
        )


class ExportDocument(_Document):
    """Result of ``convert export``."""

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    sources: list[str]
    destination: str
    root: str
    entries: int
    content_bytes: int
    applied: dict[str, int] = Field(description="rule → number of findings")
    findings: list[FindingDocument] = Field(description="by rules first, in the tree's order")

    @classmethod
    def of(cls, sources: Iterable[str], done: Export) -> Self:
        """Return the document of an export."""
        return cls(
            sources=list(sources),
            destination=done.destination,
            root=str(done.root),
            entries=done.entries,
            content_bytes=done.content_bytes,
            applied=counted(done.applied),
            findings=_findings((*done.applied, *done.findings)),
        )


class ProblemDocument(_Document):
    """One claim of an image that does not hold."""

    code: str = Field(description=f"kind of claim: {', '.join(code.value for code in Code)}")
    where: str = Field(description="the blob, or the path")
    message: str


class VerifyDocument(_Document):
    """Result of ``convert verify``."""

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    image: str
    digest: str | None = Field(description="of the manifest, recomputed; none in a docker-archive")
    platform: str | None
    layers: int
    entries: int
    size: int = Field(description="bytes of all layers' blobs")
    compared: bool = Field(description="it was held against a source, file by file")
    problems: list[ProblemDocument] = Field(description="what is wrong, the first thousand")
    problem_count: int

    @classmethod
    def of(cls, image: str, found: Verification) -> Self:
        """Return the document of a verification."""
        return cls(
            image=image,
            digest=None if found.digest is None else str(found.digest),
            platform=None if found.platform is None else str(found.platform),
            layers=found.layers,
            entries=found.entries,
            size=found.size,
            compared=found.is_compared,
            problems=[
                ProblemDocument(code=item.code.value, where=item.where, message=item.message)
                for item in found.problems
            ],
            problem_count=found.problem_count,
        )


def _volumes(volumes: Iterable[ExtractedVolume]) -> list[VolumeDocument]:
    return [
        VolumeDocument(
            path=printable(item.path),
            file=str(item.file),
            entries=item.entries,
            content_bytes=item.content_bytes,
        )
        for item in volumes
    ]


def _findings(findings: Iterable[Finding]) -> list[FindingDocument]:
    return [FindingDocument.of(finding) for finding in findings]


def _system(facts: Facts) -> SystemDocument | None:
    found = facts.operating_system
    if found is None:
        return None
    return SystemDocument(
        id=found.id,
        name=found.pretty_name,
        version=found.version_id,
        evidence=str(found.evidence),
    )


def _services(facts: Facts) -> list[ServiceDocument]:
    return [
        ServiceDocument(
            name=service.name,
            manager=service.manager,
            evidence=str(service.enabled_by),
            not_workload=service.not_workload,
        )
        for service in facts.services
    ]
