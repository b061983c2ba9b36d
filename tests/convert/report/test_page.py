"""Tests of the HTML report in headless Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import PHONE, WIDE, Opened, chromium, opened_page
from tests.support.command import convert, succeed

_HOSTILE = (
    "<img src=x onerror='window.pwned=1'>",
    '"><script>window.pwned=1<',
    "'; window.pwned=1; '",
    "{{ 7 * 191 }}${window.pwned=1}",
    "\u202egnp.exe",
    "--><svg onload=window.pwned=1>",
)
_CANARY = "ghp_" + "Ab3dE6gH9" * 4
_UNIT = f"""\
[Service]
ExecStart=/usr/bin/served --name "<b onmouseover=window.pwned=1>x</b>"
Environment=API_TOKEN={_CANARY}
Environment="MOTTO=</script><script>window.pwned=1</script>"
[Install]
WantedBy=multi-user.target
"""
_SIZES = {
    "usr/lib/large": 600_000,
    "usr/lib/small": 100_000,
    "usr/bin/served": 200_000,
    "srv/data": 300_000,
}
_PACKAGE = "Package: served\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n"


def make_root(root: Path) -> None:
    """Make a small system with names that nobody would want on a page."""
    for path, size in _SIZES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(bytes(size))
    texts = {
        "etc/os-release": 'ID=x\nPRETTY_NAME="X <script>window.pwned=1</script>"\n',
        "etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/systemd/system/served.service": _UNIT,
        "etc/systemd/system/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd\n",
        "var/lib/dpkg/status": _PACKAGE,
        "var/lib/dpkg/info/served.list": "/.\n/usr\n/usr/bin\n/usr/bin/served\n/usr/lib/large\n",
        "boot/vmlinuz": "kernel",
        "boot/grub/grub.cfg": "set",
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for name in ("served", "ssh"):
        (wants / f"{name}.service").symlink_to(f"/etc/systemd/system/{name}.service")
    (root / "usr/bin/served").chmod(0o755)
    (root / "usr/lib/systemd").mkdir()
    (root / "usr/lib/systemd/systemd").touch(mode=0o755)
    (root / "sbin").mkdir()
    (root / "sbin/init").symlink_to("/usr/lib/systemd/systemd")
    for name in _HOSTILE:
        (root / "var/log").mkdir(exist_ok=True)
        (root / "var/log" / name).write_text("x")
        (root / "opt" / name).mkdir(parents=True)
        (root / "opt" / name / "file").write_bytes(bytes(30_000))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("root")
    make_root(folder)
    return f"dir:{folder}"


@pytest.fixture(scope="module")
def report(root: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    succeed("report", root, "-o", file, "--platform", "linux/amd64")
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    with opened_page(browser, report) as opened:
        yield opened.page
        assert opened.said == []


def violations(opened: Opened) -> list[str]:
    """Return what axe-core finds wrong, a line each."""
    found = Axe().run(opened.page, options={"resultTypes": ["violations"]})
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]


def test_the_page_asks_for_nothing_but_itself(browser: Browser, report: Path) -> None:
    with opened_page(browser, report) as opened:
        opened.page.wait_for_load_state("networkidle")
        assert opened.asked == [report.as_uri()]
        assert opened.said == []
    for attribute in re.findall(
        r"""(?:src|href|action|data)=["']([^"']*)["']""", report.read_text()
    ):
        assert attribute.startswith("#") or "pwned" in attribute


def test_names_of_the_guest_are_text_and_never_markup(browser: Browser, report: Path) -> None:
    with opened_page(browser, report) as opened:
        page = opened.page
        shown = page.locator("main").evaluate("element => element.textContent")
        for name in _HOSTILE:
            assert name.replace("\u202e", "\\u202e") in shown
        assert "\u202e" not in shown
        assert "1337" not in shown
        assert page.evaluate("window.pwned") is None
        assert page.locator("img").count() == page.locator("main script").count() == 0
        assert page.locator("main b:not(.tile b)").count() == 0
        assert page.locator("script").count() == 2
        # everything is opened once, so that what only the script draws is drawn
        for button in page.locator("[data-view]").all():
            button.click()
        page.locator("[data-view=folders]").click()
        page.locator("#map button.tile", has_text="opt").first.click()
        expect(page.locator("[data-spread=folders] tbody")).to_contain_text(_HOSTILE[0])
        assert page.evaluate("window.pwned") is None
        assert opened.said == []


def test_the_policy_of_the_page_lets_nothing_else_run_or_load(
    browser: Browser, report: Path
) -> None:
    with opened_page(browser, report) as opened:
        opened.page.evaluate(
            """() => {
                const add = (tag, fields) =>
                    document.body.append(Object.assign(document.createElement(tag), fields));
                add("script", { textContent: "window.pwned = 1" });
                add("img", { src: "data:image/gif;base64,R0lGODlhAQABAAAAACw=" });
                document.body.insertAdjacentHTML(
                    "beforeend", "<i id=bad style='color:red' onclick='window.pwned=1'>x</i>");
                document.getElementById("bad").click();
            }"""
        )
        assert opened.page.evaluate("window.pwned") is None
        assert (
            opened.page.locator("#bad").evaluate("e => getComputedStyle(e).color")
            != "rgb(255, 0, 0)"
        )
        refused = [message for message in opened.said if "Content Security Policy" in message]
        assert len(refused) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing_wrong(
    browser: Browser, report: Path, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    with opened_page(browser, report, size=size, scheme=scheme) as opened:
        opened.page.locator("button[data-severity=low]").click()
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert violations(opened) == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_screen(browser: Browser, report: Path, width: int) -> None:
    with opened_page(browser, report, size=(width, 800)) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width


def test_dark_mode_is_dark(browser: Browser, report: Path) -> None:
    def lightness(scheme: Literal["light", "dark"]) -> int:
        with opened_page(browser, report, scheme=scheme) as opened:
            color = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(int(number) for number in re.findall(r"\d+", color)[:3])

    assert lightness("light") > 600
    assert lightness("dark") < 100


def test_it_can_be_read_without_its_script(browser: Browser, report: Path) -> None:
    with opened_page(browser, report, with_script=False) as opened:
        page = opened.page
        expect(page.locator("#filter")).to_be_hidden()
        expect(page.locator("#map")).to_be_hidden()
        for name in ("folders", "packages", "layers"):
            expect(page.locator(f"[data-spread={name}]")).to_be_visible()
        expect(page.locator("[data-spread=folders] tbody tr").first).to_contain_text("900.0 kB")
        assert page.locator("#findings tbody tr:visible").count() > 5


def test_the_filter_leaves_what_has_all_words_and_unfolds_it(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("GRUB boot")
    expect(page.locator("#hits")).to_have_text("1 match")
    rows = page.locator("#removed [data-row]:visible")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("/boot/grub/")
    expect(page.locator("#removed details[open]")).to_have_count(1)
    page.locator("#filter").fill("")
    expect(page.locator("#hits")).to_have_text("")
    expect(page.locator("#removed details[open]")).to_have_count(0)
    expect(page.locator("#removed details:visible")).to_have_count(
        page.locator("#removed details").count()
    )


def test_a_filter_that_nothing_matches_says_so(page: Page) -> None:
    page.locator("#filter").fill("no such thing")
    expect(page.locator("#hits")).to_have_text("0 matches")
    expect(page.locator("#decided .nothing")).to_be_visible()
    expect(page.locator("#removed details:visible")).to_have_count(0)


def test_severities_are_switched_by_keyboard(page: Page) -> None:
    low = page.locator("button[data-severity=low]")
    expect(low).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#findings tr[data-severity=low]:visible")).to_have_count(0)
    low.focus()
    page.keyboard.press("Enter")
    expect(low).to_have_attribute("aria-pressed", "true")
    count = int(re.sub(r"\D", "", low.locator(".count").inner_text()))
    expect(page.locator("#findings tr[data-severity=low]:visible")).to_have_count(count)


def boxes(page: Page) -> dict[str, dict[str, float]]:
    """Return the tiles of the map by what they are of."""
    tiles: list[Any] = page.locator("#map > .tile").evaluate_all(
        """tiles => tiles.map(tile => {
            const { left, top, right, bottom } = tile.getBoundingClientRect();
            return [tile.title.split(",")[0], { left, top, right, bottom }];
        })"""
    )
    return dict(tiles)


def test_tiles_are_as_large_as_what_they_stand_for_and_do_not_overlap(page: Page) -> None:
    tiles = boxes(page)
    around = page.locator("#map").evaluate("element => element.getBoundingClientRect().toJSON()")

    def area(name: str) -> float:
        # each tile is two pixels smaller than its place, for the gap
        box = tiles[name]
        return (box["right"] - box["left"] + 2) * (box["bottom"] - box["top"] + 2)

    assert area("usr") / area("srv") == pytest.approx(900_000 / 300_000, rel=0.02)
    assert area("usr") / area("opt") == pytest.approx(900_000 / (30_000 * len(_HOSTILE)), rel=0.02)
    for name, box in tiles.items():
        assert around["left"] <= box["left"] < box["right"] <= around["right"]
        assert around["top"] <= box["top"] < box["bottom"] <= around["bottom"]
        for other, theirs in tiles.items():
            assert (
                name == other
                or box["right"] <= theirs["left"]
                or theirs["right"] <= box["left"]
                or box["bottom"] <= theirs["top"]
                or theirs["bottom"] <= box["top"]
            )


def test_the_map_is_walked_by_keyboard_and_the_table_goes_along(page: Page) -> None:
    table = page.locator("[data-spread=folders]")
    page.locator("#map button.tile", has_text="usr").first.focus()
    page.keyboard.press("Enter")
    expect(table.locator("caption")).to_have_text("usr: 900.0 kB")
    expect(page.locator("#heard")).to_have_text("usr: 900.0 kB, 2 parts")
    page.keyboard.press("Enter")
    expect(page.locator("#trail [aria-current]")).to_have_text("lib")
    expect(table.locator("tbody tr").first).to_contain_text("large")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#trail [aria-current]")).to_have_text("/")
    assert set(boxes(page)) >= {"usr", "srv", "opt"}


def test_packages_and_what_is_in_none_are_told_apart(page: Page) -> None:
    page.locator("[data-view=packages]").click()
    rows = page.locator("[data-spread=packages] tbody tr")
    expect(rows.first).to_contain_text("served")
    expect(rows.first).to_contain_text("800.0 kB")
    expect(rows.nth(1)).to_contain_text("in no package")


def test_a_single_layer_is_open_from_the_start(page: Page) -> None:
    page.locator("[data-view=layers]").click()
    expect(page.locator("#trail [aria-current]")).to_have_text("new layer")
    expect(page.locator("[data-spread=layers] tbody tr").first).to_contain_text("usr")
    page.locator("#trail button", has_text="all layers").click()
    expect(page.locator("[data-spread=layers] tbody tr")).to_have_count(1)


def test_each_rule_has_as_many_paths_as_the_plan(page: Page, root: str) -> None:
    planned = json.loads(succeed("plan", "--json", root, "--platform", "linux/amd64"))["paths"]
    counts: dict[str, int] = {}
    for path in planned:
        key = f"{path['rule']} {path['action']}"
        counts[key] = counts.get(key, 0) + 1
    shown = {}
    for summary in page.locator("#removed summary").all():
        words = summary.locator(".name").inner_text().split()
        shown[" ".join(words)] = int(summary.locator(".amount").inner_text().split()[0])
    assert shown == counts
    assert counts["boot dropped"] == 3


def test_the_config_on_the_page_is_that_of_the_plan(page: Page, root: str) -> None:
    planned = json.loads(succeed("plan", "--json", root, "--platform", "linux/amd64"))
    assert json.loads(page.locator("#config pre").inner_text()) == planned["config"]


def test_a_candidate_that_lost_is_there_with_its_reason(page: Page) -> None:
    page.locator("#decided .lost summary").first.click()
    lost = page.locator("#decided .lost li", has_text="ssh")
    expect(lost).to_contain_text("remote login")


def test_secrets_are_named_and_their_values_are_not(page: Page, report: Path, root: str) -> None:
    high = page.locator("#findings tr[data-severity=high]")
    expect(high.filter(has_text="secret-github-token")).to_contain_text("served.service:3")
    shown = [
        report.read_text(),
        *(
            succeed("plan", root, "--platform", "linux/amd64", option)
            for option in ("--all", "--json")
        ),
    ]
    for text in shown:
        assert "API_TOKEN" in text
        assert _CANARY not in text


def test_a_run_writes_the_same_page_with_the_image_and_its_layers(
    browser: Browser, root: str, report: Path, tmp_path: Path
) -> None:
    page = tmp_path / "run.html"
    done = json.loads(
        succeed(
            *("run", "--json", root, f"oci:{tmp_path}/out:x", "--platform", "linux/amd64"),
            *("--report-html", page),
        )
    )
    with opened_page(browser, page) as opened:
        section = opened.page.locator("#image")
        expect(section).to_contain_text(done["image"]["digest"])
        for layer in done["image"]["layers"]:
            expect(section.locator("tbody")).to_contain_text(layer["digest"])
        assert violations(opened) == []
        opened.page.locator("#image").evaluate("element => element.remove()")
        opened.page.locator("nav a[href='#image']").evaluate("element => element.remove()")
        told = opened.page.locator("main").inner_text()
    with opened_page(browser, report) as opened:
        assert told == opened.page.locator("main").inner_text()


def test_equal_sources_give_equal_pages(root: str, report: Path, tmp_path: Path) -> None:
    succeed("report", root, "-o", tmp_path / "again.html", "--platform", "linux/amd64")
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()
    shown = succeed("report", root, "-o", "-", "--platform", "linux/amd64")
    assert shown.encode("utf-8", "surrogateescape") == report.read_bytes()


def test_what_cannot_be_converted_has_a_page_that_says_why(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "empty.raw").write_bytes(bytes(1 << 20))
    done = convert("report", tmp_path / "empty.raw", "-o", tmp_path / "report.html")
    assert done.code == convert("inspect", tmp_path / "empty.raw").code == 3
    with opened_page(browser, tmp_path / "report.html") as opened:
        expect(opened.page.get_by_role("alert")).to_contain_text("cannot be converted")
        expect(opened.page.locator("#inside")).to_contain_text("empty.raw")
        assert violations(opened) == []
        assert opened.said == []


def test_the_page_is_written_whole_or_not_at_all(root: str, tmp_path: Path) -> None:
    done = convert("report", root, "-o", tmp_path / "missing" / "report.html")
    assert done.code == 7
    assert done.err.startswith("convert: the report cannot be written to ")
    done = convert("report", root, "-o", "-", "--json")
    assert done.code == 2
