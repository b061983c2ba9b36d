"""The page itself: one file, in which nothing but its own script and style can run or apply.

Every text goes through the template's escaping, and the policy in the page's head (CSP level 3)
allows the one script and the one style by their digests: a name in a guest that were taken for
markup after all could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from convert.preview import Preview
from convert.report.documents import ImageDocument
from convert.report.html.view import view_of
from convert.report.words import human_size


def report_page(preview: Preview, image: ImageDocument | None = None) -> str:
    """Return the report as HTML. Equal previews give equal pages.

    :param image: what was written, where it was.
    """
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("page.html")
    return template.render(
        view=view_of(preview), image=image, style=style, script=script, policy=policy
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("convert.report.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["human_size"] = human_size
    return environment


@cache
def _part(name: str) -> str:
    return (files("convert.report.html") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return what a policy calls a script or style (CSP level 3, "hash-source")."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
