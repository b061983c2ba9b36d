"""The report as an artifact beside the image: what it is of travels with it.

It is the document of ``run --report``, but for the folders on the machine that made it: of a path,
only the last name is told, and of the destination only the tag.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from convert.destination import DockerArchiveDestination, ImageDestination
from convert.layers.compress import Compression
from convert.oci import media
from convert.oci.image import Image
from convert.oci.referrer import Attachment
from convert.opening import Source
from convert.pipeline import Conversion
from convert.plan import Decisions
from convert.report.documents import RunDocument

_TITLE = "report.json"


def attached_report(
    sources: Source | Sequence[Source],
    target: ImageDestination,
    how: Compression,
    decisions: Decisions,
) -> Callable[[Image], Attachment]:
    """Return what makes the report of an image that is written."""
    named = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    names = [_last_name(os.fspath(source)) for source in named]
    tag = None if isinstance(target, DockerArchiveDestination) else target.tag

    def attach(image: Image) -> Attachment:
        document = RunDocument.of(names, Conversion(tag or "", image, how, decisions))
        data = document.model_dump_json(indent=2).encode() + b"\n"
        return Attachment(media.REPORT, media.JSON, _TITLE, data)

    return attach


def _last_name(source: str) -> str:
    """Return a source without the folders that lead to it; addresses stay whole."""
    return source if "://" in source else source.rstrip("/").rpartition("/")[2]
