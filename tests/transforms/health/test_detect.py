"""The events of drones are a function of the set of messages, and those of a simulated fleet with faults are found."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.mishaps import Mishaps, publish
from schemas.drone_health import GONE_SECONDS, EventKind
from schemas.lake import MICROSECONDS, Source
from sources.payloads import payload_batch
from sources.units import Unit
from transforms.health.detect import NEVER, detect, settled_before
from transforms.health.samples import NO_SAMPLES, SAMPLE, pictures_of, published_at, samples_of, thin
from transforms.messages.decode import decode_payloads

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
UNIT = Unit(Source.DRONES, "drones.jsonl", 0, 1, "drones-0")
S = MICROSECONDS
"""A second."""


def row(drone: str, at: float, /, **fields: Any) -> dict[str, Any]:
    """A message at so many seconds, published at once."""
    found: dict[str, Any] = dict.fromkeys(SAMPLE.names) | {"role": 0, "drone_id": drone, "time": round(at * S)}
    found |= {"latitude": 40.7, "longitude": -74.0, "altitude_m": 50.0, "battery_pct": 80.0, "sequence": round(at)}
    found |= {"event_us": found["time"], "published_us": found["time"]} | fields
    found["lag"] = found["published_us"] - found["event_us"]
    return {k: v for k, v in found.items() if v is not None and k in SAMPLE.names}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SAMPLE)


def found(rows: list[dict[str, Any]], until: float = 1e6) -> list[tuple[str, str, float]]:
    """Drone, kind and second of each event."""
    events = detect(table(rows), NEVER, round(until * S)).events.to_pylist()
    return sorted((e["drone_id"], e["kind"], e["event_time"].timestamp()) for e in events)


OTHER = [row("b", t) for t in range(0, 400, 5)]


def test_a_drone_is_silent_when_nothing_is_heard_for_a_minute_while_others_are() -> None:
    assert found([row("a", t) for t in range(0, 101, 5)] + OTHER) == [("a", "silent", 100)]
    pause = [row("a", t) for t in (*range(0, 101, 5), *range(161, 400, 5))]
    assert found(pause + OTHER) == [("a", "silent", 100)]
    shorter = [row("a", t) for t in (*range(0, 101, 5), *range(160, 400, 5))]
    assert found(shorter + OTHER) == []
    assert found([row("a", t) for t in range(0, 101, 5)]) == []  # the whole topic is silent
    assert found([row("a", t) for t in range(0, 101, 5)] + OTHER, until=189) == []  # it may still come


def test_a_message_that_comes_late_is_no_sign_of_life() -> None:
    late = [row("a", 200, time=200 * S, event_us=130 * S, published_us=200 * S, sequence=90)]
    assert found([row("a", t) for t in range(0, 101, 5)] + late + OTHER) == [("a", "silent", 100)]


def test_a_jump_of_the_position_is_one_event() -> None:
    jumped = [row("a", t, latitude=40.7 if t < 200 else 40.75) for t in range(0, 400, 5)]
    assert found(jumped + OTHER) == [("a", "position_jump", 200)]
    fast = [row("a", t, latitude=40.7 + t * 15 / 111_320) for t in range(0, 400, 5)]
    assert found(fast + OTHER) == []


def test_a_battery_that_does_not_last_to_the_base() -> None:
    def flight(drain: float) -> list[dict[str, Any]]:
        return [
            row("a", t, altitude_m=50.0 if t else 0.0, latitude=40.7 + t * 10 / 111_320, battery_pct=30 - t * drain)
            for t in range(0, 400, 5)
        ]

    ((_, kind, at),) = found(flight(0.06) + OTHER)
    assert kind == "battery_low"
    assert at in (270, 275)  # 30 % - 0.06 t = 3 % to spare + 0.06 * the way of 10 t metres at 15 m/s
    assert found([row("a", t, altitude_m=0.0, battery_pct=1.0) for t in range(0, 400, 5)] + OTHER) == []
    assert found([row("a", t, battery_pct=None) for t in range(0, 400, 5)] + OTHER) == []  # v0


@pytest.mark.parametrize("fast", [120, -120])
def test_a_clock_that_goes_wrong(fast: int) -> None:
    rows = [row("a", t) for t in range(0, 100, 5)]
    rows += [row("a", t, event_us=(t + fast) * S) for t in range(100, 400, 5)]
    ((drone, kind, at),) = found(rows + OTHER)
    assert (drone, kind) == ("a", "clock_off")
    assert 100 <= at <= 120


def test_a_backlog_is_no_wrong_clock() -> None:
    rows = [row("a", t) for t in (*range(0, 100, 5), *range(300, 400, 5))]
    rows += [row("a", 300 + t / 10, event_us=t * S, sequence=t) for t in range(100, 300, 5)]
    assert found(rows + OTHER) == [("a", "silent", 95)]


def test_a_drone_that_reports_once_a_minute_is_not_silent_each_time() -> None:
    rows = [row("a", t) for t in range(0, 400, 65)]
    assert found(rows + OTHER) == []


def test_a_picture_that_does_not_come() -> None:
    def violation(t: int) -> dict[str, Any]:
        return row("a", t, role=1, image_id=f"img-{t}")

    def picture(t: int, after: int) -> dict[str, Any]:
        return row("", t + after, role=2, drone_id=None, image_id=f"img-{t}")

    a = [row("a", t) for t in range(0, 400, 5)]
    assert found([*a, *OTHER, violation(10), picture(10, 119), violation(100), picture(100, -5)]) == []
    late = [*a, *OTHER, violation(10), violation(30), violation(100), picture(100, 121)]
    assert found(late) == [("a", "picture_missing", 10), ("a", "picture_missing", 100)]


CELLS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.integers(0, 500) | st.integers(1700, 1900), st.sampled_from([0, 0, 0, 5, 90, -60]),
        st.sampled_from([40.7, 40.7, 40.72]), st.sampled_from([80.0, 4.0]), st.sampled_from([0.0, 50.0, 50.0]),
    ),
    max_size=120,
)  # fmt: skip


def messages(cells: list[tuple[Any, ...]]) -> pa.Table:
    """Samples of messages with these drones, seconds of publication, lags, latitudes, batteries and altitudes."""
    rows = [
        row(
            drone, at, time=(at if lag in (90, -60) else at - lag) * S, event_us=(at - lag) * S, published_us=at * S,
            latitude=latitude, battery_pct=battery, altitude_m=altitude,
        )
        for drone, at, lag, latitude, battery, altitude in cells
    ]  # fmt: skip
    return table(rows)


@settings(max_examples=25, deadline=None)
@given(CELLS, st.lists(st.integers(0, 700) | st.integers(0, 2200), max_size=6), st.randoms(use_true_random=False))
def test_the_events_do_not_depend_on_batches_order_copies_and_restarts(
    cells: list[tuple[Any, ...]], stops: list[int], chance: random.Random
) -> None:
    samples = messages(cells)
    expected = detect(samples, NEVER, 2500 * S).events
    before, kept, ids = NEVER, NO_SAMPLES, Counter[str]()
    published = published_at(samples)
    for stop in [*sorted(stops), 2500]:
        until = stop * S
        came = [n for n in range(len(published)) if before < published[n] <= until]
        again = [n for n in range(len(published)) if published[n] <= until]  # as after a restart
        came += chance.sample(again, len(again) // 3)
        chance.shuffle(came)
        half = len(came) // 2
        parts = [thin(samples.take(pa.array(part, pa.int64()))) for part in (came[:half], came[half:])]
        new = settled_before(pa.concat_tables(parts), before)
        events, kept = detect(pa.concat_tables([kept, new]), before, until)
        ids.update(events["event_id"].to_pylist())
        before = until
    assert ids == Counter(expected["event_id"].to_pylist())


def test_of_a_drone_few_samples_are_kept_and_none_once_it_is_gone() -> None:
    drones = "abcdefgh"
    hour = [row(d, t, altitude_m=50.0 if t else 0.0, latitude=40.7 + t / 1e6) for d in drones for t in range(3601)]
    kept = detect(table(hour), NEVER, 3600 * S).kept
    by_drone = Counter(kept["drone_id"].drop_null().to_pylist())
    # The base, the last complete message and the one before, the first one of the last half minute, as the next one has
    # not begun; and of what is not complete two each 10 s, and one at its end.
    assert set(by_drone.values()) == {4 + 2 * 3 + 1}
    # As many others are heard from then on: else the topic would be silent.
    others = [row(d, t) for d in drones.upper() for t in range(3600, 3600 + GONE_SECONDS + 101, 5)]
    after = detect(pa.concat_tables([kept, table(others)]), 3600 * S, (3600 + GONE_SECONDS + 101) * S)
    assert set(after.kept["drone_id"].drop_null().to_pylist()) == set(drones.upper())
    assert {(e["drone_id"], e["kind"]) for e in after.events.to_pylist()} == {(d, "silent") for d in drones}


def test_a_base_is_forgotten_with_the_drone() -> None:
    def flight(pause: int) -> list[dict[str, Any]]:
        base = [row("a", t, altitude_m=0.0) for t in range(0, 50, 5)]
        return base + [row("a", 45 + pause + t, latitude=40.8, battery_pct=20.0) for t in range(0, 300, 5)]

    def kinds(pause: int) -> set[str]:
        return {kind for _, kind, _ in found(flight(pause) + OTHER)}

    assert "battery_low" in kinds(GONE_SECONDS)  # 11 km from where it stood
    assert "battery_low" not in kinds(GONE_SECONDS + 1)


def simulated(**kwargs: Any) -> tuple[pa.Table, dict[str, Any]]:
    """The samples of a fleet, as they would be in a topic, and its faults by drone."""
    flight = Flight(drones=40, seconds=1200, rate=0.5, seed=7, start=START, violation_share=0.05, **kwargs)
    samples: list[pa.Table] = []
    faults: dict[str, Any] = {}
    for step in publish(flight, Mishaps(disorder_s=3, late_share=0.02, late_s=200, duplicates=0.02)):
        faults |= {fault.drone_id: fault for fault in step.faults}
        if step.messages:
            n = len(step.messages)
            at = pa.array([m.at_us for m in step.messages]).cast(pa.timestamp("us", "UTC"))
            payloads = payload_batch([m.payload for m in step.messages], list(range(n)), list(range(n)), at)
            samples.append(samples_of(decode_payloads(UNIT, payloads).rows))
        times = pa.array([p.at_us for p in step.pictures], pa.int64()).cast(pa.timestamp("us", "UTC"))
        images = {"image_id": pa.array([p.image_id for p in step.pictures], pa.string()), "event_time": times}
        samples.append(pictures_of(pa.RecordBatch.from_pydict({**images, "published_at": times})))
    return pa.concat_tables(samples), faults


def test_the_faults_of_a_simulated_fleet_are_found_and_nothing_else() -> None:
    samples, faults = simulated(faults=0.5)
    until = round((START + timedelta(seconds=1200)).timestamp() * S)
    kinds = defaultdict(set)
    for event in detect(samples, NEVER, until).events.to_pylist():
        assert event["event_time"].timestamp() * S >= faults[event["drone_id"]].begins_us - 2 * S
        kinds[event["drone_id"]].add(event["kind"])
    # A battery that is bad while the drone charges harms nobody: it counts where it is empty in the air.
    died = pc.and_(pc.greater(samples["altitude_m"], 1), pc.less(samples["battery_pct"], 1))
    empty = set(samples.filter(died)["drone_id"].to_pylist())
    must = {name for name, fault in faults.items() if fault.kind != "battery_low" or name in empty}
    assert empty
    assert must <= kinds.keys() <= faults.keys()
    assert {name: found for name, found in kinds.items() if found != {faults[name].kind}} == {}


def test_a_healthy_fleet_has_no_events() -> None:
    samples, faults = simulated()
    assert not faults
    assert detect(samples, NEVER, 2**60).events.num_rows == 0
    assert {str(kind) for kind in EventKind} == {"silent", "battery_low", "position_jump", "clock_off",
                                                 "picture_missing"}  # fmt: skip
