"""Live statistics: counts by Beam's event-time windows, early, on time and late, for eyes that watch a stream.

They are deltas: a window's count is the sum of its panes. What comes after the allowed lateness, which Beam would drop
without a word, leaves by a branch of its own. The exact counts are in ``stats/``, see :mod:`transforms.stats`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders import BooleanCoder
from apache_beam.transforms import trigger
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, RuntimeState, RuntimeTimer, TimerSpec, on_timer
from apache_beam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, TimestampedValue
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming

from sources.units import UnitBatch
from transforms.clock import MICROSECONDS
from transforms.qualify import BRANCHES, branch_of, is_answer

ALL = 0
"""The key of the counts of a window: one element a window and batch is summed, not one a code."""
LIVE = "live"
COMPLETE = "complete"
LATE = "late"

ANSWERS = "answers"
DATASETS = (*map(str, BRANCHES), ANSWERS)
"""What is counted apart: officers' answers, which go to qualified/, are no violations that a drone saw."""

Count = tuple[str, int, int]
"""One of DATASETS, violation code (-1 where it has none), number of rows."""


def count_by_window(rows: pa.RecordBatch, window_seconds: int) -> dict[int, list[Count]]:
    """The counts of a batch, cut into its windows: start of the window (seconds since the epoch) -> counts."""
    windows = rows["event_time"].cast(pa.int64()).to_numpy() // (window_seconds * MICROSECONDS)
    code = rows["violation_code"].fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    branches = np.where(is_answer(rows["status"]), DATASETS.index(ANSWERS), branch_of(rows))
    keys, numbers = np.unique((windows * len(DATASETS) + branches) * 256 + code, return_counts=True)
    found: dict[int, list[Count]] = {}
    for key, n in zip(keys.tolist(), numbers.tolist(), strict=True):
        rest, shifted_code = divmod(key, 256)
        window, branch = divmod(rest, len(DATASETS))
        found.setdefault(window * window_seconds, []).append((DATASETS[branch], shifted_code - 1, n))
    return found


class _Slices(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, window_seconds: int) -> None:
        self._window_seconds = window_seconds

    def process(self, batch: UnitBatch) -> Iterator[Any]:
        for start, counts in count_by_window(batch.rows, self._window_seconds).items():
            yield TimestampedValue((start, counts), start)


class _Lateness(beam.DoFn):  # type: ignore[misc]
    """Keyed by window, in the global window where nothing is dropped: a timer at the end of the allowed lateness closes
    the window for good. Costs one bit of state a window."""

    CLOSED = ReadModifyWriteStateSpec("closed", BooleanCoder())
    END = TimerSpec("end", TimeDomain.WATERMARK)
    CLOSE = TimerSpec("close", TimeDomain.WATERMARK)

    def __init__(self, window_seconds: int, allowed_lateness: int) -> None:
        self._window_seconds = window_seconds
        self._open_for = window_seconds + allowed_lateness

    def process(
        self,
        element: tuple[int, list[Count]],
        closed: RuntimeState = beam.DoFn.StateParam(CLOSED),  # noqa: B008  # how Beam injects state
        end: RuntimeTimer = beam.DoFn.TimerParam(END),  # noqa: B008
        close: RuntimeTimer = beam.DoFn.TimerParam(CLOSE),  # noqa: B008
    ) -> Iterator[Any]:
        start, counts = element
        known = closed.read()
        if known:
            for count in counts:
                yield beam.pvalue.TaggedOutput(LATE, _pane(start, self._window_seconds, count, "too_late"))
            return
        if known is None:  # a timer that was set again would fire again
            closed.write(False)
            end.set(start + self._window_seconds)
            close.set(start + self._open_for)
        yield TimestampedValue((ALL, counts), start)

    @on_timer(END)  # type: ignore[untyped-decorator]
    def end(self, start: int = beam.DoFn.KeyParam) -> Iterator[Any]:
        yield beam.pvalue.TaggedOutput(COMPLETE, _pane(start, self._window_seconds, ("", -1, 0), "on_time"))

    @on_timer(CLOSE)  # type: ignore[untyped-decorator]
    def close(self, closed: RuntimeState = beam.DoFn.StateParam(CLOSED)) -> None:  # noqa: B008
        closed.write(True)


class _Panes(beam.DoFn):  # type: ignore[misc]
    def process(
        self,
        element: tuple[int, list[Count]],
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> Iterator[dict[str, Any]]:
        seconds = (window.end.micros - window.start.micros) // MICROSECONDS
        timing = PaneInfoTiming.to_string(pane.timing).lower()
        for count in element[1]:
            yield _pane(window.start.micros // MICROSECONDS, seconds, count, timing)


def _pane(start: int, seconds: int, count: Count, timing: str) -> dict[str, Any]:
    dataset, code, n = count
    return {
        "window_start": datetime.fromtimestamp(start, UTC).isoformat(),
        "window_seconds": seconds,
        "dataset": dataset or None,
        "violation_code": None if code < 0 else code,
        "n": n,
        "timing": timing,
    }


class CountLive(beam.PTransform):  # type: ignore[misc]
    """Rows -> panes: dicts of window_start, window_seconds, dataset, violation_code, n and timing.

    ``live`` fires early for each batch, on_time at the watermark and late for each batch after it; ``late`` has what
    came after the allowed lateness, timing too_late. The on_time pane counts nothing: it says that the window is
    complete, and comes from a timer, since not every runner fires an empty pane.
    """

    def __init__(self, window_seconds: int, allowed_lateness: int) -> None:
        super().__init__()
        self._window_seconds = window_seconds
        self._allowed_lateness = allowed_lateness

    def expand(self, rows: beam.PCollection) -> Any:
        judged = (
            rows
            | "Slices" >> beam.ParDo(_Slices(self._window_seconds)).with_output_types(tuple[int, list[Count]])
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "Late?"
            >> beam.ParDo(_Lateness(self._window_seconds, self._allowed_lateness)).with_outputs(
                COMPLETE, LATE, main=LIVE
            )
        )
        panes = (
            judged[LIVE]
            | "Windows"
            >> beam.WindowInto(
                FixedWindows(self._window_seconds),
                # AfterCount: AfterProcessingTime crashes Beam's FnApiRunner; discarding: accumulating panes are
                # wrong on Prism.
                trigger=trigger.AfterWatermark(early=trigger.AfterCount(1), late=trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.DISCARDING,
                allowed_lateness=self._allowed_lateness,
            )
            | "Typed" >> beam.Map(_same).with_output_types(tuple[int, list[Count]])
            | "Sum" >> beam.CombinePerKey(add_counts)
            | "Panes" >> beam.ParDo(_Panes()).with_output_types(dict[str, Any])
            | "Out of windows" >> beam.WindowInto(GlobalWindows())  # as the others are, or they cannot be flattened
        )
        live = (panes, judged[COMPLETE]) | "With ends" >> beam.Flatten()
        return {LIVE: live, LATE: judged[LATE]}


def _same(element: tuple[int, list[Count]]) -> tuple[int, list[Count]]:
    return element


def add_counts(some: Iterable[list[Count]]) -> list[Count]:
    """The sums by dataset and code."""
    sums: Counter[tuple[str, int]] = Counter()
    for counts in some:
        for dataset, code, n in counts:
            sums[dataset, code] += n
    return [(dataset, code, n) for (dataset, code), n in sorted(sums.items())]


class _Append(beam.DoFn):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        self._path = path

    def start_bundle(self) -> None:
        self._lines: list[str] = []

    def process(self, pane: dict[str, Any]) -> None:
        self._lines.append(json.dumps(pane) + "\n")

    def finish_bundle(self) -> None:
        # One write to a file opened for appending: lines of several workers do not mix.
        with open(self._path, "a", encoding="utf-8") as file:
            file.write("".join(self._lines))


class AppendPanes(beam.PTransform):  # type: ignore[misc]
    """Panes of both branches -> lines of JSON at the end of a local file, as they fire."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, branches: Any) -> Any:
        panes = (branches[LIVE], branches[LATE]) | "Live and late" >> beam.Flatten()
        return panes | "Append" >> beam.ParDo(_Append(self._path))
