"""The health of a battery is that of a battery whose capacity is known, however its messages arrive."""

import json
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import filled_lake, lake
from pipelines.analysis import fleet as module
from pipelines.analysis.fleet import CAVEAT, Battery, Fleet, estimate, fleet, main
from schemas.errors import InputUnusable
from schemas.lake import Dataset
from tests.benchmarks.fleet import write_positions
from tests.endings import code_of

START = datetime(2026, 1, 20, tzinfo=UTC)
FLIGHTS_A_DAY = 8
NEW_FLIGHT, NEW_CHARGE = 30.0, 15.0


class Row(NamedTuple):
    """A message."""

    drone_id: str
    event_time: datetime
    battery_pct: float | None
    altitude_m: float


def rows(
    drone: str, fade: float, days: int, *, swap: int | None = None, first: int = 0, charges: bool = True
) -> Iterator[Row]:
    """Messages of a drone whose battery has the capacity ``1 - fade * sqrt(n)`` after n flights, and a new one on the
    day ``swap``."""
    since = -first
    for number in range(days * FLIGHTS_A_DAY):
        if swap is not None and number == swap * FLIGHTS_A_DAY:
            since = number
        capacity = 1 - fade * math.sqrt(number - since)
        begin = START + timedelta(days=number / FLIGHTS_A_DAY)
        for minute in range(int(26 * capacity)):
            charge = 98 - 100 / (NEW_FLIGHT * capacity) * minute
            yield Row(drone, begin + timedelta(minutes=minute), round(charge, 1), 60.0)
        low = charge
        for minute in range(40 if charges else 0):
            charge = min(low + 100 / (NEW_CHARGE * capacity) * minute, 98)
            yield Row(drone, begin + timedelta(minutes=40 + minute), round(charge, 1), 0.0)


def estimated(messages: Sequence[Row], new_minutes: float | None = None) -> Fleet:
    """The estimate from these messages, in this order."""
    schema = pa.schema(
        [("drone_id", pa.string()), ("event_time", pa.timestamp("us", "UTC")), ("battery_pct", pa.float64()),
         ("altitude_m", pa.float64())]
    )  # fmt: skip
    table = pa.Table.from_pylist([message._asdict() for message in messages], schema=schema)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", table)
        connection.execute("CREATE TABLE messages AS FROM given")
        return estimate(connection, new_minutes)


def only(messages: Sequence[Row], new_minutes: float | None = None) -> Battery:
    """The battery of the only drone."""
    (battery,) = estimated(messages, new_minutes).batteries
    return battery


FADE = 0.015
DAYS = 14
COUNT = DAYS * FLIGHTS_A_DAY
TRUTH = 1 - FADE * math.sqrt(COUNT)
MESSAGES = list(rows("drone-1", FADE, DAYS))


def test_a_known_loss_is_found() -> None:
    battery = only(MESSAGES)
    assert battery.health == pytest.approx(TRUTH, abs=0.01)
    assert battery.health_low is not None
    assert battery.health_high is not None
    assert battery.health_low < TRUTH < battery.health_high
    assert battery.flight_minutes == pytest.approx(NEW_FLIGHT * TRUTH, rel=0.02)
    assert battery.charge_minutes == pytest.approx(NEW_CHARGE * TRUTH, rel=0.02)
    assert battery.flights_left == pytest.approx((0.2 / FADE) ** 2 - COUNT, abs=25)
    assert (battery.flights, battery.since, battery.replaced) == (COUNT, "2026-01-20", False)


@pytest.mark.parametrize(("fade", "state"), [(0.03, "replace"), (0.0185, "watch"), (0.005, "good"), (0.0, "good")])
def test_the_state_is_that_of_the_health(fade: float, state: str) -> None:
    assert only(list(rows("d", fade, DAYS))).state == state


def test_a_battery_without_loss_has_flights_left_without_limit() -> None:
    battery = only(list(rows("d", 0.0, DAYS)))
    assert battery.health == pytest.approx(1, abs=0.003)
    assert battery.flights_left is None or battery.flights_left > 10_000


def test_a_new_battery_is_seen_and_counts_from_then_on() -> None:
    battery = only(list(rows("d", 0.02, 24, swap=12)))
    assert (battery.since, battery.replaced, battery.flights) == ("2026-02-01", True, 12 * FLIGHTS_A_DAY)
    assert battery.health == pytest.approx(1 - 0.02 * math.sqrt(12 * FLIGHTS_A_DAY), abs=0.01)


def test_flights_after_a_new_battery_can_be_too_few() -> None:
    battery = only(list(rows("d", 0.02, 17, swap=12)))
    assert (battery.state, battery.since, battery.replaced) == ("not enough flights", "2026-02-01", True)
    assert (battery.flights, battery.health) == (5 * FLIGHTS_A_DAY, None)


def test_a_used_battery_needs_the_minutes_of_a_new_one() -> None:
    used = list(rows("d", 0.015, DAYS, first=100))
    truth = 1 - 0.015 * math.sqrt(COUNT + 100)
    assert only(used).health == pytest.approx(truth / (1 - 0.015 * 10), abs=0.03)  # looks better than it is
    battery = only(used, NEW_FLIGHT)
    assert battery.health == pytest.approx(truth, abs=0.01)
    assert battery.flights_left == 0


def test_without_charges_flights_are_enough() -> None:
    battery = only(list(rows("d", FADE, DAYS, charges=False)))
    assert battery.charge_minutes is None
    assert battery.health == pytest.approx(TRUTH, abs=0.01)


def test_wild_values_change_little() -> None:
    choices = random.Random(1)
    wild = [row._replace(battery_pct=choices.uniform(0, 100)) if choices.random() < 0.003 else row for row in MESSAGES]
    assert only(wild).health == pytest.approx(TRUTH, abs=0.01)


def test_lost_messages_change_little() -> None:
    choices = random.Random(1)
    found = only([row for row in MESSAGES if choices.random() < 0.6])
    assert found.health == pytest.approx(TRUTH, abs=0.02)
    assert found.flights > 0.9 * COUNT


def test_too_few_flights_are_named_as_such() -> None:
    for messages in (MESSAGES[:1], list(rows("d", FADE, 6)), [row._replace(altitude_m=0.0) for row in MESSAGES]):
        battery = only(messages)
        assert (battery.state, battery.health, battery.flights_left) == ("not enough flights", None, None)


@pytest.mark.parametrize("battery_pct", [None, 50.0])
def test_a_charge_that_says_nothing_is_no_flight(battery_pct: float | None) -> None:
    found = estimated([row._replace(battery_pct=battery_pct) for row in MESSAGES])
    assert [(b.drone, b.state, b.flights) for b in found.batteries] == [("drone-1", "not enough flights", 0)]
    assert found.without_battery == (battery_pct is None)


def test_no_message_is_no_drone() -> None:
    assert estimated([]) == Fleet([], 0)


def test_passes_find_what_one_pass_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    both = MESSAGES + list(rows("drone-2", 0.01, DAYS))
    found = estimated(both)
    monkeypatch.setattr(module, "_PASS_SAMPLES", 5_000)
    assert estimated(both) == found
    assert [battery.drone for battery in found.batteries] == ["drone-1", "drone-2"]


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32), st.integers(0, 500))
def test_order_and_duplicates_do_not_matter(seed: int, copies: int) -> None:
    choices = random.Random(seed)
    messages = MESSAGES + choices.choices(MESSAGES, k=copies)
    choices.shuffle(messages)
    assert only(messages) == only(MESSAGES)


def fill(root: str, messages: Sequence[Row], units: Sequence[int]) -> None:
    """A lake of these messages, each in the unit of this number."""
    for unit in sorted(set(units)):
        some = [message for message, number in zip(messages, units, strict=True) if number == unit]
        write_positions(
            root,
            unit,
            np.array([round(row.event_time.timestamp() * 1e6) for row in some]),
            [row.drone_id for row in some],
            np.array([row.battery_pct for row in some], dtype=float),
            np.array([row.altitude_m for row in some]),
        )


def test_units_of_the_lake_do_not_matter(tmp_path: Path) -> None:
    choices = random.Random(1)
    fill(str(tmp_path), MESSAGES, [choices.randrange(4) for _ in MESSAGES])
    assert fleet(lake(str(tmp_path))).batteries == [only(MESSAGES)]


@pytest.mark.embedded
def test_on_s3_the_estimate_is_the_same(s3: str) -> None:
    root = f"{s3}/lake"
    fill(root, MESSAGES, [0] * len(MESSAGES))
    assert fleet(lake(root)).batteries == [only(MESSAGES)]
    since = datetime(2026, 2, 1, tzinfo=UTC)
    assert fleet(lake(root), since).batteries == [only([row for row in MESSAGES if row.event_time >= since])]


def test_since_reads_no_earlier_month(tmp_path: Path) -> None:
    root, since = str(tmp_path), datetime(2026, 2, 2, tzinfo=UTC)
    messages = list(rows("d", FADE, 24))
    fill(root, messages, [0] * len(messages))
    opened = lake(root)
    for path in opened.files(Dataset.POSITIONS):
        if "month=2026-01" in path:
            (tmp_path / path).write_bytes(b"not Parquet")
    assert fleet(opened, since).batteries == [only([row for row in messages if row.event_time >= since])]


def test_the_command_prints_each_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path)
    fill(root, MESSAGES, [0] * len(MESSAGES))
    printed = {}
    for form in ("table", "csv", "json"):
        assert code_of(main, "--lake", root, "--format", form) == 0
        printed[form] = capsys.readouterr().out
    assert "drone-1" in printed["table"]
    assert "give --new-minutes" in printed["table"]
    assert CAVEAT in printed["table"]
    assert printed["csv"].splitlines()[0].startswith("drone,state,flights,since,replaced,flight_minutes")
    found = json.loads(printed["json"])
    assert found["note"] == CAVEAT
    assert found["batteries"][0]["flights"] == COUNT


def test_no_lake_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="no lake at"):
        fleet(filled_lake(str(tmp_path / "none")))
