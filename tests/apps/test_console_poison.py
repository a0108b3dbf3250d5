"""What older versions kept, odd addresses, a lost key, a broken disk: pages are there, or say why they are not."""

import os
from pathlib import Path

import pytest

from apps.console.codes import Codes
from apps.console.console import KEY, PUBLIC_KEY, Console, Wiring
from schemas.alerts import encode
from schemas.answers import load_key
from schemas.errors import InputUnusable, OutputUnusable
from tests.apps.console_process import wait_until
from tests.apps.console_support import Browser, alert, make_console, officer, raise_alerts

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
    said = browser.post("/desk", "/desk/answer", lease=lease.lease, code="40", order="oldest")
    assert "Nobody can answer that alert" in said.text
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


def test_a_lost_key_is_an_error_and_a_new_one_is_made_where_that_is_asked_for(tmp_path: Path) -> None:
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
        wait_until(lambda: browser.get("/health").json() == {"ok": True, "parts": []})
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
        wait_until(lambda: browser.get("/health").status_code == 503)
        assert browser.get("/health").json() == {"ok": False, "parts": ["database"]}
    finally:
        console.stop()
