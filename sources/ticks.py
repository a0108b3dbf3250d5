"""The planner of an unbounded run: one endless element of a splittable DoFn that plans every few seconds.

The planner reads no payload, so one element is enough for a topic of any width. It has no state that must survive: what
is planned and what is committed is in the lake, and where a runner goes back to an older checkpoint, everything that is
not committed is given out again.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from sources.reading import Read, ReadSplit


class Tick(NamedTuple):
    """What a planner found at one tick."""

    places: list[TimestampedValue]
    """What is to be read."""
    watermark: Timestamp
    """What later ticks find is not older."""


class TickPlanner(Protocol):
    """Plans an unbounded input, as the only one in its process; it is kept from one tick to the next."""

    def tick(self, is_resumed: bool) -> Tick:
        """Plan what has come since the last tick.

        Args:
            is_resumed: this is the first tick, or the runner went back: give out again all that is not committed.
        """


class FollowTicks(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """What a planner gives out, read on all workers: ``batches`` and ``tallies`` of an unbounded run.

    Args:
        open_planner: makes the planner, on the worker.
        seconds: between two ticks.
        read: reads what the planner gives out.
    """

    def __init__(self, open_planner: Callable[[], TickPlanner], seconds: float, read: ReadSplit) -> None:
        super().__init__()
        self._plan = PlanTicks(open_planner, seconds)
        self._read = read

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        begin_streaming(pbegin)
        return pbegin | beam.Impulse() | "Plan" >> beam.ParDo(self._plan) | "Read" >> Read(self._read)


def begin_streaming(pbegin: beam.pvalue.PBegin) -> None:
    """Make the pipeline of an unbounded input a streaming one: not every runner infers it from the graph."""
    pbegin.pipeline.options.view_as(StandardOptions).streaming = True


class Ticks(RestrictionProvider):  # type: ignore[misc]
    """The restriction of an endless element: each tick is a position."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, 2**62)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return _TickTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: Any, restriction: OffsetRange) -> None:
        return None  # the pipeline is drained: plan no more


class _TickTracker(OffsetRestrictionTracker):  # type: ignore[misc]
    def is_bounded(self) -> bool:
        return False

    def try_split(self, fraction: float) -> Any:
        # A runner that rebalances work would halve the ticks, and two planners would take turns.
        return super().try_split(0) if fraction == 0 else None


class PlanTicks(beam.DoFn):  # type: ignore[misc]
    """Calls the planner at each tick.

    A tick that does not follow the last one of this process means that the runner began anew, or went back to an older
    checkpoint. A planner that failed is not used again: it may have planned what it did not give out.
    """

    _locks: ClassVar[dict[str, threading.Lock]] = {}
    _planners: ClassVar[dict[str, tuple[TickPlanner, int]]] = {}
    """With the tick that comes next."""

    def __init__(self, open_planner: Callable[[], TickPlanner], seconds: float) -> None:
        self._open_planner = open_planner
        self._seconds = seconds
        self._id = uuid.uuid4().hex  # the planner outlives the bundle, but not the pipeline

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(Ticks()),  # noqa: B008  # how Beam injects it
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[Any]:
        number, began = tracker.current_restriction().start, time.monotonic()
        if not tracker.try_claim(number):
            return
        tick = self._tick(number)
        current = watermark.current_watermark()
        if current is None or tick.watermark > current:
            watermark.set_watermark(tick.watermark)
        yield from tick.places
        # From start to start; but a tick that takes long leaves half of the time to others.
        wait = max(self._seconds - (time.monotonic() - began), self._seconds / 2)
        tracker.defer_remainder(Duration(seconds=wait))

    def _tick(self, number: int) -> Tick:
        with self._locks.setdefault(self._id, threading.Lock()):  # a publication must not hold up a planner
            planner, expected = self._planners.pop(self._id, (None, -1))
            planner = planner or self._open_planner()
            tick = planner.tick(is_resumed=number != expected)
            self._planners[self._id] = planner, number + 1
        return tick
