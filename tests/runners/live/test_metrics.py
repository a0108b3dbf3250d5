"""Panes, the graph's progress and the ledger become the metrics of a live run."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from lake.ledger import commit
from pipelines.cli.commit_progress import Committed
from runners.live.metrics import (
    RATE_SECONDS,
    GraphProgress,
    Level,
    Metrics,
    PaneFile,
    Rates,
    Window,
    Windows,
    read_progress,
    state_of,
    write_progress,
)
from schemas.lake import ROWS_IN
from schemas.panes import Pane
from sources.progress import Lag, progress
from transforms.outputs import OUTPUT_DATASETS

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def pane(at: datetime = NOON, dataset: str | None = "qualified", n: int = 1, timing: str = "early") -> Pane:
    return Pane(at, 10, dataset, 21 if dataset == "qualified" else None, n, timing)


def test_panes_are_added_up_by_window() -> None:
    windows = Windows()
    for one in (pane(n=2), pane(n=3), pane(dataset="positions", n=7)):
        windows.add(one)
    assert windows.filling == Window(NOON, 10, False, Counter(qualified=5, positions=7), Counter({21: 5}))
    assert windows.complete is None


def test_a_window_is_complete_at_its_watermark_and_late_rows_are_still_added() -> None:
    windows = Windows()
    for one in (pane(n=2), pane(dataset=None, n=0, timing="on_time"), pane(n=3, timing="late")):
        windows.add(one)
    assert windows.complete == Window(NOON, 10, True, Counter(qualified=5), Counter({21: 5}))
    assert windows.filling is None
    assert windows.late == 3


def test_the_newest_windows_are_kept_and_older_ones_dropped() -> None:
    windows = Windows()
    starts = [NOON + timedelta(seconds=10 * n) for n in range(4)]
    for start in starts:
        windows.add(pane(start))
    windows.add(pane(starts[1], dataset=None, n=0, timing="on_time"))
    windows.add(pane(starts[0], n=9, timing="late"))
    assert windows.complete is not None
    assert windows.complete.start == starts[1]
    assert windows.filling is not None
    assert windows.filling.start == starts[3]
    assert windows.late == 9
    assert len(windows._windows) == 3


def test_rows_past_the_allowed_lateness_are_in_no_window() -> None:
    windows = Windows()
    windows.add(pane(n=4, timing="too_late"))
    assert (windows.too_late, windows.late, windows.filling) == (4, 0, None)


def test_panes_by_area_are_not_added() -> None:
    windows = Windows()
    for timing in ("on_time", "late"):
        windows.add(Pane(NOON, 10, "qualified", None, 4, timing, {"40.71,-74.01": 4}))
    assert (windows.complete, windows.filling, windows.late) == (None, None, 0)


def test_a_window_far_in_the_future_is_ignored() -> None:
    windows = Windows()
    now = datetime.now(UTC)
    for at in (now, now + timedelta(days=700)):
        windows.add(pane(at))
    assert windows.filling is not None
    assert windows.filling.start == now


def test_each_pane_is_read_once_and_when_its_line_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "panes.jsonl"
    panes = PaneFile(path)
    assert panes.read_new() == []
    first, second = (msgspec.json.encode(pane(n=n)) + b"\n" for n in (1, 2))
    path.write_bytes(first + second[:20])
    assert panes.read_new() == [pane(n=1)]
    assert panes.read_new() == []
    with path.open("ab") as file:
        file.write(second[20:] + first)
    assert panes.read_new() == [pane(n=2), pane(n=1)]


@pytest.mark.parametrize(
    "bad",
    [b"{", b"\xff", b'"\xff"', b"[" * 9_000, b"", b'{"window_start": 1}', b'{"window_start": "2026-01-15T12:00:00"}'],
)
def test_a_line_that_is_not_a_pane_is_counted_and_skipped(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "panes.jsonl"
    panes = PaneFile(path)
    path.write_bytes(msgspec.json.encode(pane(n=1)) + b"\n" + bad + b"\n" + msgspec.json.encode(pane(n=2)) + b"\n")
    assert panes.read_new() == [pane(n=1), pane(n=2)]
    assert panes.unreadable == 1


def sample(at: float, read: int = 0, **lag: Lag) -> GraphProgress:
    return GraphProgress(at, {"drones": read}, read * 100, lag, dict.fromkeys(lag, at))


def test_rates_are_averages_of_the_last_seconds() -> None:
    rates = Rates()
    assert (rates.messages, rates.bytes) == (0, 0)
    for at in range(20):
        rates.add(sample(at, 1_000 * at if at < 10 else 10_000 + 50 * (at - 10)))
    assert (rates.messages, rates.bytes) == (50, 5_000)
    rates.add(sample(19, 0))  # no new sample
    assert rates.messages == 50
    rates.add(sample(19 + 3 * RATE_SECONDS, 10_450))  # none for long: the average since is 0
    assert rates.messages == 0


def test_a_run_is_drained_when_every_stream_is_planned_and_committed() -> None:
    done, late, open_ = Lag(0, 100.5, 0), Lag(0, 99.5, 0), Lag(0, 100.5, 1)
    assert sample(101, drones=done, images=done).is_drained(100)
    assert not sample(101, drones=done, images=late).is_drained(100)
    assert not sample(101, drones=open_, images=done).is_drained(100)
    assert not sample(101).is_drained(100)
    assert not sample(101, images=done).is_drained(100)  # the stream of drones has not reported yet


def test_progress_is_passed_from_process_to_process(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) is None
    progress.came("drones", 3, 300)
    progress.lags("drones", Lag(5, time.time() - 2, 1))
    write_progress(path)
    found = read_progress(path)
    assert found is not None
    assert found.read["drones"] == progress.read["drones"]
    assert found.lag["drones"] == progress.lag["drones"]
    assert 2 <= found.lag["drones"].seconds < 60
    now = Metrics(path, tmp_path / "panes.jsonl", Committed(str(tmp_path / "lake")), "kafka").update()
    assert (now.started, now.behind, now.uncommitted) == (True, 5, 1)
    assert now.silent_seconds < 60


def test_lag_and_silence_grow_by_themselves_while_the_graph_reports_nothing(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    metrics = Metrics(path, tmp_path / "panes.jsonl", Committed(str(tmp_path / "lake")), "kafka")
    assert metrics.update().silent_seconds == 0
    now = time.time()
    # Its process still writes the file; the planner waits for a broker that is dead.
    for at in (now - 1, now):
        progress = GraphProgress(at, {"drones": 900}, 90_000, {"drones": Lag(0, now - 46, 0)}, {"drones": now - 45})
        path.write_bytes(msgspec.json.encode(progress))
        seen = metrics.update()
    assert (seen.lag_seconds >= 46, seen.silent_seconds >= 45, seen.messages_per_second) == (True, True, 0)
    assert state_of(seen, []).level is Level.RED
    assert state_of(seen, []).text.startswith("no data for 4")
    # A graph that was started again has reported nothing yet.
    path.write_bytes(msgspec.json.encode(GraphProgress(now, {}, 0, {}, {})))
    assert metrics.update().lag_seconds >= 46
    path.write_bytes(msgspec.json.encode(sample(time.time(), 5, drones=Lag(0, time.time(), 0))))
    assert state_of(metrics.update(), []).level is Level.GREEN


def test_messages_that_were_read_before_a_restart_of_the_graph_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    metrics = Metrics(path, tmp_path / "panes.jsonl", Committed(str(tmp_path / "lake")), "kafka")
    for read in (5, 900, 0, 40, 3):
        path.write_bytes(msgspec.json.encode(sample(time.time(), read)))
        assert metrics.update().messages_per_second >= 0
    assert metrics.read == {"drones": 900 + 40 + 3}


def test_a_graph_that_has_ended_has_no_rate(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    metrics = Metrics(path, tmp_path / "panes.jsonl", Committed(str(tmp_path / "lake")), "kafka")
    now = time.time() - 60
    for at in range(3):
        path.write_bytes(msgspec.json.encode(sample(now + at, 1_000 * at)))
        seen = metrics.update()
    assert seen.messages_per_second == 0


def unit(name: str, source: str = "drones", rows: int = 10) -> dict[str, object]:
    file = {"dataset": "positions", "path": name, "rows": rows, "bytes": 1}
    counts = dict.fromkeys(map(str, OUTPUT_DATASETS), 0) | {"positions": rows - 1, "dead_letters": 1, "duplicates": 0}
    return {
        "unit": name, "source": source, "path": "kafka:drones/0", "range_start": 0, "range_end": rows,
        "rows_in": rows, **counts, "counted": rows - 1, "files": [file, file],
    }  # fmt: skip


def test_only_units_committed_since_the_start_are_counted_each_once(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [unit("before")])
    committed = Committed(root)
    committed.refresh()
    assert committed.units == 0
    commit(root, [unit("a"), unit("b"), unit("c", "images", 5)])
    committed.refresh()
    commit(root, [unit("d")])
    committed.refresh()
    committed.refresh()
    assert (committed.units, committed.files) == (4, 8)
    assert (committed.of(ROWS_IN), committed.of("dead_letters")) == (35, 4)
    assert committed.rows["images"]["positions"] == 4
