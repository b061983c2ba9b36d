"""``make screenshots``: pictures of the report for the docs, of a Debian server made for that.

``python -m tests.images.screenshots`` needs Chromium, and what ``make demo`` needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.images.demo import ROOT, example_disk
from tests.support.browser import PHONE, chromium, opened_page

PICTURES = ROOT / "docs" / "images"


def main() -> int:
    disk = example_disk()
    if disk is None:
        return 6
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        report = Path(folder, "report.html")
        command = [sys.executable, "-m", "convert", "report", "-q", str(disk), "-o", str(report)]
        subprocess.run(command, check=True, cwd=ROOT)
        with opened_page(browser, report) as opened:
            _take(opened.page, "report-light")
        with opened_page(browser, report, scheme="dark") as opened:
            _scroll_to(opened.page, "#space")
            _take(opened.page, "report-dark")
        with opened_page(browser, report, size=PHONE) as opened:
            _scroll_to(opened.page, "#space")
            _take(opened.page, "report-phone")
    return 0


def _scroll_to(page: Page, selector: str) -> None:
    page.locator(selector).evaluate("element => element.scrollIntoView()")
    # which section is marked as the present one is told by the browser a moment later
    page.locator(f".top nav a[href='{selector}'][aria-current]").wait_for()


def _take(page: Page, name: str) -> None:
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
