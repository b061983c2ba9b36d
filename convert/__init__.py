"""Turn what was built for machines into container images that run.

For migration scripts::

    from convert import Codec, ConvertOptions, convert_artifact

    done = convert_artifact("server.vmdk", "oci:out:latest", ConvertOptions(compression=Codec.GZIP))
    print(done.image.digest)
    for finding in done.decisions.applied:
        print(finding.rule, finding.path, finding.action)

Errors are subclasses of :class:`ConvertError`, each with ``message``, ``origin``, ``offset``,
``hint`` and ``exit_code``. Everything that is named here keeps its meaning within a major version;
what is not named is private to the project.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convert.export import Export, export_artifact
    from convert.layers.compress import Codec
    from convert.options import ConvertOptions, Profile
    from convert.pipeline import (
        Conversion,
        Inspection,
        convert_artifact,
        inspect_artifact,
        verify_artifact,
    )
    from convert.plan import Decisions
    from convert.preview import Preview, preview_artifact
    from convert.report.html.page import report_page
    from convert.services.split import ServiceImage, Split, split_services
    from convert.verify import Verification
    from formats.core.errors import ConvertError
    from formats.core.finding import Action, Finding
    from formats.core.limits import Limits

__all__ = [
    "Action",
    "Codec",
    "Conversion",
    "ConvertError",
    "ConvertOptions",
    "Decisions",
    "Export",
    "Finding",
    "Inspection",
    "Limits",
    "Preview",
    "Profile",
    "ServiceImage",
    "Split",
    "Verification",
    "convert_artifact",
    "export_artifact",
    "inspect_artifact",
    "preview_artifact",
    "report_page",
    "split_services",
    "verify_artifact",
]

_HOMES = {
    "convert.export": ("Export", "export_artifact"),
    "convert.layers.compress": ("Codec",),
    "convert.options": ("ConvertOptions", "Profile"),
    "convert.pipeline": (
        "Conversion",
        "Inspection",
        "convert_artifact",
        "inspect_artifact",
        "verify_artifact",
    ),
    "convert.plan": ("Decisions",),
    "convert.preview": ("Preview", "preview_artifact"),
    "convert.report.html.page": ("report_page",),
    "convert.services.split": ("ServiceImage", "Split", "split_services"),
    "convert.verify": ("Verification",),
    "formats.core.errors": ("ConvertError",),
    "formats.core.finding": ("Action", "Finding"),
    "formats.core.limits": ("Limits",),
}
"""Module → names. They are imported at their first use: ``convert --help`` needs none of them."""


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'convert' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
