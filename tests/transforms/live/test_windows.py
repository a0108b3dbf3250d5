"""Live windows fire early, on time and late; late data has an output of its own."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue

from schemas.lake import DEAD_LETTER, Source
from sources.units import Unit, UnitBatch
from transforms.live.counts import AHEAD_SECONDS, slice_letters, slice_rows, split_ahead
from transforms.live.windows import AHEAD, LATE, LIVE, AppendPanes, CountLive, _Slice

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")


def rows(*seconds: int, code: int = 21) -> pa.RecordBatch:
    """Violations at these seconds."""
    n = len(seconds)
    return pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array([s * 1_000_000 for s in seconds]).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array([code] * n, pa.int16()),
            "status": pa.array(["raw"] * n, pa.string()).dictionary_encode(),
            "kind": pa.array(["violation"] * n, pa.string()).dictionary_encode(),
            "area": pa.array([f"40.7{s % 2},-74.01" for s in seconds], pa.string()).dictionary_encode(),
        }
    )


def test_rows_whose_message_id_their_unit_had_before_are_not_counted() -> None:
    again = rows(60, 61, 62).append_column("repeated", pa.array([False, True, None]))
    step = _Slice(slice_rows, "event_time", 60)
    ((_, (counts, _)),) = (element.value for element in step.process(UnitBatch(UNIT, again, True)))
    assert counts == [("qualified", 21, 2)]


def letters(*seconds: int | None) -> pa.RecordBatch:
    """Dead letters that were published at these seconds."""
    rows = [
        dict.fromkeys(DEAD_LETTER.names)
        | {"unit": "u", "record": 0, "reason": "payload_empty", "payload": b"", "path": "p", "offset": 0}
        | {"published_at": None if s is None else s * 1_000_000}
        for s in seconds
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DEAD_LETTER)


def batch(*seconds: int, of: Callable[..., pa.RecordBatch] = rows) -> TimestampedValue:
    """A batch of such violations or dead letters, as the source stamps it."""
    return TimestampedValue(UnitBatch(UNIT, of(*seconds), last=False), seconds[0])


def short(pane: dict[str, object]) -> tuple[object, ...]:
    """What of a pane by code the tests look at."""
    return str(pane["window_start"])[14:19], pane["dataset"], pane["n"], pane["timing"]


def where(pane: dict[str, object]) -> tuple[object, ...]:
    """And of one by area."""
    return str(pane["window_start"])[14:19], pane["dataset"], pane["n"], pane["areas"], pane["timing"]


def test_a_batch_is_cut_into_its_windows_by_code_and_by_area() -> None:
    assert slice_rows(rows(-1, 1, 59, 60, 125, 126), 60) == {
        -60: ([("qualified", 21, 1)], [("qualified", "40.71,-74.01", 1)]),
        0: ([("qualified", 21, 2)], [("qualified", "40.71,-74.01", 2)]),
        60: ([("qualified", 21, 1)], [("qualified", "40.70,-74.01", 1)]),
        120: ([("qualified", 21, 2)], [("qualified", "40.71,-74.01", 1), ("qualified", "40.70,-74.01", 1)]),
    }
    assert slice_rows(rows(), 60) == {}


def test_dead_letters_are_in_the_window_in_which_they_were_published_or_else_read() -> None:
    assert slice_letters(letters(1, 59, 60), 60) == {
        0: ([("dead_letters", None, 2)], []),
        60: ([("dead_letters", None, 1)], []),
    }
    before = time.time()
    ((start, counts),) = slice_letters(letters(None, None), 3600).items()
    assert before - 3600 < start <= time.time()
    assert counts == ([("dead_letters", None, 2)], [])
    assert slice_letters(letters(), 60) == {}


def test_answers_are_counted_apart() -> None:
    batch = rows(1, 2, 3)
    status = pa.array(["raw", "officer", "officer"]).dictionary_encode()
    codes = pa.array([0, 0, 21], pa.int16())
    batch = batch.set_column(1, "violation_code", codes).set_column(2, "status", status)
    by_code, _ = slice_rows(batch, 60)[0]
    assert by_code == [("unqualified", 0, 1), ("answers", 0, 1), ("answers", 21, 1)]


def test_panes_fire_early_on_time_and_late_and_nothing_is_dropped() -> None:
    right, left = "40.71,-74.01", "40.70,-74.01"
    stream = (
        TestStream()
        .advance_watermark_to(0)
        .add_elements([batch(1, 2, 61)])
        .add_elements([batch(5, 6, of=letters)])
        .advance_watermark_to(60)  # the first window is complete
        .add_elements([batch(3)])  # late, within the allowed 30 s
        .add_elements([batch(7, of=letters)])
        .advance_watermark_to(95)
        .add_elements([batch(4, 62)])  # too late for the first window, in time for the second
        .add_elements([batch(8, of=letters)])
        .advance_watermark_to_infinity()
    )
    # The runner is named: among the local ones only this one has TestStream.
    with TestPipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(streaming=True)) as pipeline:
        batches = pipeline | stream
        of_rows, of_letters = batches | beam.Partition(lambda b, _: int("reason" in b.rows.schema.names), 2)
        panes = (of_rows, of_letters) | CountLive(60, 30)
        by_code = panes[LIVE] | "By code" >> beam.Filter(lambda p: "areas" not in p) | "Short" >> beam.Map(short)
        by_area = panes[LIVE] | "By area" >> beam.Filter(lambda p: "areas" in p) | "Where" >> beam.Map(where)
        late = panes[LATE] | "Short too" >> beam.Map(short)
        assert_that(
            by_code,
            equal_to(
                [
                    ("00:00", "qualified", 2, "early"), ("01:00", "qualified", 1, "early"),
                    ("00:00", "dead_letters", 2, "early"), ("00:00", None, 0, "on_time"),
                    ("00:00", "qualified", 1, "late"), ("00:00", "dead_letters", 1, "late"),
                    ("01:00", "qualified", 1, "early"), ("01:00", None, 0, "on_time"),
                ]
            ),
            label="by code",
        )  # fmt: skip
        assert_that(
            by_area,
            equal_to(
                [
                    ("00:00", "qualified", 2, {right: 1, left: 1}, "on_time"),
                    ("00:00", "qualified", 1, {right: 1}, "late"),
                    ("01:00", "qualified", 2, {right: 1, left: 1}, "on_time"),
                ]
            ),
            label="by area",
        )
        too_late = [("00:00", "qualified", 1, "too_late"), ("00:00", "dead_letters", 1, "too_late")]
        assert_that(late, equal_to(too_late), label="late")


FAR = 7_258_118_399
"""The last second of 2199."""


def test_an_event_far_ahead_of_its_publication_opens_no_window() -> None:
    published = [1_000, 1_000, 1_000, FAR, None]
    seconds = [1_000, 1_000 + AHEAD_SECONDS, 1_001 + AHEAD_SECONDS, FAR, FAR]
    some = rows(*seconds).append_column(
        "published_at", pa.array([p and p * 1_000_000 for p in published], pa.timestamp("us", "UTC"))
    )
    before = time.time()
    near, far = split_ahead(some, "event_time")
    assert near["event_time"].to_pylist() == some["event_time"].to_pylist()[:2]
    first, *others = (when.timestamp() for when in far["event_time"].to_pylist())
    assert first == 1_000
    assert all(before - 1 < when < time.time() + 1 for when in others)
    assert split_ahead(letters(1, None, FAR), "published_at")[1].num_rows == 1
    assert split_ahead(rows(), "event_time")[1].num_rows == 0


def test_a_thousand_windows_of_2199_are_one_count_ahead_and_no_state() -> None:
    stream = (
        TestStream()
        .advance_watermark_to(0)
        .add_elements([batch(1, *range(FAR - 60_000, FAR, 60))])
        .add_elements([batch(5, FAR, of=letters)])
        .advance_watermark_to_infinity()
    )
    with TestPipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(streaming=True)) as pipeline:
        batches = pipeline | stream
        of_rows, of_letters = batches | beam.Partition(lambda b, _: int("reason" in b.rows.schema.names), 2)
        panes = (of_rows, of_letters) | CountLive(60, 30)
        live = panes[LIVE] | "By code" >> beam.Filter(lambda p: "areas" not in p) | "Short" >> beam.Map(short)
        ahead = panes[AHEAD] | "Ahead" >> beam.Map(lambda p: short(p)[1:])
        assert_that(
            live,
            equal_to([("00:00", "qualified", 1, "early"), ("00:00", "dead_letters", 1, "early"),
                      ("00:00", None, 0, "on_time")]),
            label="live",
        )  # fmt: skip
        assert_that(ahead, equal_to([("qualified", 1_000, "ahead"), ("dead_letters", 1, "ahead")]), label="ahead")


def test_panes_are_appended_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    path.write_text('{"older": 1}\n')
    with TestPipeline() as pipeline:
        some = pipeline | beam.Create([UnitBatch(UNIT, rows(1, 2, 61), last=True)])
        refused = pipeline | "Letters" >> beam.Create([UnitBatch(UNIT, letters(3), last=True)])
        _ = (some, refused) | CountLive(60, 30) | AppendPanes(str(path))
    older, *lines = map(json.loads, path.read_text().splitlines())
    assert older == {"older": 1}
    by_area = [line for line in lines if "areas" in line]
    assert sum(line["n"] for line in lines if line not in by_area) == 4
    assert sum(line["n"] for line in by_area) == sum(sum(line["areas"].values()) for line in by_area) == 3
    assert {line["timing"] for line in by_area} == {"on_time"}
