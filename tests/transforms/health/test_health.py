"""Events of drones through the graph: each once in the lake, whatever is killed or run again."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.mishaps import Mishaps
from apps.simulator.fleet.publish import Outputs, write_drones
from lake import lake
from lake.publication import publish
from lake.storage import storage
from pipelines.maintenance.reconcile import reconcile
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.lake import Dataset
from tests.support import LOCAL
from transforms.health.detect import NEVER, detect
from transforms.health.recall import memory_path, recalled
from transforms.health.samples import pictures_of, published_at, samples_of

START = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Messages and pictures of a fleet with faults."""
    folder = tmp_path_factory.mktemp("fleet")
    flight = Flight(drones=20, seconds=700, rate=0.5, seed=5, start=START, violation_share=0.03, faults=0.5)
    outputs = Outputs(messages=folder / "drones.jsonl", images=folder / "images.jsonl")
    write_drones(flight, Mishaps(duplicates=0.02), outputs, quiet=True)
    return folder / "drones.jsonl", folder / "images.jsonl"


def run(root: Path, recordings: tuple[Path, Path]) -> None:
    messages, images = map(str, recordings)
    settings = Settings(str(root), 3600, publish_every=0.0, with_pictures=True)
    run_graph(ReadOptions(messages=messages, images=images), settings, LOCAL)


def events(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake(str(root)).sql("SELECT * FROM drone_events ORDER BY event_id").to_pylist()
    return rows


def expected(root: Path) -> list[str]:
    """The ids of the events in all rows of the lake."""
    lk = lake(str(root))
    rows = [lk.sql(f"FROM {name}") for name in ("positions", "qualified", "unqualified")]
    samples = pa.concat_tables([*map(samples_of, rows), pictures_of(lk.sql("FROM images"))])
    until = int(published_at(samples).max())
    return sorted(detect(samples, NEVER, until).events["event_id"].to_pylist())


def test_a_run_stores_the_events_of_its_rows_once(tmp_path: Path, recordings: tuple[Path, Path]) -> None:
    root = tmp_path / "lake"
    run(root, recordings)
    found = events(root)
    kinds = Counter(row["kind"] for row in found)
    # A recording has no times of publication: a clock that goes wrong makes a pause, as if the drone were silent.
    assert (kinds["silent"], kinds["battery_low"]) == (4, 2)
    assert kinds.keys() == {"silent", "battery_low", "position_jump", "picture_missing"}
    assert [row["event_id"] for row in found] == expected(root)
    assert [row["unit"] for row in found] == [f"health-{row['event_id']}" for row in found]
    assert reconcile(str(root)) == []
    run(root, recordings)  # nothing new
    publish(str(root))
    assert events(root) == found
    assert reconcile(str(root)) == []


@pytest.mark.embedded
def test_a_run_that_was_killed_is_run_again(
    tmp_path: Path, recordings: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lake"

    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as killed:  # once all messages are committed, and no event
        killed.setattr("transforms.health.land.commit_events", fail)
        with pytest.raises(Exception, match="killed"):
            run(root, recordings)
    assert lake(str(root)).files(Dataset.POSITIONS)
    assert events(root) == []
    run(root, recordings)
    assert [row["event_id"] for row in events(root)] == expected(root) != []
    storage(str(root)).put(memory_path(str(recordings[0])), recalled(str(tmp_path / "new"), "x", True).encode())
    run(root, recordings)  # as if the memory were an old one
    assert [row["event_id"] for row in events(root)] == expected(root)
    assert reconcile(str(root)) == []
