"""Bundles and packages that are recognised and not read."""

from __future__ import annotations

from formats.core.reader import Category, Signature
from formats.recognised.row import RecognisedFormat

BUNDLES: tuple[RecognisedFormat, ...] = (
    RecognisedFormat(
        "zip",
        Category.BUNDLE,
        (Signature(0, b"PK\x03\x04"),),
        "a zip archive",
        "unpack it with 'unzip' and give the disk image that is in it",
    ),
)
