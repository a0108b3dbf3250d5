"""The console in a real Chromium: the keys, a browser that is gone, hostile text, and whether everyone can use it."""

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, Route

from apps.console import live, presence
from apps.console.console import Console
from apps.console.desk import Held
from apps.simulator.fleet.images import parked_car
from messaging.urls import kafka_url
from runners.services import free_port
from schemas.commands import Command
from tests.apps.console.browser import (
    chromium,
    collect_errors,
    log_in,
    new_context,
    new_page,
    served,
    take,
    takes_keys,
)
from tests.apps.console.support import Clock, alert, make_again, make_console, outbox, picture, raise_alerts
from tests.apps.console.test_drone_events import event, line
from tests.apps.console.test_live import panes
from tests.apps.topics import MockKafka, consumed
from tests.support import wait_until

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return make_console(tmp_path / "state")


@pytest.fixture
def address(console: Console) -> Iterator[str]:
    with served(console) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = new_context(browser)
    yield context.new_page()
    context.close()


def focused(page: Page) -> str:
    """The id of what has the focus."""
    return str(page.evaluate("document.activeElement.id"))


def at(page: Page, message_id: str) -> None:
    """Wait until an alert's page is there, and takes keys."""
    page.locator(f'.facts[data-message="{message_id}"]').wait_for()
    takes_keys(page)


def test_twenty_answers_with_the_keys_alone(console: Console, address: str, page: Page) -> None:
    errors = collect_errors(page)
    raise_alerts(console, *(alert(f"{place:02d}", time.time() - 100 + place) for place in range(22)))
    log_in(page, address, "officer")
    take(page)
    began = time.monotonic()
    for place in range(20):
        at(page, f"{place:02d}")
        page.keyboard.type(("40", "clean", "0", "no stand")[place % 4])
        page.keyboard.press("Enter")
        at(page, f"{place + 1:02d}")
    print(f"20 answers in {time.monotonic() - began:.1f} s")
    assert [sent["violation_code"] for sent in outbox(console)] == [40, 21, 0, 14] * 5
    assert [sent["answers"] for sent in outbox(console)] == [f"{place:02d}" for place in range(20)]
    note = page.get_by_role("status").first.text_content()
    assert note is not None
    assert note.startswith("Done: NO STANDING-DAY/TIME LIMITS, in ")

    page.keyboard.type("lane")
    page.keyboard.press("Escape")
    page.wait_for_url("**/queue")
    assert console.desk.held("officer") is None
    take(page, "n")
    at(page, "21")
    page.keyboard.type("zzz")
    page.keyboard.press("Enter")
    page.get_by_text("No code is “zzz”").wait_for()
    takes_keys(page)
    page.keyboard.type("l")
    for key in ("ArrowDown", "ArrowUp", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    wait_until(lambda: len(outbox(console)) == 21)
    assert outbox(console)[-1]["violation_code"] != 0
    assert errors == []


def test_a_new_alert_appears_by_itself_and_one_that_is_answered_goes(
    console: Console, address: str, page: Page
) -> None:
    log_in(page, address, "viewer")
    page.get_by_text("No alert is open").wait_for()
    raise_alerts(console, alert("a", time.time(), plate_id="FRESH01"))
    page.get_by_text("FRESH01").wait_for()
    assert page.get_by_role("button", name="Take").count() == 0
    held = console.desk.pick("officer")
    assert held is not None
    page.locator("li.held").wait_for()
    console.desk.answer("officer", held.lease, 40)
    page.get_by_text("No alert is open").wait_for()


def test_an_alert_returns_to_the_queue_when_the_browser_is_absent(
    console: Console, address: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GRACE_SECONDS", 5.0)  # a reload takes its time on a machine with much else to do
    raise_alerts(console, alert("a", time.time()))
    context = new_context(browser)
    page = context.new_page()
    log_in(page, address, "officer")
    take(page)
    time.sleep(3)
    page.reload()
    time.sleep(7)
    assert console.desk.held("officer") is not None
    context.close()
    wait_until(lambda: console.desk.held("officer") is None)
    (lease,) = console.database.rows("SELECT how FROM leases")
    assert lease["how"] == "gone"


def test_the_loss_of_a_lease_is_reported(console: Console, address: str, page: Page) -> None:
    raise_alerts(console, alert("a", time.time()))
    log_in(page, address, "officer")
    take(page)
    held = console.desk.held("officer")
    assert held is not None
    console.desk.end(held.lease, "deadline")
    page.wait_for_url("**/queue*")
    page.get_by_text("The time to answer has expired: that alert is back in the queue.").wait_for()


def test_a_picture_that_comes_late_is_shown_and_what_is_typed_stays(
    console: Console, address: str, page: Page, browser: Browser
) -> None:
    errors = collect_errors(page)
    raise_alerts(console, alert("a", time.time() - 9), alert("b", time.time()))
    log_in(page, address, "officer")
    take(page)
    at(page, "a")
    page.keyboard.type("hyd")
    page.keyboard.press("ArrowLeft")
    page.get_by_alt_text("No picture has come").wait_for()
    console.pictures.take([picture("image of b", parked_car("b", "d1", "OTHER01"))], {})
    time.sleep(3)
    assert page.get_by_alt_text("No picture has come").is_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    console.pictures.take([picture("image of a", parked_car("a", "d1", "LATE001"))], {})
    shown = page.get_by_alt_text("Picture that the drone took")
    shown.wait_for()
    wait_until(lambda: bool(shown.evaluate("e => e.complete && e.naturalWidth === 640")))
    assert page.locator("#code").input_value() == "hyd"
    assert focused(page) == "code"
    page.keyboard.type("/")  # where the caret was
    assert page.locator("#code").input_value() == "hy/d"
    page.keyboard.press("Backspace")
    time.sleep(3)
    assert [url.partition("?")[0] for url in asked if "/desk" in url] == [f"{address}/desk/picture"]
    page.keyboard.press("Enter")
    at(page, "b")
    shown.wait_for()
    page.get_by_text("Done: FIRE HYDRANT").wait_for()
    assert [sent["violation_code"] for sent in outbox(console)] == [40]
    assert errors == []


def test_the_desk_shows_likely_codes_first_says_when_none_matches_and_zooms(
    console: Console, address: str, page: Page
) -> None:
    errors = collect_errors(page)
    raise_alerts(console, alert("a", time.time()))
    console.pictures.take([picture("image of a", parked_car("a", "d1", "NEAR001"))], {})
    log_in(page, address, "officer")
    take(page)
    at(page, "a")
    assert page.locator("#codes li:visible b").all_text_contents() == ["21", "14", "40", "0", "45"]
    page.keyboard.type("zebra")
    assert page.locator("#codes li:visible").count() == 0
    assert page.get_by_text("No code matches").is_visible()
    page.locator("#code").fill("hyd")
    assert page.get_by_text("No code matches").is_hidden()
    shown = page.get_by_alt_text("Picture that the drone took")
    shown.wait_for()
    width = "document.querySelector('.picture img').getBoundingClientRect().width"
    usual = page.evaluate(width)
    page.keyboard.press("F2")
    wait_until(lambda: abs(page.evaluate(width) - 3 * usual) < 1)
    assert page.locator(".zoomed").count() == 2  # the map, too
    wait_until(lambda: bool(page.evaluate("document.querySelector('.map').getBoundingClientRect().height > 300")))
    shown.click()
    wait_until(lambda: abs(page.evaluate(width) - usual) < 1)
    assert errors == []


def test_what_an_answer_says_stays_however_slow_the_console_is(
    console: Console, address: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_alerts(console, alert("a", time.time() - 9), alert("b", time.time()))
    log_in(page, address, "officer")
    take(page)
    at(page, "a")
    pick = console.desk.pick

    def slow_pick(*args: Any) -> Held | None:
        time.sleep(2)
        return pick(*args)

    monkeypatch.setattr(console.desk, "pick", slow_pick)
    page.keyboard.type("40")
    page.keyboard.press("Enter")
    at(page, "b")
    time.sleep(2)
    assert page.get_by_text("Done: FIRE HYDRANT").is_visible()


def test_the_live_page_says_by_itself_that_no_data_comes(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SILENT_SECONDS", "LAG_SECONDS"):
        monkeypatch.setattr(live, name, (600, 600))
    now = time.time()
    path = panes(tmp_path / "panes", [{"at": now - 2, "window_seconds": 1, "dataset": "qualified", "n": 3}])
    console = make_console(tmp_path / "state", panes=path)
    with served(console) as url:
        page = new_page(browser)
        log_in(page, url, "viewer")
        page.goto(f"{url}/live")
        page.get_by_text("Figures are up to date").wait_for()
        lag = page.get_by_text("Lag", exact=True).locator("..").get_by_role("time")
        shown = lag.text_content()
        wait_until(lambda: lag.text_content() != shown)
        monkeypatch.setattr(live, "SILENT_SECONDS", (0, 0))
        page.locator(".state.red", has_text="No data for").wait_for()
        page.close()


def test_the_queue_says_by_itself_that_a_topic_does_not_answer_and_that_it_does_again(
    console: Console, address: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(page, address, "viewer")
    page.get_by_text("No alert is open").wait_for()
    with monkeypatch.context() as patch:
        patch.setattr(console, "troubles", lambda: {"alerts": "kafka://here/alerts does not answer"})
        page.get_by_role("alert").get_by_text("kafka://here/alerts does not answer").wait_for()
    page.get_by_text("does not answer").wait_for(state="hidden")


def test_an_answer_to_a_console_that_is_cut_off_is_kept_and_sent_once(tmp_path: Path, browser: Browser) -> None:
    port = free_port()
    console = make_console(tmp_path / "state")
    raise_alerts(console, alert("a", time.time() - 9), alert("b", time.time()))
    page = new_page(browser)
    with served(console, port) as address:
        log_in(page, address, "officer")
        take(page)
        at(page, "a")
    page.keyboard.type("40")
    page.keyboard.press("Enter")
    banner = page.locator("#cut-off")
    banner.get_by_text("The console does not answer").wait_for()
    banner.get_by_text("Your answer “40” is kept in this browser").wait_for()
    held = page.locator("time[data-since]").first
    stopped = held.text_content()
    for _ in range(2):  # three seconds apart: a clock that runs would move
        with page.expect_event("requestfailed"):
            pass
    assert held.text_content() == stopped
    console = make_again(tmp_path / "state")
    with served(console, port):
        at(page, "b")
        page.get_by_text("Done: FIRE HYDRANT").wait_for()
        assert [(sent["answers"], sent["violation_code"]) for sent in outbox(console)] == [("a", 40)]
        assert page.evaluate("localStorage.length") == 0
        assert banner.is_hidden()
        page.close()


def test_an_answer_whose_confirmation_was_lost_is_not_given_twice(console: Console, address: str, page: Page) -> None:
    raise_alerts(console, alert("a", time.time()))
    log_in(page, address, "officer")
    take(page)
    at(page, "a")
    sent = itertools.count()

    def lose_the_first(route: Route) -> None:
        if next(sent):
            route.continue_()
        else:
            route.fetch(max_redirects=0)
            route.abort("connectionreset")

    page.route("**/desk/answer", lose_the_first)
    page.keyboard.type("40")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue*")
    page.get_by_text("Done: FIRE HYDRANT").wait_for()
    assert next(sent) == 2
    assert len(outbox(console)) == 1


def test_a_page_without_a_session_goes_to_the_login_and_shows_it_as_a_whole(tmp_path: Path, browser: Browser) -> None:
    port = free_port()
    page = new_page(browser)
    with served(make_console(tmp_path / "state"), port) as address:
        log_in(page, address, "officer")
    page.get_by_text("The console does not answer").wait_for()
    assert page.get_by_text("No alert is open").is_visible()
    with served(make_console(tmp_path / "other"), port):  # which knows no session of the first
        page.wait_for_url("**/login")
        assert page.locator("main").count() == 1
        assert page.get_by_text("No alert is open").count() == 0
        page.close()


def test_a_whole_page_is_never_shown_inside_the_queue(
    console: Console, address: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(page, address, "viewer")
    page.get_by_text("No alert is open").wait_for()
    login = "<!doctype html>\n<html><body><main><h1>Log in</h1></main></body></html>"
    page.route("**/queue/list*", lambda route: route.fulfill(body=login, content_type="text/html"))
    raise_alerts(console, alert("a", time.time(), plate_id="FRESH01"))
    page.get_by_text("FRESH01").wait_for()  # the page was loaded again
    assert page.locator("main").count() == 1


def test_a_command_shows_its_confirmation_by_itself_or_that_none_came(browser: Browser, tmp_path: Path) -> None:
    clock, broker = Clock(), MockKafka()
    console = make_console(tmp_path / "state", clock, commands=kafka_url(broker.url("commands")))
    raise_alerts(console, alert("a", clock.now, drone_id="drone-0311"))
    with served(console) as url:
        page = new_page(browser)
        log_in(page, url, "supervisor")
        page.goto(f"{url}/drones")
        page.get_by_label("Drone").fill("drone-9999")
        page.get_by_role("button", name="Hold position").click()
        page.get_by_text("Nobody knows a drone drone-9999").wait_for()
        assert outbox(console, "commands") == []
        page.get_by_label("Drone").fill("drone-0311")
        page.get_by_role("button", name="Hold position").click()
        page.get_by_text("published, not confirmed yet").wait_for()
        clock.now += 31
        page.get_by_text("not confirmed within 30 s").wait_for()
        (command,) = outbox(console, "commands")
        console.drones.take([msgspec.json.encode(command)], {})
        page.get_by_text("confirmed after 31 s").wait_for()
        page.close()
    broker.stop()


def test_return_in_a_drones_row_sends_it_home_and_shows_the_confirmation(browser: Browser, tmp_path: Path) -> None:
    clock, broker = Clock(), MockKafka()
    (tmp_path / "panes").write_bytes(line(("drone-7", clock.now, 55.5, 40.7, -74.0, 60.0)) + b"\n")
    commands = kafka_url(broker.url("commands"))
    console = make_console(tmp_path / "state", clock, commands=commands, panes=tmp_path / "panes")
    console.desk.take([event("e1", "battery_low", "drone-7", clock.now - 60)], {})
    with served(console) as url:
        page = new_page(browser)
        log_in(page, url, "supervisor")
        page.goto(f"{url}/drones")
        page.get_by_role("button", name="Return drone-7 to base").click()
        page.get_by_text("published, not confirmed yet").wait_for()
        (sent,) = consumed(broker.address, "commands")
        command = msgspec.json.decode(sent.value() or b"", type=Command)
        assert (command.drone_id, command.command) == ("drone-7", "return")
        page.evaluate("window.isTheSamePage = true")
        clock.now += 12
        console.drones.take([msgspec.json.encode(command)], {})
        page.get_by_text("confirmed after 12 s").wait_for()
        assert page.evaluate("window.isTheSamePage") is True
        page.close()
    broker.stop()


SCRIPTS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)>", "javascript:alert(1)", "<a href=javascript:alert(1)>x</a>", "{{7*7}}",
    "{% include 'x' %}", "${alert(1)}", "<details open ontoggle=alert(1)>", "<input autofocus onfocus=alert(1)>",
    "<style>*{display:none}</style>", "<link rel=stylesheet href=//x>", "<base href=//x/>",
    "<meta http-equiv=refresh content=0>",
    "<math><mtext><script>alert(1)</script></mtext></math>", "<svg><script>alert(1)</script></svg>",
    "<div hx-get=/audit hx-trigger=load>", "<form action=//x><button autofocus>", "<object data=//x>",
    "<embed src=//x>",
    "<template><script>alert(1)</script></template>", "</title><script>alert(1)</script>", "\u202e<b>\u0000\ud7ff",
)  # fmt: skip
BREAKS = ("", '"', "'", "`", '">', "'>", "-->", "]]>")
HANDLERS = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => /^on/.test(a.name)).length"
PAYLOADS = tuple("".join(pair) for pair in itertools.product(BREAKS, SCRIPTS))
EACH_SCRIPT = PAYLOADS[:: len(BREAKS) - 1]
"""Each break, and each script behind one."""


@pytest.mark.parametrize(
    "payloads",
    [EACH_SCRIPT, pytest.param(PAYLOADS, marks=pytest.mark.nightly)],
    ids=["each script", "each combination"],
)
def test_scripts_in_messages_are_text(console: Console, address: str, page: Page, payloads: Sequence[str]) -> None:
    errors = collect_errors(page)
    at = time.time()
    raise_alerts(
        console,
        *(
            alert(f"{place}{text}", at - place, drone_id=text, plate_id=text, image_id=text)
            for place, text in enumerate(payloads)
        ),
    )
    console.desk.take([text.encode() for text in payloads], {})
    console.codes.choices |= {place % 99 + 1: text for place, text in enumerate(payloads[:99])}
    log_in(page, address, "supervisor")
    shown = set()
    for _ in payloads:
        held = console.desk.pick("supervisor", "newest")
        assert held is not None
        page.goto(f"{address}/desk", wait_until="domcontentloaded")
        assert page.locator("h1").text_content() == held.alert["plate_id"].replace("\0", "")  # as HTML demands
        assert page.locator("#codes li").count() == len(console.codes.choices)
        shown.add(held.alert["plate_id"])
        console.desk.answer("supervisor", held.lease, 40)
    assert shown == set(payloads)
    raise_alerts(console, *(alert(f"q{text}", at, drone_id=text, plate_id=text) for text in payloads[::4]))
    for path in ("/queue", "/live", "/audit", "/drones?drone=" + "%3Csvg%20onload=alert(1)%3E%22"):
        page.goto(address + path)
        page.wait_for_timeout(200)
        assert page.locator("script").count() == 3
        assert page.evaluate(HANDLERS) == 0
    for text in payloads[::10]:
        console.drones.command("supervisor", text, "hold")
        page.goto(f"{address}/desk?order={text}")
        page.request.post(f"{address}/login", form={"name": text, "password": text})
    page.goto(f"{address}/drones")
    page.wait_for_timeout(300)
    assert page.locator("tbody tr").count() == len(payloads[::10])
    assert errors == []


CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || e.closest('svg, .hidden, .skip, [hidden], option, button:disabled') || !e.offsetParent) continue;
    const style = getComputedStyle(e);
    const [a, b] = [luminance(parse(style.color)), luminance(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${e.tagName}.${e.className} ${text}`);
  }
  return bad;
}"""
NAMELESS = """() => [...document.querySelectorAll('input, select, button, a, img, svg')].filter((e) => {
  if (e.type === 'hidden') return false;
  if (e.closest('[aria-hidden=true]') || e.getAttribute('aria-hidden') === 'true') return false;
  if (e.tagName === 'IMG') return !e.hasAttribute('alt');
  const labels = [...(e.labels ?? [])].map((l) => l.textContent).join('');
  return !(e.getAttribute('aria-label') || labels || e.textContent).trim();
}).map((e) => e.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_read_and_name_what_is_there(
    console: Console, address: str, browser: Browser, scheme: str
) -> None:
    raise_alerts(console, *(alert(f"{place}", time.time() - place) for place in range(3)))
    console.desk.pick("officer")
    context = new_context(browser, color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto(f"{address}/login")
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(CONTRAST) == []
    assert focused(page) == "name"
    log_in(page, address, "supervisor")
    console.desk.pick("supervisor")
    console.drones.command("supervisor", "drone-1", "hold")
    for path in ("/queue", "/desk", "/live", "/drones", "/accounts", "/audit", "/password"):
        page.goto(address + path)
        assert page.evaluate(NAMELESS) == [], path
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate("document.querySelectorAll('h1').length") == 1, path
        assert page.evaluate("document.documentElement.lang") == "en", path
    context.close()


def test_the_focus_goes_where_one_reads(console: Console, address: str, page: Page) -> None:
    raise_alerts(console, alert("a", time.time()))
    log_in(page, address, "officer")
    page.goto(f"{address}/queue")
    stops = []
    for _ in range(10):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.textContent.trim().split(/\\s+/)[0]"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert stops == [
        "Skip",
        "PrestaCop",
        "Queue",
        "Live",
        "officerofficer",
        "Log",
        "Oldest",
        "Newest",
        "Take",
        "Newest",
    ]


def test_the_console_loads_nothing_from_other_hosts(console: Console, address: str, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    raise_alerts(console, alert("a", time.time()))
    log_in(page, address, "supervisor")
    for path in ("/queue", "/live", "/drones", "/accounts", "/audit"):
        page.goto(address + path)
        page.wait_for_timeout(100)
    assert len(asked) > 10
    assert all(url.startswith(address) for url in asked)
