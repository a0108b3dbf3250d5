"""Pictures of the console's pages, taken in a real Chromium; `make pictures` puts them into the documentation."""

import os
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from tests.apps.console.browser import chromium, log_in, new_page, served, takes_keys
from tests.apps.console.busy import Busy
from tests.apps.topics import MockKafka


def test_pictures_of_the_pages(mock_kafka: MockKafka, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PRESTACOP_PICTURES", tmp_path / "pictures"))
    busy = Busy(tmp_path, mock_kafka)
    with chromium() as browser, served(busy.console) as address:
        busy.fill()
        busy.fly()
        busy.command_drones()
        busy.answer_some()
        light = _page(browser, 1440, 900, "light")
        log_in(light, address, "k.byrne")
        _take(light, folder, "queue")
        light.get_by_role("button", name="Take the oldest").click()
        takes_keys(light)
        light.keyboard.type("stand")
        _take(light, folder, "desk")

        dark = _page(browser, 1440, 900, "dark")
        log_in(dark, address, "supervisor")
        for name in ("live", "queue", "drones", "accounts", "audit"):
            dark.goto(f"{address}/{name}")
            _take(dark, folder, f"{name}-dark")

        light.goto(f"{address}/live")
        _take(light, folder, "live")
        wall = _page(browser, 1920, 1080, "dark")
        log_in(wall, address, "viewer")
        wall.goto(f"{address}/live?wall")
        _take(wall, folder, "live-wall")
        phone = _page(browser, 390, 844, "light")
        log_in(phone, address, "officer")
        _take(phone, folder, "queue-phone")
        phone.goto(f"{address}/live")
        _take(phone, folder, "live-phone")
    assert len(list(folder.glob("*.png"))) == 11


def _page(browser: Browser, width: int, height: int, scheme: Literal["light", "dark"]) -> Page:
    return new_page(browser, viewport={"width": width, "height": height}, color_scheme=scheme)


def _take(page: Page, folder: Path, name: str) -> None:
    page.wait_for_load_state("load")
    page.wait_for_timeout(300)
    assert page.locator("[role=alert]:visible").count() == 0, f"{name} tells of a trouble"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
    page.screenshot(path=folder / f"{name}.png")
