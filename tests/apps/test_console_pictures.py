"""Pictures of the console's pages, taken in a real Chromium; `make pictures` puts them into the documentation."""

import json
import math
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from apps.console.access import Role
from apps.console.console import Console
from tests.apps.console_browser import car, chromium, log_in, served
from tests.apps.console_support import add_account, alert, make_console, picture, raise_alerts

MORE_CODES = {
    16: "NO STANDING-EXC. TRUCK LOADING",
    18: "NO STANDING-BUS LANE",
    19: "NO STANDING-BUS STOP",
    46: "DOUBLE PARKING",
    48: "BIKE LANE",
}
COLOURS = ("#3b6ea8", "#b8453a", "#4b5a55", "#d8d4c8", "#2f3540", "#8a6f3c")
PLACES = (
    (40.7581, -73.9855), (40.6782, -73.9442), (40.7282, -73.7949), (40.8448, -73.8648), (40.5795, -74.1502),
    (40.7128, -74.0060), (40.7505, -73.9934), (40.6441, -73.9872), (40.7644, -73.9235), (40.8076, -73.9626),
    (40.7007, -73.9230), (40.6892, -73.9857),
)  # fmt: skip


@pytest.fixture
def busy(tmp_path: Path) -> Console:
    """A console on a working day: 40 open alerts, three officers, 50 minutes of statistics."""
    panes = tmp_path / "panes.jsonl"
    _write_panes(panes)
    console = make_console(tmp_path / "state", panes=panes)
    console.codes.choices = dict(sorted((console.codes.choices | MORE_CODES).items()))
    for name in ("k.byrne", "a.ortiz"):
        add_account(console, name, Role.OFFICER)
    return console


def test_pictures_of_the_pages(busy: Console, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PRESTACOP_PICTURES", tmp_path))
    with chromium() as browser, served(busy) as address:
        _fill(busy, browser)
        light = _page(browser, 1440, 900, "light")
        log_in(light, address, "k.byrne")
        _answer_some(busy)
        light.reload()
        _take(light, folder, "queue")
        light.get_by_role("button", name="Take the oldest").click()
        light.wait_for_selector("#code:focus")
        light.keyboard.type("stand")
        _take(light, folder, "desk")

        dark = _page(browser, 1440, 900, "dark")
        log_in(dark, address, "supervisor")
        for name in ("live", "queue"):
            dark.goto(f"{address}/{name}")
            _take(dark, folder, f"{name}-dark")
        busy.drones.tell("supervisor", "drone-0007", "return")
        for name in ("drones", "accounts", "audit"):
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
    return browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)


def _take(page: Page, folder: Path, name: str) -> None:
    page.wait_for_load_state("load")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
    page.screenshot(path=folder / f"{name}.png")


def _fill(console: Console, browser: Browser) -> None:
    rng = random.Random(5)
    now = time.time()
    raised, pictures = [], []
    cars = [(f"{''.join(rng.choices('ABCDEFGHJKLMNPRSTUVWXYZ', k=3))}{rng.randrange(1000, 9999)}", c) for c in COLOURS]
    jpegs = [car(browser, plate, colour, place) for place, (plate, colour) in enumerate(cars)]
    for place in range(52):
        north, west = PLACES[place % len(PLACES)]
        plate, _ = cars[place % len(cars)]
        name = f"{rng.getrandbits(128):032x}"
        raised.append(
            alert(
                name, now - 20 - 9.5 * (52 - place), drone_id=f"drone-{rng.randrange(1000):04d}", plate_id=plate,
                latitude=north + rng.gauss(0, 0.012), longitude=west + rng.gauss(0, 0.012), image_id=f"img-{name[:12]}",
            )
        )  # fmt: skip
        pictures.append(picture(f"img-{name[:12]}", jpegs[place % len(cars)]))
    raise_alerts(console, *raised)
    console.pictures.take(pictures, {})


def _answer_some(console: Console) -> None:
    for place in range(12):
        held = console.desk.pick("k.byrne" if place % 3 else "a.ortiz", "newest" if place % 2 else "oldest")
        assert held is not None
        console.desk.answer("k.byrne" if place % 3 else "a.ortiz", held.lease, (14, 21, 40, 45)[place % 4])
        console.audit.note("k.byrne", "127.0.0.1", "answer", f"21 to {held.alert['message_id']}")
    console.desk.pick("a.ortiz")


def _area(rng: random.Random, spread: float) -> str:
    place = rng.choices(PLACES, range(len(PLACES), 0, -1))[0]
    latitude, longitude = (math.floor(100 * rng.gauss(middle, spread)) / 100 for middle in place)
    return f"{latitude:.2f},{longitude:.2f}"


def _write_panes(path: Path) -> None:
    rng = random.Random(3)
    now = time.time()
    codes = [21] * 28 + [40] * 14 + [14] * 17 + [45] * 9 + list(range(1, 99))
    lines = []
    for window in range(300):
        start = int(now) // 10 * 10 - 10 * (300 - window)
        base = {"window_start": datetime.fromtimestamp(start, UTC).isoformat(), "window_seconds": 10, "timing": "early"}
        swell = 1 + 0.35 * (1 if window % 90 < 40 else 0.2) + rng.random() * 0.2
        for _ in range(30):
            row = {"dataset": "qualified", "violation_code": rng.choice(codes), "n": round(33 * swell)}
            lines.append(base | row)
        lines.append(base | {"dataset": "unqualified", "violation_code": 0, "n": rng.randrange(5, 16)})
        lines.append(base | {"dataset": "positions", "violation_code": None, "n": 9000})
        lines.append(base | {"dataset": "answers", "violation_code": 21, "n": rng.randrange(4, 12)})
        lines.append(base | {"dataset": "dead_letters", "violation_code": None, "n": rng.randrange(0, 4)})
        if window % 40 == 7:
            lines.append(base | {"dataset": "positions", "violation_code": None, "n": 9, "timing": "late"})
            lines.append(base | {"dataset": "positions", "violation_code": None, "n": 2, "timing": "too_late"})
        if window < 299:
            lines.append(base | {"dataset": None, "violation_code": None, "n": 0, "timing": "on_time"})
            for dataset, n, spread in (("positions", 1500, 0.03), ("qualified", 150, 0.015)):
                areas = Counter(_area(rng, spread) for _ in range(n))
                by_area = {"dataset": dataset, "violation_code": None, "n": n, "areas": areas, "timing": "on_time"}
                lines.append(base | by_area)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
