"""Faults of a simulated fleet are in its messages as the truth beside them says."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from apps.simulator.fleet.faults import FAULT_KINDS, JUMP_DEGREES
from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.mishaps import Mishaps
from apps.simulator.fleet.publish import Outputs, write_drones

START = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, list[Any]], set[str]]:
    """The faults by drone, the messages by drone, and the ids of the pictures that were sent."""
    folder = tmp_path_factory.mktemp("faults")
    flight = Flight(drones=40, seconds=900, rate=0.5, seed=3, start=START, faults=0.5)
    places: dict[str, Any] = {
        "messages": folder / "a.jsonl",
        "images": folder / "images.jsonl",
        "faults": folder / "faults.parquet",
    }
    write_drones(flight, Mishaps(), Outputs(**places), quiet=True)
    faults = {row["drone_id"]: row for row in pq.read_table(places["faults"]).to_pylist()}
    drones = defaultdict(list)
    for line in places["messages"].read_text().splitlines():
        message = json.loads(line)
        drones[message["drone_id"]].append({**message, "at": datetime.fromisoformat(message["event_time"])})
    return faults, drones, {json.loads(line)["image_id"] for line in places["images"].read_text().splitlines()}


def test_each_kind_of_fault_is_in_the_messages(flown: Any) -> None:
    faults, drones, pictures = flown
    assert sorted(row["kind"] for row in faults.values()) == sorted(FAULT_KINDS * 4)
    steps = {name: [(b["at"] - a["at"]).total_seconds() for a, b in pairwise(rows)] for name, rows in drones.items()}
    jumps = {name: max(abs(b["latitude"] - a["latitude"]) for a, b in pairwise(rows)) for name, rows in drones.items()}
    for name, fault in faults.items():
        begins = fault["begins"]
        after = [row for row in drones[name] if row["at"] >= begins]
        lost = [row for row in after if row["kind"] == "violation" and row["image_id"] not in pictures]
        assert (max(steps[name]) >= 178) == (fault["kind"] == "silent")
        assert (jumps[name] > JUMP_DEGREES / 2) == (fault["kind"] == "position_jump")
        assert bool(lost) == (fault["kind"] == "picture_missing")
        if fault["kind"] == "silent":
            silent_until = begins + timedelta(seconds=180)
            assert fault["ends"] == silent_until
            assert not [row for row in drones[name] if begins <= row["at"] < silent_until]
        if fault["kind"] == "clock_off":
            assert any(abs(step) > 100 for step in steps[name])


def test_a_fleet_with_faults_flies_the_same_until_they_begin(tmp_path: Path) -> None:
    def positions(faults: float) -> dict[str, list[Any]]:
        flight = Flight(drones=20, seconds=300, rate=1, seed=3, start=START, faults=faults)
        write_drones(flight, Mishaps(), Outputs(messages=tmp_path / "b.jsonl"), quiet=True)
        found = defaultdict(list)
        for line in (tmp_path / "b.jsonl").read_text().splitlines():
            message = json.loads(line)
            found[message["drone_id"]].append((message["latitude"], message["longitude"]))
        return found

    calm, faulty = positions(0.0), positions(0.25)
    assert [calm[name][:50] for name in calm] == [faulty[name][:50] for name in calm]
    assert calm != faulty
