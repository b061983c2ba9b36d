"""The JSON schemas of the image specification, as Debian packages them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.support.images import read_json
from tests.support.programs import refuse

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")


def schema(name: str) -> Draft4Validator:
    """Return one of the specification's schemas by its name."""
    if not SCHEMAS.is_dir():
        refuse("not installed: golang-github-opencontainers-image-spec-dev")
    known: Registry[Any] = Registry().with_resources(
        (prefix + path.name, DRAFT4.create_resource(read_json(path)))
        for path in SCHEMAS.glob("*.json")
        for prefix in (
            "",
            "https://opencontainers.org/schema/",
            "https://opencontainers.org/schema/image/",
        )
    )
    return Draft4Validator(read_json(SCHEMAS / name), registry=known)
