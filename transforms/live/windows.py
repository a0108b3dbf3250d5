"""Live statistics: counts by Beam's event-time windows, in early, on-time and late panes.

They are deltas: a window's count is the sum of its panes. Data after the allowed lateness, which Beam would drop
silently, goes to an output of its own. The exact counts are in ``stats/``, see :mod:`transforms.stats`.

rows ─────────► Slices ─┐           ┌─► by code: early, on time, late ─┐
dead letters ─► Slices ─┼─► Late? ──┼─► by area: on time, late ────────┼─► live
                        │           ├─► a window is complete ──────────┘
                        │           └─► too late
                        └─► far ahead of its publication
"""

import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.transforms import trigger
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, RuntimeState, RuntimeTimer, TimerSpec, on_timer
from apache_beam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, TimestampedValue
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming

from lake.faults import faults
from schemas.lake import MICROSECONDS
from sources.units import UnitBatch
from transforms.live import counts as live_counts
from transforms.live.counts import Count, PaneRows, Slice, SliceBatch, pane_of
from transforms.messages.rows import without_repeated

ALL = 0
"""The key of the counts of a window: one element a window and batch is summed, not one a code."""
LIVE = "live"
AREAS = "areas"
COMPLETE = "complete"
LATE = "late"
AHEAD = "ahead"
SLICES = "slices"


class _Slice(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, by_window: SliceBatch, column: str, window_seconds: int) -> None:
        self._by_window = by_window
        self._column = column
        self._window_seconds = window_seconds

    def process(self, batch: UnitBatch) -> Iterator[Any]:
        rows, ahead = live_counts.split_ahead(without_repeated(batch.rows), self._column)
        for start, some in self._by_window(rows, self._window_seconds).items():
            yield TimestampedValue((start, some), start)
        for start, (by_code, _) in self._by_window(ahead, self._window_seconds).items():
            for counts in live_counts.panes_by_code(by_code):
                yield beam.pvalue.TaggedOutput(AHEAD, pane_of(start, self._window_seconds, counts, "ahead"))


class _Lateness(beam.DoFn):  # type: ignore[misc]
    """Separates late data after the allowed lateness. Keyed by window, in the global window, where Beam drops nothing:
    a timer at the end of the allowed lateness closes the window. Costs one bit of state per window."""

    CLOSED = ReadModifyWriteStateSpec("closed", BooleanCoder())
    # Unique names: in Beam's FnApiRunner two timers of one name may share a buffer.
    END = TimerSpec("window_end", TimeDomain.WATERMARK)
    CLOSE = TimerSpec("window_close", TimeDomain.WATERMARK)

    def __init__(self, window_seconds: int, allowed_lateness: int) -> None:
        self._window_seconds = window_seconds
        self._open_for = window_seconds + allowed_lateness

    def process(
        self,
        element: tuple[int, Slice],
        closed: RuntimeState = beam.DoFn.StateParam(CLOSED),  # noqa: B008  # how Beam injects state
        end: RuntimeTimer = beam.DoFn.TimerParam(END),  # noqa: B008
        close: RuntimeTimer = beam.DoFn.TimerParam(CLOSE),  # noqa: B008
    ) -> Iterator[Any]:
        start, (by_code, by_area) = element
        known = closed.read()
        if known:
            for counts in live_counts.panes_by_code(by_code):
                yield beam.pvalue.TaggedOutput(LATE, pane_of(start, self._window_seconds, counts, "too_late"))
            return
        if known is None:  # a timer that was set again would fire again
            closed.write(False)
            end.set(start + self._window_seconds)
            close.set(start + self._open_for)
        yield TimestampedValue((ALL, by_code), start)
        if by_area:
            yield beam.pvalue.TaggedOutput(AREAS, TimestampedValue((ALL, by_area), start))

    @on_timer(END)  # type: ignore[untyped-decorator]
    def end(self, start: int = beam.DoFn.KeyParam) -> Iterator[Any]:
        yield beam.pvalue.TaggedOutput(COMPLETE, pane_of(start, self._window_seconds, live_counts.NOTHING, "on_time"))

    @on_timer(CLOSE)  # type: ignore[untyped-decorator]
    def close(self, closed: RuntimeState = beam.DoFn.StateParam(CLOSED)) -> None:  # noqa: B008
        closed.write(True)


class _Panes(beam.DoFn):  # type: ignore[misc]
    def __init__(self, rows: PaneRows) -> None:
        self._rows = rows

    def process(
        self,
        element: tuple[int, list[Count]],
        window: IntervalWindow = beam.DoFn.WindowParam,
        pane: PaneInfo = beam.DoFn.PaneInfoParam,
    ) -> Iterator[dict[str, Any]]:
        seconds = (window.end.micros - window.start.micros) // MICROSECONDS
        timing = PaneInfoTiming.to_string(pane.timing).lower()
        for counts in self._rows(element[1]):
            yield pane_of(window.start.micros // MICROSECONDS, seconds, counts, timing)


class CountLive(beam.PTransform):  # type: ignore[misc]
    """Rows and dead letters -> panes: dicts of window_start, window_seconds, dataset, violation_code, n and timing.

    ``live`` has early panes for each batch, an on_time pane at the watermark and late panes for each batch after it;
    ``late`` has data after the allowed lateness, with timing too_late; ``ahead`` has events dated more than an hour
    after their publication, with timing ahead, in the window of publication. The on_time pane without a dataset counts
    nothing: it marks the window as complete, and comes from a timer, since not every runner fires an empty pane.

    Rows of one message_id are counted once per unit. Duplicates across units are counted again: to find them would take
    the ids of all open windows.

    A pane with ``areas`` (name -> number) counts the same rows by area, on time and late. There are no early ones, as
    they would be most of the output.
    """

    def __init__(self, window_seconds: int, allowed_lateness: int) -> None:
        super().__init__()
        self._window_seconds = window_seconds
        self._allowed_lateness = allowed_lateness

    def expand(self, inputs: Any) -> Any:
        rows, dead_letters = inputs
        of_rows = rows | "Slices" >> self._slices(live_counts.slice_rows, "event_time")
        of_letters = dead_letters | "Slices of dead letters" >> self._slices(live_counts.slice_letters, "published_at")
        judged = (
            (of_rows[SLICES], of_letters[SLICES])
            | "All slices" >> beam.Flatten()
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "Late?"
            >> beam.ParDo(_Lateness(self._window_seconds, self._allowed_lateness)).with_outputs(
                AREAS, COMPLETE, LATE, main=LIVE
            )
        )
        # AfterCount: AfterProcessingTime crashes Beam's FnApiRunner.
        each = trigger.AfterCount(1)
        early = trigger.AfterWatermark(early=each, late=each)
        by_code = self._sums(judged[LIVE], "code", early, live_counts.panes_by_code)
        by_area = self._sums(judged[AREAS], "area", trigger.AfterWatermark(late=each), live_counts.panes_by_area)
        live = (by_code, by_area, judged[COMPLETE]) | "With ends" >> beam.Flatten()
        ahead = (
            (of_rows[AHEAD], of_letters[AHEAD])
            | "All ahead" >> beam.Flatten()
            | "Ahead out of windows" >> beam.WindowInto(GlobalWindows())
        )
        return {LIVE: live, LATE: judged[LATE], AHEAD: ahead}

    def _slices(self, by_window: SliceBatch, column: str) -> Any:
        slices = beam.ParDo(_Slice(by_window, column, self._window_seconds)).with_output_types(tuple[int, Slice])
        return slices.with_outputs(AHEAD, main=SLICES)

    def _sums(self, counts: beam.PCollection, by: str, fires: Any, rows: PaneRows) -> beam.PCollection:
        return (
            counts
            | f"Windows by {by}"
            >> beam.WindowInto(
                FixedWindows(self._window_seconds),
                trigger=fires,
                accumulation_mode=trigger.AccumulationMode.DISCARDING,  # accumulating panes are wrong on Prism
                allowed_lateness=self._allowed_lateness,
            )
            | f"Typed by {by}" >> beam.Map(_same).with_output_types(tuple[int, list[Count]])
            | f"Sum by {by}" >> beam.CombinePerKey(live_counts.add_counts)
            | f"Panes by {by}" >> beam.ParDo(_Panes(rows)).with_output_types(dict[str, Any])
            # Flatten needs inputs of one windowing.
            | f"Out of windows by {by}" >> beam.WindowInto(GlobalWindows())
        )


def _same(element: tuple[int, list[Count]]) -> tuple[int, list[Count]]:
    return element


def append_line(path: str, lines: str) -> None:
    """Append lines in one write, so that those of several workers do not mix."""
    with faults(path), open(path, "a", encoding="utf-8") as file:
        file.write(lines)


class _Append(beam.DoFn):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        self._path = path

    def start_bundle(self) -> None:
        self._lines: list[str] = []

    def process(self, pane: dict[str, Any]) -> None:
        self._lines.append(json.dumps(pane) + "\n")

    def finish_bundle(self) -> None:
        append_line(self._path, "".join(self._lines))


class AppendPanes(beam.PTransform):  # type: ignore[misc]
    """Panes of all outputs -> lines of JSON, appended to a local file as they fire."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, branches: Any) -> Any:
        panes = (branches[LIVE], branches[LATE], branches[AHEAD]) | "All panes" >> beam.Flatten()
        return panes | "Append" >> beam.ParDo(_Append(self._path))
