"""What older versions kept, odd addresses, a lost key, a broken disk: pages are there, or say why they are not."""

import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from apps.console import events, reading
from apps.console.accounts import SESSION_SECONDS
from apps.console.codes import Codes
from apps.console.console import KEY, Console, Wiring
from schemas.alerts import encode
from schemas.answers import load_key
from schemas.console_state import PUBLIC_KEY
from schemas.errors import InputUnusable, OutputUnusable
from tests.apps.console.support import JPEG, Browser, Clock, alert, make_console, officer, picture, raise_alerts
from tests.support import wait_until

WHEN = "2026-01-15T12:00:00.000000Z"
PAGES = ("/queue", "/queue?order=newest", "/queue/list", "/live", "/live/figures", "/audit", "/drones", "/pictures/1")


def _keep(console: Console, at: int, **fields: object) -> None:
    """As an older version kept it."""
    row = {
        **{"message_id": f"m{at}", "payload": b"{}", "drone_id": "d", "plate_id": "P", "image_id": None},
        **{"latitude": 40.7, "longitude": -73.9, "raised_at": 1_768_478_400.0},
        **fields,
    }
    with console.database.transaction() as connection:
        connection.execute(
            f"INSERT INTO alerts ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"raised_at": -62_135_647_200.0},  # the year 0001 at +14:00
        {"raised_at": 1e308},
        {"raised_at": float("-inf")},
        {"latitude": 1e308, "longitude": -1e308},
        {"latitude": float("inf"), "longitude": float("-inf")},
        {"plate_id": "P" * 900_000, "drone_id": "D" * 900_000, "image_id": "I" * 900_000, "message_id": "M" * 900_000},
        {"payload": encode(alert("m", 1_768_478_400, altitude_m=1e300))},
        {"payload": b"[" * 5_000},
    ],
)
def test_pages_survive_an_alert_that_an_older_version_kept(console: Console, fields: dict[str, object]) -> None:
    _keep(console, 0, **fields)
    browser = officer(console, "supervisor")
    for path in PAGES:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert len(answer.text) < 100_000, path
    desk = browser.post("/queue", "/desk/pick", order="oldest")
    assert (desk.status_code, desk.url.path) == (200, "/desk")
    lease = console.desk.held("supervisor")
    assert lease is not None
    response = browser.post("/desk", "/desk/answer", lease=lease.lease, code="40", order="oldest")
    assert "That alert cannot be answered" in response.text
    assert console.desk.pick("officer") is None
    assert len(console.database.rows("SELECT 1 FROM refused")) == 1


@pytest.mark.parametrize("number", ["9" * 19, "9" * 5_000, str(2**63), "-1", "1.0", "٣", "0", "17", "%00", "1%20"])
def test_a_number_that_is_none_is_no_page(console: Console, number: str) -> None:
    raise_alerts(console, alert("a", 1_768_478_400))
    browser = officer(console, "supervisor")
    assert browser.get("/pictures/1").status_code == 200
    assert browser.get(f"/pictures/{number}").status_code == 404
    assert browser.get(f"/audit?before={number}").status_code == 200
    assert browser.post("/queue", "/desk/pick", alert=number).status_code == 200


@pytest.mark.parametrize("path", ["/queue/", "/login/", "/static", "/live/"])
def test_no_answer_leads_to_the_host_that_a_request_names(console: Console, path: str) -> None:
    browser = officer(console)
    browser.client.follow_redirects = False
    answer = browser.client.get(path, headers={"Host": "evil.example"})
    assert "evil" not in answer.headers.get("location", "")
    assert answer.status_code == 404


def test_a_lost_key_is_an_error_and_a_new_one_is_made_on_request(tmp_path: Path) -> None:
    make_console(tmp_path / "state").stop()
    key, public = tmp_path / "state" / KEY, tmp_path / "state" / PUBLIC_KEY
    before = public.read_bytes()
    key.unlink()
    for gone in (None, public):
        if gone is not None:
            gone.unlink()
        with pytest.raises(InputUnusable, match="--new-key"):
            make_console(tmp_path / "state")
        assert not key.exists()
    Console(tmp_path / "state", Codes({}), Wiring(), new_key=True).stop()
    assert load_key(key)
    assert public.read_bytes() != before
    again = public.read_bytes()
    public.unlink()
    Console(tmp_path / "state", Codes({}), Wiring()).stop()
    assert public.read_bytes() == again


def test_a_state_that_is_no_database_ends_it_with_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "console.sqlite").write_bytes(b"no database " * 1_000)
    with pytest.raises(OutputUnusable, match="the console's state cannot be used"):
        make_console(folder)


@pytest.mark.parametrize("how", ["gone", "full", "damaged"])
def test_health_says_that_the_database_does_not_work(tmp_path: Path, how: str) -> None:
    console = make_console(tmp_path / "state")
    browser = Browser(console)
    console.start()
    try:
        wait_until(lambda: browser.get("/readyz").json() == {"ok": True, "parts": []})
        if how == "gone":
            (tmp_path / "state" / "console.sqlite").rename(tmp_path / "elsewhere")
        elif how == "full":
            with console.database._lock:
                console.database._connection.execute("VACUUM")  # no page of the file is free
                pages = console.database.number("PRAGMA page_count")
                console.database.number(f"PRAGMA max_page_count = {pages}")
        else:
            console.database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with (tmp_path / "state" / "console.sqlite").open("r+b") as file:
                file.write(os.urandom(4_096))
        wait_until(lambda: browser.get("/readyz").status_code == 503)
        assert browser.get("/readyz").json() == {"ok": False, "parts": ["database"]}
    finally:
        console.stop()


TIMES = (
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    *("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "now", ""),
    *("2026-01-15T24:00:00Z", "2026-01-15T12:00:60Z", "2026-01-15T12:00:00+99:99", "2026-01-15", "\u0661\u0662"),
    *("2026-01-15T12:00:00.9999999999Z", "2026-01-15T12:00:00\u202eZ", "-0001-01-01T00:00:00Z", WHEN),
)
NUMBERS = (
    *("NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e309", "1e-308", "-0.0", "90.0000001", "-180", "180", "1e5"),
    *("true", "null", '"40.7"', "[1]", "{}", "9" * 400, "18446744073709551616", "-9223372036854775808"),
)
TEXTS = (
    *("x" * 200, "x" * 201, "x" * 60_000, "\0", "\x1b[2J\x1b]0;x\x07", "\u202e\u2066abc", "\u200f\u200e", "", "  "),
    *("<script>alert(1)</script>", "{{7*7}}", "'; DROP TABLE alerts;--", "\ufffe\uffff", "a\u0300" * 90, "\n\n\n"),
    *("../../etc/passwd", "\U0001f600" * 199, "%s%n", "\u2028", "\ufdfa" * 100, "\t", "\x85", "\x7f"),
)
ALERT = msgspec.json.decode(encode(alert("a", 1_768_478_400)))
CONFIRMATION = {"command_id": "c", "drone_id": "d", "command": "hold", "time": WHEN}
PANE = {
    **{"window_start": WHEN, "window_seconds": 10, "dataset": "qualified", "violation_code": 21, "n": 1},
    **{"timing": "early", "areas": {"40.75,-73.99": 1}},
}


def _spoilt(good: Mapping[str, object]) -> list[bytes]:
    """A message with each of its fields spoilt in each way."""
    found = []
    for name in good:
        rest = {key: value for key, value in good.items() if key != name}
        found.append(msgspec.json.encode(rest))
        values = [*NUMBERS, *(msgspec.json.encode(text).decode() for text in (*TIMES, *TEXTS))]
        for at, value in enumerate(values):
            other = {"message_id": f"{name} {at}"} if "message_id" in rest else {}
            found.append(msgspec.json.encode(rest | other)[:-1] + f',"{name}":{value}}}'.encode())
    keys = b",".join(b'"k%d":1' % at for at in range(10**6))
    return [*found, b"{" + keys + b"}", b"{" + keys[:60_000] + b":1}", b'{"a":' * 9_000, b"[" * 60_000]


def _pages_are_there(console: Console, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    browser = officer(console, "supervisor")
    for path in (*PAGES, "/live?wall", "/accounts"):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert len(answer.text) < 300_000, path
    monkeypatch.setattr(events, "_CHECK_S", 0.0)
    monkeypatch.setattr(events, "_POLL_S", 0.01)
    clock.now += SESSION_SECONDS - 1
    watcher = officer(console)
    with monkeypatch.context() as patch:
        patch.setattr(console.accounts, "is_open", lambda session: False)
        for path in ("/queue/events", "/live/events"):
            assert watcher.get(path).status_code == 200


def test_no_alert_makes_a_page_fail_and_each_that_is_kept_can_be_answered(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = _spoilt(ALERT)
    console.desk.take(payloads, {0: len(payloads)})
    kept = console.database.number("SELECT count(*) FROM alerts")
    assert kept + reading.refused(console.database) == len(payloads)
    assert kept > 100
    _pages_are_there(console, monkeypatch, clock)
    browser = officer(console)
    answered = 0
    while (held := console.desk.pick("officer")) is not None:
        if not answered % 20:
            page = browser.get("/desk")
            assert page.status_code == 200
        assert console.desk.answer("officer", held.lease, 40) is not None
        answered += 1
    assert answered == kept


def test_no_confirmation_makes_a_page_fail(console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in TEXTS:
        if 0 < len(text) <= 200:
            console.drones.command("supervisor", text, "hold")
    payloads = _spoilt(CONFIRMATION)
    console.drones.take(payloads, {0: len(payloads)})
    assert reading.refused(console.database) > 50
    raise_alerts(console, alert("a", clock.now))
    _pages_are_there(console, monkeypatch, clock)


def test_no_pane_makes_a_page_fail(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in _spoilt(PANE) if b"\n" not in line]
    lines += [
        msgspec.json.encode({**PANE, "areas": {text: 1}})
        for text in ("", "nan,nan", "1e308,0", "40.75,-73.99\0", "90,180")
    ]
    (tmp_path / "panes").write_bytes(b"\n".join([*lines, msgspec.json.encode(PANE)]) + b"\n")
    console = make_console(tmp_path / "state", clock, panes=tmp_path / "panes")
    try:
        raise_alerts(console, alert("a", clock.now))
        assert console.panes is not None
        console.panes.poll(1_768_478_460)
        assert console.panes.unreadable + console.panes.figures.panes == len(lines) + 1
        _pages_are_there(console, monkeypatch, clock)
    finally:
        console.stop()


def test_pictures_that_are_none_make_no_page_fail(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = msgspec.json.decode(picture("image of a", JPEG))
    raise_alerts(console, alert("a", clock.now))
    payloads = [*_spoilt(good), *(f"1768478400;{text};".encode() + b64encode(JPEG) for text in TEXTS)]
    console.pictures.take(payloads, {0: len(payloads)})
    _pages_are_there(console, monkeypatch, clock)
