"""Headless Chromium from the distribution, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.programs import need

# As root there is no sandbox, and without these Chromium looks up its maker's hosts.
_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = (1280, 900)
PHONE = (390, 844)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser with an empty profile."""
    need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_SWITCHES), timeout=60_000
        )
        yield browser
        browser.close()


class Opened:
    """A page that was opened, and what it did.

    :ivar said: messages of its console, errors of its script among them.
    :ivar asked: addresses that it loaded.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))


@contextmanager
def opened_page(
    browser: Browser,
    file: Path,
    *,
    size: tuple[int, int] = WIDE,
    scheme: Literal["light", "dark"] = "light",
    with_script: bool = True,
) -> Iterator[Opened]:
    """Open a file as a reader of these habits would."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        java_script_enabled=with_script,
        reduced_motion="reduce",
    )
    context.set_default_timeout(10_000)
    opened = Opened(context.new_page())
    opened.page.goto(file.as_uri())
    yield opened
    context.close()
