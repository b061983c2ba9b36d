"""The document of ``convert plan``: every path that is treated, and the config that comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from convert.plan import Decisions
from convert.report.documents import DOCUMENT_VERSION, DecisionsDocument
from convert.rules.ledger import Treated
from convert.version import DISTRIBUTION, VERSION
from formats.core.finding import Action
from formats.core.origin import printable


class PathDocument(BaseModel):
    """A path that is not in the image as it was in the source, and why."""

    model_config = ConfigDict(frozen=True)

    path: str
    action: str
    rule: str
    why: str
    kind: str | None = Field(description="what it was; null where only a finding tells of it")
    size: int | None = Field(description="bytes that it had")


class PlanDocument(BaseModel):
    """Result of ``convert plan``."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    sources: list[str]
    config: dict[str, object] = Field(
        description="the image's config, but for rootfs and history, which need the layers"
    )
    paths: list[PathDocument] = Field(description="by rules first, in the tree's order")
    decisions: DecisionsDocument

    @classmethod
    def of(cls, sources: Iterable[str], decisions: Decisions, treated: Iterable[Treated]) -> Self:
        """Return the document of a plan."""
        return cls(
            sources=list(sources),
            config=dict(decisions.config.config.as_json()),
            paths=[*_treated(treated), *_others(decisions)],
            decisions=DecisionsDocument.of(decisions),
        )


def _treated(treated: Iterable[Treated]) -> Iterator[PathDocument]:
    for entry, deed in treated:
        yield PathDocument(
            path=printable(entry.path),
            action=deed.action.value,
            rule=deed.rule,
            why=deed.why,
            kind=entry.kind.value,
            size=entry.size,
        )


def _others(decisions: Decisions) -> Iterator[PathDocument]:
    """Yield what is done to paths although no rule of the profile says so: additions, losses."""
    for finding in decisions.findings:
        if finding.action is not Action.REPORTED:
            yield PathDocument(
                path=printable(finding.path),
                action=finding.action.value,
                rule=finding.rule,
                why=finding.evidence,
                kind=None,
                size=None,
            )
