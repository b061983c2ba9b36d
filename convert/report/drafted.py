"""The document of ``convert dockerfile``: what was written, and what is not in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from convert.dockerfile.write import Drafted
from convert.report.documents import DOCUMENT_VERSION, DecisionsDocument, FindingDocument
from convert.version import DISTRIBUTION, VERSION
from formats.core.origin import printable


class PackageLeftOut(BaseModel):
    """A package that was asked for on the machine and is not installed."""

    model_config = ConfigDict(frozen=True)

    name: str
    why: str


class DockerfileDocument(BaseModel):
    """Result of ``convert dockerfile``."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    sources: list[str]
    folder: str
    base: str = Field(description="the official image that it is FROM")
    packages: list[str] = Field(description="installed by name")
    packages_left_out: list[PackageLeftOut]
    copied: list[str] = Field(description="paths of files and links")
    removed: list[str] = Field(description="paths that packages bring and the machine has not")
    findings: list[FindingDocument] = Field(description="what of the machine is not in it")
    decisions: DecisionsDocument

    @classmethod
    def of(cls, sources: Iterable[str], drafted: Drafted) -> Self:
        """Return the document of what was written."""
        return cls(
            sources=list(sources),
            folder=drafted.folder,
            base=drafted.base,
            packages=list(drafted.packages),
            packages_left_out=[
                PackageLeftOut(name=name, why=why) for name, why in drafted.left_out
            ],
            copied=list(map(printable, drafted.copied)),
            removed=list(map(printable, drafted.removed)),
            findings=list(map(FindingDocument.of, drafted.findings)),
            decisions=DecisionsDocument.of(drafted.decisions),
        )
