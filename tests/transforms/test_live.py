"""Live windows fire early, on time and late; what is too late leaves by a door of its own."""

import json
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue

from schemas.lake import Source
from sources.units import Unit, UnitBatch
from transforms.live import LATE, LIVE, AppendPanes, CountLive, count_by_window

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")


def rows(*seconds: int, code: int = 21) -> pa.RecordBatch:
    """Violations at these seconds."""
    n = len(seconds)
    return pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array([s * 1_000_000 for s in seconds]).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array([code] * n, pa.int16()),
            "status": pa.array(["raw"] * n).dictionary_encode(),
            "kind": pa.array(["violation"] * n).dictionary_encode(),
        }
    )


def batch(*seconds: int) -> TimestampedValue:
    """A batch of such violations, as the source stamps it."""
    return TimestampedValue(UnitBatch(UNIT, rows(*seconds), last=False), seconds[0])


def short(pane: dict[str, object]) -> tuple[object, ...]:
    """What of a pane the tests look at."""
    return str(pane["window_start"])[14:19], pane["n"], pane["timing"]


def test_a_batch_is_cut_into_its_windows() -> None:
    assert count_by_window(rows(1, 59, 60, 125), 60) == {
        0: [("qualified", 21, 2)], 60: [("qualified", 21, 1)], 120: [("qualified", 21, 1)],
    }  # fmt: skip


def test_answers_are_counted_apart() -> None:
    batch = rows(1, 2, 3)
    status = pa.array(["raw", "officer", "officer"]).dictionary_encode()
    codes = pa.array([0, 0, 21], pa.int16())
    batch = batch.set_column(1, "violation_code", codes).set_column(2, "status", status)
    assert count_by_window(batch, 60) == {0: [("unqualified", 0, 1), ("answers", 0, 1), ("answers", 21, 1)]}


def test_panes_fire_early_on_time_and_late_and_nothing_is_dropped() -> None:
    stream = (
        TestStream()
        .advance_watermark_to(0)
        .add_elements([batch(1, 2, 61)])
        .advance_watermark_to(60)  # the first window is complete
        .add_elements([batch(3)])  # late, within the allowed 30 s
        .advance_watermark_to(95)
        .add_elements([batch(4, 62)])  # too late for the first window, in time for the second
        .advance_watermark_to_infinity()
    )
    # The runner is named: among the local ones only this one has TestStream.
    with TestPipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(streaming=True)) as pipeline:
        panes = pipeline | stream | CountLive(60, 30)
        live = panes[LIVE] | "Short" >> beam.Map(short)
        late = panes[LATE] | "Short too" >> beam.Map(short)
        assert_that(
            live,
            equal_to(
                [
                    ("00:00", 2, "early"), ("01:00", 1, "early"), ("00:00", 0, "on_time"),
                    ("00:00", 1, "late"), ("01:00", 1, "early"), ("01:00", 0, "on_time"),
                ]
            ),
            label="live",
        )  # fmt: skip
        assert_that(late, equal_to([("00:00", 1, "too_late")]), label="late")


def test_panes_are_appended_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    path.write_text('{"older": 1}\n')
    with TestPipeline() as pipeline:
        elements = pipeline | beam.Create([UnitBatch(UNIT, rows(1, 2, 61), last=True)])
        _ = elements | CountLive(60, 30) | AppendPanes(str(path))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"older": 1}
    assert sum(line["n"] for line in lines[1:]) == 3
