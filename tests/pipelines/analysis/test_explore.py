"""The interactive part of the report in a real Chromium, against counts in polars over the tickets and messages."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest
import vl_convert
from apache_beam.options.pipeline_options import PipelineOptions
from playwright.sync_api import Browser, Page

from apps.simulator.command import main as simulate
from pipelines.analysis.command import answers
from pipelines.analysis.explore import read_shapes
from pipelines.analysis.html_report import render
from pipelines.analysis.results import Answers
from pipelines.cli.runner import LOCAL_RUNNER
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.errors import InputUnusable
from schemas.violation_codes import code_name
from tests.apps.console.browser import chromium, collect_errors, new_page
from tests.apps.console.test_in_chromium import CONTRAST, NAMELESS

STATIC = Path(__file__).parents[3] / "pipelines" / "analysis" / "static"
VEGA = "6.2.0", "ea6a5936381d06f912466354e2b6a20eb66c4d41f1ca9dff1e0236dfee6ee392"
"""The version, and the hash of build/vega.min.js in its npm package."""
COUNTIES = {"NY": "Manhattan", "K": "Brooklyn", "Q": "Queens", "BX": "Bronx", "R": "Staten Island", "": "not given"}
ROWS = 3000
SQUARE = [[-74.0, 40.7], [-73.98, 40.7], [-73.98, 40.72], [-74.0, 40.72], [-74.0, 40.7]]


class Filled(NamedTuple):
    """The page's answers, and the tickets: county, precinct, code, month and hour."""

    found: Answers
    tickets: pl.DataFrame
    drones: int
    """Their violations."""
    page: Path


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("explore")
    history, recording, root = folder / "h.csv", folder / "m.jsonl", folder / "lake"
    simulate(["history", "--rows", str(ROWS), "--seed", "6", "--dirt", "0", "--output", str(history), "--quiet"])
    fleet = ["--drones", "20", "--seconds", "60", "--seed", "6", "--start", "2026-03-04T15:00:00Z"]
    simulate(["drones", *fleet, "--output", f"file:{recording}", "--quiet"])
    run_graph(
        ReadOptions(str(history), str(recording)), Settings(str(root), 3600), PipelineOptions([], runner=LOCAL_RUNNER)
    )
    truth = pl.read_parquet(f"{history}.truth.parquet")
    local = truth["event_time"].dt.convert_time_zone("America/New_York")
    rows = pl.read_csv(history, infer_schema=False)
    tickets = pl.DataFrame(
        {
            "county": rows["Violation County"].fill_null("").replace(COUNTIES),
            "precinct": rows["Violation Precinct"],
            "code": truth["violation_code"].cast(pl.Int64),
            "month": local.dt.strftime("%b\u00a0%Y"),
            "hour": local.dt.hour(),
        }
    )
    messages = pl.read_parquet(f"{recording}.truth.parquet").filter(
        pl.col("branch").is_in(["qualified", "unqualified"])
    )
    found = answers(str(root), PipelineOptions([], runner=LOCAL_RUNNER))
    (folder / "report.html").write_text(render(found), encoding="utf-8")
    return Filled(found, tickets, messages["message_id"].n_unique(), folder / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def opened(browser: Browser, path: Path, **options: Any) -> Page:
    page = new_page(browser, **options)
    page.goto(path.as_uri())
    page.wait_for_selector("#explore[data-ready]")
    return page


@pytest.fixture(scope="module")
def page(browser: Browser, filled: Filled) -> Page:
    return opened(browser, filled.page)


def numbers(page: Page, chart: str) -> dict[str, int]:
    """The table beside a chart."""
    rows = page.locator(f"#explore-{chart} tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => c.textContent))"
    )
    return {name: int(n.replace(",", "")) for name, n, _ in rows if n != "0"}


def choose(page: Page, **chosen: str) -> None:
    """Filter by these alone."""
    page.get_by_role("button", name="Show all").click()
    for name, label in chosen.items():
        page.get_by_label(name, exact=True).select_option(label=label)


def by_hour(tickets: pl.DataFrame) -> dict[str, int]:
    return {f"{hour}:00–{hour}:59": n for hour, n in tickets.group_by("hour").len().rows()}


def by_month(tickets: pl.DataFrame) -> dict[str, int]:
    return dict(tickets.group_by("month").len().rows())


def total(page: Page) -> str:
    return page.get_by_role("status").text_content() or ""


pytestmark = pytest.mark.embedded


def test_without_a_filter_it_has_all_violations(filled: Filled, page: Page) -> None:
    choose(page)
    assert total(page) == f"{ROWS:,} of {ROWS:,} violations of the history"
    assert numbers(page, "hours") == by_hour(filled.tickets)
    assert numbers(page, "months") == by_month(filled.tickets)
    codes = dict(filled.tickets.group_by("code").len().rows())
    shown = numbers(page, "codes")
    assert sum(shown.values()) == ROWS
    assert shown.pop("other codes", 0) == sum(n for code, n in codes.items() if code_name(code) not in shown)
    assert shown == {name: n for code, n in codes.items() if (name := code_name(code)) in shown}
    counties = dict(filled.tickets.group_by("county").len().rows())
    drawn = numbers(page, "map")
    assert drawn == {county: counties[county] for county in drawn}
    assert drawn.keys() == set(COUNTIES.values()) - {"not given"}


def test_all_charts_follow_the_filters(filled: Filled, page: Page) -> None:
    code = filled.tickets["code"].mode()[0]
    choose(page, county="Brooklyn", code=code_name(code), hour="13:00–13:59")
    brooklyn = filled.tickets.filter(county="Brooklyn", code=code)
    left = brooklyn.filter(hour=13)
    assert total(page).startswith(f"{len(left):,} of {ROWS:,} ")
    assert numbers(page, "months") == by_month(left)
    assert numbers(page, "hours") == by_hour(brooklyn), "a chart is not filtered by its own filter"
    precincts = {name.partition(",")[0].removeprefix("precinct "): n for name, n in numbers(page, "places").items()}
    assert precincts == dict(left.group_by("precinct").len().rows())
    elsewhere = dict(filled.tickets.filter(code=code, hour=13).group_by("county").len().rows())
    assert numbers(page, "map") == {name: n for name, n in elsewhere.items() if name != "not given"}
    month = left["month"].mode()[0]
    choose(page, county="Brooklyn", precinct="precinct 75, Brooklyn", month=month)
    left = filled.tickets.filter(county="Brooklyn", precinct="75", month=month)
    assert total(page).startswith(f"{len(left):,} of ")
    assert numbers(page, "hours") == by_hour(left)


def test_a_click_filters_and_a_second_one_shows_all(filled: Filled, page: Page) -> None:
    choose(page)
    for n in (len(filled.tickets.filter(hour=10)), ROWS):
        page.locator("#explore-hours .mark-rect path").nth(10).click()
        assert total(page).startswith(f"{n:,} of ")
    brooklyn = page.locator("#explore-map .mark-path").nth(1).locator("path").nth(1)
    brooklyn.click()
    chosen = page.get_by_label("county", exact=True).locator("option:checked").text_content()
    assert chosen == "Brooklyn"
    assert total(page).startswith(f"{len(filled.tickets.filter(county=chosen)):,} of ")


def test_sources_are_never_added_up(filled: Filled, page: Page) -> None:
    choose(page, source="the drones")
    page.get_by_text(f"{filled.drones:,} of {filled.drones:,} violations of the drones").wait_for()
    assert numbers(page, "hours") == {"10:00–10:59": filled.drones}
    assert page.locator("label[for=by-place]").text_content() == "cell"
    assert sum(numbers(page, "map").values()) <= filled.drones
    page.get_by_label("source", exact=True).select_option(label="the history")
    page.get_by_text(f"{ROWS:,} of {ROWS:,} violations of the history").wait_for()


def test_the_keys_alone(filled: Filled, page: Page) -> None:
    choose(page)
    page.get_by_label("source", exact=True).focus()
    stops = []
    for _ in range(6):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert stops == ["by-county", "by-place", "by-code", "by-month", "by-hour", "explore-all"]
    page.get_by_label("hour", exact=True).focus()
    page.keyboard.press("ArrowDown")
    assert total(page).startswith(f"{len(filled.tickets.filter(hour=0)):,} of ")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert total(page).startswith(f"{ROWS:,} of ")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_everyone_can_read_it_and_no_request_leaves(browser: Browser, filled: Filled, width: int, scheme: Any) -> None:
    page = new_page(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
    errors, requests = collect_errors(page), list[str]()
    page.on("request", lambda request: requests.append(request.url))
    page.goto(filled.page.as_uri())
    page.wait_for_selector("#explore[data-ready]")
    page.locator("#explore details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.querySelectorAll('#explore [role=img]:not([aria-label])').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#explore .drawn svg").count() == 5
    assert (errors, requests) == ([], [filled.page.as_uri()])
    page.emulate_media(media="print")
    assert not page.locator("#explore").is_visible()
    assert page.locator("figure svg:visible").count() > 10
    page.close()


def test_a_name_from_a_ticket_is_text(browser: Browser, filled: Filled, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    history = filled.found.details[0]
    places = tuple(place._replace(county=hostile) for place in history.cube.places)
    details = msgspec.structs.replace(history, cube=msgspec.structs.replace(history.cube, places=places))
    found = msgspec.structs.replace(filled.found, details=(details, *filled.found.details[1:]))
    (tmp_path / "report.html").write_text(render(found), encoding="utf-8")
    page = opened(browser, tmp_path / "report.html")
    assert page.locator("img").count() == 0
    page.get_by_label("county", exact=True).select_option(label=hostile)
    page.close()


def test_the_map_has_the_shapes_that_are_given(browser: Browser, filled: Filled, tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": {"Precinct": "75"}, "geometry": {"type": "Polygon", "coordinates": [SQUARE]}},
        {
            "type": "Feature",
            "properties": {"Precinct": 9},
            "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        },
    ]
    (tmp_path / "shapes.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    shapes = read_shapes(tmp_path / "shapes.json")
    assert shapes == dict.fromkeys(("75", "9"), "M466,523L500,523L500,478L466,478L466,523Z")
    (tmp_path / "report.html").write_text(render(filled.found, shapes), encoding="utf-8")
    page = opened(browser, tmp_path / "report.html")
    counted = dict(filled.tickets.group_by("precinct").len().rows())
    assert numbers(page, "map") == {"precinct 75, Brooklyn": counted["75"], "precinct 9, Manhattan": counted["9"]}
    page.close()


@pytest.mark.parametrize("text", ["", "[]", '{"features": [{"properties": {}, "geometry": null}]}', '{"features": 1}'])
def test_what_are_no_shapes_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(text)
    with pytest.raises(InputUnusable, match="is not a GeoJSON file"):
        read_shapes(path)
    with pytest.raises(InputUnusable, match="No such file"):
        read_shapes(tmp_path / "missing")


def test_vega_is_that_of_its_npm_package() -> None:
    version, digest = VEGA
    assert sha256((STATIC / "vega.min.js").read_bytes()).hexdigest() == digest
    assert vl_convert.get_vega_version() == version, "take the version that draws the other charts, and its hash"
    assert f"Vega](https://vega.github.io/vega) {version} " in (STATIC / "README.md").read_text()
