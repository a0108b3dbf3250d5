"""Whether the pages fit: a wall and a desk do not scroll, a phone does not sideways, and nothing is out of reach."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from apps.console.access import Role
from apps.console.console import Console
from tests.apps.console.browser import chromium, log_in, new_page, served
from tests.apps.console.busy import Busy
from tests.apps.console.support import add_account, alert, make_console, raise_alerts
from tests.apps.topics import MockKafka

pytestmark = pytest.mark.embedded

PAGES = ("/queue", "/desk", "/live", "/live?wall", "/drones", "/accounts", "/audit", "/password", "/nowhere")
LONG_NAME = "supervisor.with_a-name.of-32char"
LONG = "x" * 190
BEYOND = "[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]"
CUT = """() => [...document.querySelectorAll('.card, .tiles > div, .tiles dd')]
  .filter((e) => !/auto|hidden/.test(getComputedStyle(e).overflowY))
  .filter((e) => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A day with more than fits on any page, and with the longest names."""
    broker = MockKafka()
    busy = Busy(tmp_path_factory.mktemp("day"), broker)
    with served(busy.console) as url:
        busy.fill()
        busy.command_drones()
        busy.answer_some()
        _overfill(busy.console)
        yield url
    broker.stop()


def _overfill(console: Console) -> None:
    now = time.time()
    add_account(console, LONG_NAME, Role.SUPERVISOR)
    for place in range(40):
        console.accounts.create(f"officer.{place:02d}", Role.OFFICER)
        console.drones.command(LONG_NAME, LONG if place % 4 == 0 else f"drone-{place}", "hold")
        console.audit.note(LONG if place % 4 == 0 else LONG_NAME, "2001:db8:85a3:1:2:8a2e:370:7334", "answer", LONG)
        console.audit.note(LONG_NAME, "127.0.0.1", "login")
    raise_alerts(console, *(alert(f"{n}", now - 100_000 + n, plate_id=LONG, drone_id=LONG) for n in range(500)))
    console.desk.take([LONG.encode()] * 20, {})
    assert console.desk.pick(LONG_NAME) is not None


def _page(browser: Browser, address: str, size: tuple[int, int], scheme: Literal["light", "dark"]) -> Page:
    page = new_page(browser, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    log_in(page, address, LONG_NAME)
    return page


def _box(page: Page, selector: str) -> dict[str, float]:
    """Where an element is, in one look: what new figures replace is gone between two."""
    box: dict[str, float] = page.evaluate("s => document.querySelector(s).getBoundingClientRect().toJSON()", selector)
    return box


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1920, 1080), (1440, 900), (1280, 800)], ids=str)
def test_no_page_of_a_supervisor_scrolls(
    address: str, browser: Browser, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    page = _page(browser, address, size, scheme)
    for path in PAGES:
        page.goto(address + path)
        assert page.evaluate(BEYOND) == [0, 0], path
        assert page.evaluate(CUT) == [], path
    page.goto(f"{address}/live")
    for drawing in (".chart", ".map"):
        assert _box(page, drawing)["height"] > 150, drawing
    page.close()


@pytest.mark.parametrize("width", [390, 320])
def test_nothing_is_beyond_the_edge_of_a_phone(address: str, browser: Browser, width: int) -> None:
    page = _page(browser, address, (width, 844), "light")
    for path in PAGES:
        page.goto(address + path)
        assert page.evaluate(BEYOND)[0] == 0, path
        beyond = (
            "[...document.querySelectorAll('main *:not(svg *), header *')].filter(e => e.checkVisibility()"
            " && !e.closest('thead, .hidden, .skip') && e.getBoundingClientRect().right > innerWidth)"
            ".map(e => e.outerHTML.slice(0, 80))"
        )
        assert page.evaluate(beyond) == [], path
    page.close()


def test_a_supervisor_reaches_every_page_on_a_phone(address: str, browser: Browser) -> None:
    page = _page(browser, address, (390, 844), "dark")
    for name in ("Live", "Drones", "Accounts", "Audit", "Queue"):
        link = page.get_by_role("navigation", name="Pages").get_by_role("link", name=name)
        box = link.evaluate("e => e.getBoundingClientRect().toJSON()")
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        link.click()
        page.wait_for_url(f"**/{name.lower()}")
    page.close()


def test_the_scroll_position_stays_when_alerts_arrive(browser: Browser, tmp_path: Path) -> None:
    console = make_console(tmp_path / "state")
    now = time.time()
    raise_alerts(console, *(alert(f"{n}", now - 100 + n) for n in range(40)))
    with served(console) as url:
        page = new_page(browser, viewport={"width": 1280, "height": 800})
        log_in(page, url, "officer")
        button = page.get_by_role("button", name="Take alert 30", exact=True)
        button.focus()
        before = _box(page, "#take-30")
        assert page.evaluate("document.getElementById('alerts').scrollTop") > 500
        raise_alerts(console, alert("new", now, plate_id="FRESH01"))
        page.get_by_text("FRESH01").wait_for()
        assert _box(page, "#take-30")["y"] == before["y"]  # ages get longer, and move what is beside them
        assert button.evaluate("e => e === document.activeElement")
        page.close()
