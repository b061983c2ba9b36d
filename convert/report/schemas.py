"""The models whose JSON schemas are public: what can be given, and what comes out."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from convert.options import ConvertOptions
from convert.report import documents
from convert.report.divided import SplitDocument
from convert.report.drafted import DockerfileDocument
from convert.report.planned import PlanDocument

OPTIONS: Final = "options"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

DOCUMENTS: Final[dict[str, type[BaseModel]]] = {
    "run": documents.RunDocument,
    "inspect": documents.InspectDocument,
    "plan": PlanDocument,
    "export": documents.ExportDocument,
    "dockerfile": DockerfileDocument,
    "verify": documents.VerifyDocument,
    "split": SplitDocument,
}
"""What ``--json`` prints, by command; ``split`` is for ``run --split``."""


def json_schema(name: str) -> dict[str, object]:
    """Return the JSON schema (2020-12) of :data:`OPTIONS`, or of what a command prints.

    :raises KeyError: if there is none of that name.
    """
    if name == OPTIONS:
        schema = ConvertOptions.model_json_schema()
        schema["properties"] |= {"$schema": {"type": "string", "description": "for editors"}}
    else:
        schema = DOCUMENTS[name].model_json_schema(mode="serialization")
    return {**schema, "$schema": _DIALECT, "title": f"oci-convert {name}"}
