"""The live page's map and figures: what is counted by area is where drones and violations are, and is counted once."""

import json
import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from apps.console import areas as areas_module
from apps.console.areas import Areas
from apps.console.city import city_map, hot, shaded
from apps.console.console import Console
from apps.console.live import Panes
from schemas.places import Area
from tests.apps.console.support import Clock, alert, make_console, officer, raise_alerts

TIMES_SQUARE, HARLEM = "40.75,-73.99", "40.81,-73.95"


def panes(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """A file of panes of ten seconds; ``at`` is the window's start."""
    whole = []
    for line in lines:
        start = datetime.fromtimestamp(line["at"], UTC).isoformat()
        usual = {"window_start": start, "window_seconds": 10, "dataset": None, "violation_code": None, "n": 0}
        whole.append(json.dumps(usual | {"timing": "on_time"} | line) + "\n")
    path.write_text("".join(whole))
    return path


def live_page(console: Console, at: float) -> str:
    """The page as an officer sees it then; the console is stopped."""
    assert console.panes is not None
    console.panes.poll(at)
    browser = officer(console)
    page = browser.get("/live").text
    browser.close()
    console.stop()
    return str(page)


def test_messages_are_those_of_the_newest_window_and_violations_those_of_the_last_hour() -> None:
    areas = Areas()
    square, harlem = Area(40.75, -73.99), Area(40.81, -73.95)
    assert (areas.window, areas.messages, areas.violations) == (None, {}, {})
    areas.add(0, 10, "qualified", {TIMES_SQUARE: 100})
    areas.add(600, 10, "positions", {TIMES_SQUARE: 9})
    areas.add(600, 10, "qualified", {TIMES_SQUARE: 3})
    assert (areas.window, areas.messages, areas.violations) == ((600, 610), {square: 12}, {square: 103})
    areas.add(3_600, 10, "unqualified", {HARLEM: 2})
    areas.add(3_600, 10, "answers", {HARLEM: 7})
    areas.add(600, 10, "qualified", {TIMES_SQUARE: 1})  # late, of a window in the hour
    areas.add(0, 10, "qualified", {TIMES_SQUARE: 50})  # late, of one that is not
    assert (areas.window, areas.messages) == ((3_600, 3_610), {harlem: 2})
    assert areas.violations == {square: 4, harlem: 2}
    areas.add(7_200, 10, "positions", {HARLEM: 1})
    assert areas.violations == {}


def test_violations_all_over_the_world_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(areas_module, "MOST_AREAS", 50)
    areas = Areas()
    for at in range(20):
        names = {f"{-80 + at:.2f},{place:.2f}": 1 for place in range(100)}
        areas.add(60 * at, 10, "qualified", {TIMES_SQUARE: 2} | names)
    assert len(areas.violations) == len(areas.messages) == 50
    assert all(len(counts) <= 50 for counts in areas._minutes.values())
    assert areas.violations[Area(40.75, -73.99)] == 40


def test_panes_by_area_and_dead_letters_change_no_other_figure(tmp_path: Path) -> None:
    now = time.time() // 60 * 60
    path = panes(
        tmp_path / "panes",
        [
            {"at": now, "dataset": "qualified", "violation_code": 21, "n": 3, "timing": "early"},
            {"at": now, "dataset": "dead_letters", "n": 2, "timing": "early"},
            {"at": now},
            {"at": now, "dataset": "qualified", "n": 3, "areas": {TIMES_SQUARE: 3}},
            {"at": now, "dataset": "qualified", "violation_code": 21, "n": 1, "timing": "late"},
            {"at": now, "dataset": "qualified", "n": 1, "areas": {TIMES_SQUARE: 1}, "timing": "late"},
            {"at": now + 90_000, "dataset": "qualified", "n": 5, "areas": {HARLEM: 5}},  # its clock is wrong
        ],
    )
    read = Panes(path)
    assert read.poll(now + 10)
    figures = read.figures
    assert figures.totals == {"qualified": 4, "dead_letters": 2}
    assert (figures.late, figures.codes, figures.violations_by_minute(1, now)[0][1:]) == (1, {21: 4}, (4, 0))
    assert figures.areas.violations == {Area(40.75, -73.99): 4}
    assert not read.unreadable


def test_the_page_shows_dead_letters_the_share_for_officers_and_the_map(tmp_path: Path) -> None:
    clock = Clock()
    start = clock.now // 60 * 60 - 60
    by_area = {"dataset": "positions", "n": 40, "areas": {TIMES_SQUARE: 30, HARLEM: 10}}
    path = panes(
        tmp_path / "panes",
        [
            {"at": start, "dataset": "qualified", "violation_code": 21, "n": 199, "timing": "early"},
            {"at": start, "dataset": "unqualified", "violation_code": 0, "n": 1, "timing": "early"},
            {"at": start, "dataset": "dead_letters", "n": 1_234, "timing": "early"},
            {"at": start, **by_area},
            {"at": start, "dataset": "qualified", "n": 199, "areas": {HARLEM: 199}},
        ],
    )
    console = make_console(tmp_path / "state", clock, panes=path)
    raise_alerts(console, alert("open", clock.now), alert("answered", clock.now + 1))
    held = console.desk.pick("officer", "newest")
    assert held is not None
    console.desk.answer("officer", held.lease, 40)
    page = live_page(console, clock.now)
    assert re.search(r"Dead letters</dt><dd>1,234<", page)
    assert "0.50&nbsp;% of all violations" in page
    assert page.count('class="alert"') == 1
    assert page.count('<path class="shade') == 2
    assert "Hottest: Manhattan 40.81, -73.95 (199)" in page
    assert "last complete window" in page


def test_areas_are_drawn_where_they_are_and_not_outside_the_map() -> None:
    square, harlem, sydney = Area(40.75, -73.99), Area(40.81, -73.95), Area(-33.87, 151.2)
    drawn = str(city_map([], "x", shaded({square: 16, harlem: 1, sydney: 16}) + hot([(square, 1_600)])))
    (strong,) = re.findall(r'<path class="shade4" d="([^"]*)"/>', drawn)
    (weak,) = re.findall(r'<path class="shade1" d="([^"]*)"/>', drawn)
    assert (strong.count("z"), weak.count("z")) == (1, 1)
    left, top, right, bottom = map(int, re.findall(r"\d+", strong)[:4])
    assert 0 < left < right < 600
    assert 0 < top < bottom
    assert top > int(re.findall(r"\d+", weak)[1])  # Harlem is north of it
    assert "<title>Manhattan 1,600 violations</title>" in drawn


def test_the_state_goes_from_green_to_amber_and_red_while_no_pane_comes(tmp_path: Path) -> None:
    now = time.time() // 60 * 60
    read = Panes(panes(tmp_path / "panes", [{"at": now - 30, "dataset": "qualified", "n": 3}, {"at": now - 20}]))
    assert read.figures.state(now).level == "amber"  # nothing was counted yet
    read.poll(now)
    with (tmp_path / "panes").open("a") as file:
        file.write((tmp_path / "panes").read_text().splitlines()[1] + "\n")
    read.poll(now)
    figures = read.figures
    assert figures.state(now + 5) == ("green", "Figures are up to date")
    assert figures.state(now + 26) == ("amber", "No data for 26 s")
    assert figures.state(now + 45) == ("red", "No data for 45 s; the figures are 55 s behind")


def test_a_console_that_starts_beside_a_dead_graph_takes_no_old_pane_for_news(tmp_path: Path) -> None:
    now = time.time()
    path = panes(tmp_path / "panes", [{"at": now - 900}])
    os.utime(path, (now - 880, now - 880))
    read = Panes(path)
    read.poll(now)
    assert read.figures.state(now).level == "red"
    assert read.figures.state(now).text.startswith("No data for 880 s")


def test_of_a_file_that_is_replaced_while_it_is_opened_the_new_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, opening = time.time(), Path.open
    line = {"at": now - 60, "dataset": "qualified"}
    path, new = (
        panes(tmp_path / "panes", [line | {"n": 1}]),
        panes(tmp_path / "new", [line | {"n": n} for n in (10, 100)]),
    )

    def open_and_replace(self: Path, mode: str) -> Any:
        file = opening(self, mode)
        os.replace(new, path)
        return file

    found = Panes(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_and_replace)
        found.poll(now)
    found.poll(now)
    assert found.figures.totals == {"qualified": 110}


def test_minutes_that_are_not_complete_are_marked_and_are_not_the_rate(tmp_path: Path) -> None:
    clock = Clock()
    minute = clock.now // 60 * 60
    clock.now = minute + 40
    rows = ((minute - 60, 500), (minute, 7))
    path = panes(
        tmp_path / "panes",
        [
            *({"at": at, "dataset": "qualified", "violation_code": 21, "n": n, "timing": "early"} for at, n in rows),
            {"at": minute - 10},
            {"at": minute + 10},
        ],
    )
    console = make_console(tmp_path / "state", clock, panes=path)
    page = live_page(console, clock.now)
    assert "<dd>500</dd>" in page
    assert page.count('class="qualified"') == page.count('class="qualified partial"') == 1
    assert "7 qualified, the minute is not complete" in page
