"""Events of drones on the console: stored once, shown while they are open, and a drone is sent home from its row."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from apps.console.access import Role
from apps.console.console import Console
from apps.console.drone_events import MOST_EVENTS, Fleet, rows_of
from tests.apps.console.support import Browser, Clock, make_console


def event(name: str, kind: str, drone: str, began: float, **fields: Any) -> bytes:
    """An event as the topic of alerts has it."""
    when = datetime.fromtimestamp(began, UTC).isoformat().replace("+00:00", "Z")
    head = {"schema_version": 1, "message_id": name, "kind": kind, "drone_id": drone, "event_time": when}
    return json.dumps({**head, "alert_time": when, **fields}).encode()


def line(*drones: tuple[Any, ...]) -> bytes:
    return json.dumps({"drones": drones}, separators=(",", ":")).encode()


@pytest.fixture
def console(tmp_path: Path, clock: Clock) -> Iterator[Console]:
    (tmp_path / "panes").write_bytes(b"")
    made = make_console(tmp_path / "state", clock, panes=tmp_path / "panes")
    yield made
    made.stop()


def test_an_event_is_stored_once_and_an_invalid_one_is_refused(console: Console, clock: Clock) -> None:
    good = event("e1", "silent", "drone-1", clock.now)
    wrong = [event("e2", "silent", "", clock.now), event("e3", "new kind", "d", clock.now)]
    console.desk.take([good, good, *wrong, event("e4", "silent", "d", clock.now, more="x" * 5_000)], {})
    assert [row["event_id"] for row in console.drones.events(0)] == ["e1"]
    reasons = [row["reason"] for row in console.database.rows("SELECT reason FROM refused")]
    assert len(reasons) == 3
    assert reasons[-1].startswith("payload_too_large")
    assert console.database.number("SELECT count(*) FROM alerts") == 0


def test_only_the_newest_events_are_kept(console: Console, clock: Clock) -> None:
    payloads = [event(f"e{n}", "silent", "d", clock.now - n) for n in range(MOST_EVENTS + 10)]
    console.desk.take(payloads, {})
    console.desk.tidy()
    assert console.database.number("SELECT count(*) FROM drone_events") == MOST_EVENTS


def test_an_event_is_open_until_the_messages_of_the_drone_end_it(console: Console, clock: Clock) -> None:
    now, fleet = clock.now, Fleet()

    def shown() -> dict[str, tuple[str, list[str]]]:
        rows = rows_of(fleet, console.drones.events(now - 86_400), now)
        return {row.drone_id: (row.state, [event["kind"] for event in row.events]) for row in rows}

    events = [("silent", "a", 600), ("battery_low", "b", 600), ("position_jump", "c", 600), ("clock_off", "c", 4000)]
    console.desk.take([event(f"{kind}", kind, drone, now - ago) for kind, drone, ago in events], {})
    assert shown() == {
        "a": ("no message here", ["silent"]), "b": ("no message here", ["battery_low"]),
        "c": ("no message here", ["position_jump"]),
    }  # fmt: skip
    fleet.add(line(("a", now - 600, 50.0, 40.7, -74.0, 60.0), ("b", now - 5, 9.0, 40.7, -74.0, 60.0)))
    assert shown()["a"] == ("no contact", ["silent"])
    assert shown()["b"] == ("flies", ["battery_low"])
    fleet.add(line(("a", now - 1, 50.0, 40.7, -74.0, 60.0), ("b", now - 1, 40.0, 40.7, -74.0, 0.0)))
    assert shown()["a"] == ("flies", [])
    assert shown()["b"] == ("on the ground", [])
    assert [percent for _, percent in fleet.drones["b"].curve] == [9.0, 40.0]


def test_a_supervisor_sends_a_drone_home_from_its_row(console: Console, clock: Clock, tmp_path: Path) -> None:
    assert console.panes is not None
    with (tmp_path / "panes").open("ab") as file:
        file.write(line(("drone-7", clock.now - 1, 55.5, 40.7, -74.0, 60.0)) + b"\n" + b'{"drones":[1]}\n')
    console.panes.poll(clock.now)
    assert console.panes.unreadable == 1
    console.desk.take([event("e1", "clock_off", "drone-7", clock.now - 60, value=-120.0)], {})
    browser = Browser(console)
    browser.log_in(Role.SUPERVISOR)
    text = browser.get("/drones").text
    assert "clock is wrong" in text
    assert "Battery from 56 % to 56 %" in text
    assert console.drones.is_known("drone-7")
    browser.close()
