"""The document of ``convert run --split``: an image for each service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from convert.report.documents import DOCUMENT_VERSION, RunDocument
from convert.services.split import Split
from convert.version import DISTRIBUTION, VERSION


class ServiceImageDocument(BaseModel):
    """The image of one service."""

    model_config = ConfigDict(frozen=True)

    service: str
    run: RunDocument = Field(description="as if it had been converted alone")


class SplitDocument(BaseModel):
    """Result of ``convert run --split``."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = DOCUMENT_VERSION
    tool: str = f"{DISTRIBUTION} {VERSION}"
    sources: list[str]
    compose: str = Field(description="the compose file")
    images: list[ServiceImageDocument]
    left_out: dict[str, str] = Field(description="service that has no image → why")

    @classmethod
    def of(cls, sources: Iterable[str], done: Split) -> Self:
        """Return the document of a machine that was split."""
        named = list(sources)
        return cls(
            sources=named,
            compose=str(done.compose),
            images=[
                ServiceImageDocument(
                    service=item.service, run=RunDocument.of(named, item.conversion)
                )
                for item in done.images
            ],
            left_out=done.left_out,
        )
