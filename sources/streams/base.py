"""Topics as inputs: a planner that agrees on units of work with the storage, and readers of what was planned.

A bounded run plans everything up to now and reads it. An unbounded run plans at each tick (:mod:`sources.ticks`).
What is planned and what is committed is in the lake, so a runner may repeat a step or lose its state at will.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from lake.format import check
from lake.ledger import chains, is_committed
from lake.merged_ledger import chain_of, stream_of
from schemas.errors import InputUnusable
from schemas.lake import MICROSECONDS, ROWS_IN
from sources.input import Input, Preview, Split
from sources.progress import Lag, progress
from sources.reading import ReadSplit
from sources.ticks import FollowTicks, Tick
from sources.units import PART_BYTES, Parts, Tally, Unit, UnitBatch, UnitItem

MAX_OUTSTANDING = 16
"""Units that are planned and not committed, unless a topic has more partitions: more would only wait, and be read again
after a crash."""
TICK_SECONDS = 1.0
"""Between two polls of a topic: a shorter time makes smaller units and more files, a longer one later statistics."""
MESSAGE_BYTES = 300
"""The size of a message in a progress bar, before it is known."""


class PlannedUnit(NamedTuple):
    """A unit of a stream."""

    unit: Unit
    since: int
    """No message of it was published before this time, in microseconds since the epoch; 0 if unknown."""


class Polled(NamedTuple):
    """What a planner found."""

    units: list[PlannedUnit]
    """New ones."""
    until: int
    """What will be planned later was published after this time, in microseconds since the epoch."""
    behind: int
    """How many messages are there that are not planned yet."""


class Planner(ABC):
    """Plans the units of one stream, as the only one in its process."""

    @abstractmethod
    def resume(self) -> list[PlannedUnit]:
        """The units that were planned, by whatever run, and are not committed."""

    @abstractmethod
    def poll(self, room: int) -> Polled:
        """Plan what has come meanwhile, at most ``room`` units."""

    def most(self) -> int:
        """How many may be planned and not committed."""
        return MAX_OUTSTANDING

    @abstractmethod
    def outstanding(self) -> int:
        """How many units are planned and not committed."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was pulled and not planned."""


class Stream(Input):
    """A topic of payloads."""

    @property
    @abstractmethod
    def path(self) -> str:
        """Its name in messages and in the lake."""

    @abstractmethod
    def planner(self, root: str) -> Planner:
        """A planner for the lake at ``root``. Raises InputUnusable, ServiceUnavailable."""

    @abstractmethod
    def waiting(self, root: str) -> str:
        """What there is to read, for people; nothing is planned, nothing is acknowledged."""

    @abstractmethod
    def everything(self, root: str) -> list[Unit]:
        """All that is there now and was not forgotten, in units of a few MiB or so."""

    @abstractmethod
    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        """The payloads of a planned unit, at least one batch, if an empty one.

        Raises FileNotFoundError where the lake does not have it any more: another run has committed and removed it.
        """

    @abstractmethod
    def forget(self, units: Iterable[Unit], root: str) -> None:
        """Leave these of :meth:`everything` out from now on, and what is before them in their path."""

    def plan(self, root: str) -> list[Split]:
        """All units from the last committed offset up to now."""
        return [Split(unit, (unit.end - unit.start) * MESSAGE_BYTES) for unit in plan_until_now(self, root)]

    def reader(self, root: str) -> ReadSplit:
        return partial(read_unit, stream=self, root=root)

    def follow(self, root: str, skew: float) -> beam.PTransform:
        self.check(root)
        return FollowTicks(partial(StreamTicks, self, root, skew), TICK_SECONDS, self.reader(root))

    def check(self, root: str) -> None:
        """Find what is wrong with the topic before the pipeline starts: one error, and not one of each worker.

        Raises InputUnusable, ServiceUnavailable.
        """
        self.planner(root).close()

    def preview(self, root: str) -> Preview:
        return Preview([f"{self.source:8} {self.waiting(root)}"])

    def is_in_lake(self, splits: Iterable[Split], root: str) -> bool:
        streams = {stream_of(chain_of(split.place.name)) for split in splits}
        return not streams.isdisjoint(map(stream_of, chains(root)))


def plan_until_now(stream: Stream, root: str) -> list[Unit]:
    """All units of a stream from the last committed offset up to now."""
    planner = stream.planner(root)
    now = time.time() * MICROSECONDS
    found = planner.resume()
    until = 0
    while until < now:
        polled = planner.poll(room=sys.maxsize)
        found += polled.units
        until = polled.until
    planner.close()
    return [unit for unit, _ in found]


def read_unit(unit: Unit, stream: Stream, root: str) -> Iterator[UnitItem]:
    """The batches of a unit that the ledger does not have yet, then the number of its rows."""
    if is_committed(root, unit.source, unit.name):
        Metrics.counter("source", "units_already_there").inc()
        return
    rows, size = 0, 0
    parts, part = Parts(PART_BYTES), 0
    previous: pa.RecordBatch | None = None
    try:
        for batch in stream.payloads(unit, root):
            if previous is not None:
                yield UnitBatch(unit, previous, last=False, part=part)
            previous = batch
            payload_bytes = pc.sum(pc.binary_length(batch["payload"])).as_py() or 0
            part = parts.of(batch.num_rows, payload_bytes)
            rows += batch.num_rows
            size += payload_bytes
            progress.came(unit.source, batch.num_rows, payload_bytes)
            progress.advance(batch.num_rows * MESSAGE_BYTES)
    except FileNotFoundError as error:
        if previous is None and is_committed(root, unit.source, unit.name):
            Metrics.counter("source", "units_already_there").inc()
            return
        raise InputUnusable(
            f"{unit.path}: {unit.name} is gone from the spool in {root}, and its rows are not in the lake. Somebody "
            "removed it, or a rule of the bucket (prestacop topics --keep-spool): put it back from a copy"
        ) from error
    if previous is None:
        raise RuntimeError(f"{stream} gave no batch for {unit}")
    yield UnitBatch(unit, previous, last=True, part=part)
    Metrics.counter("source", "bytes_in").inc(size)
    yield unit.name, Tally(ROWS_IN, rows, unit=unit)


class StreamTicks:
    """The :class:`~sources.ticks.TickPlanner` of a stream."""

    def __init__(self, stream: Stream, root: str, skew: float) -> None:
        check(root)
        self._source = stream.source
        self._planner = stream.planner(root)
        self._skew = round(skew * MICROSECONDS)

    def tick(self, is_resumed: bool) -> Tick:
        units = self._planner.resume() if is_resumed else []
        polled = self._planner.poll(max(self._planner.most() - self._planner.outstanding(), 0))
        units += polled.units
        lag = Lag(polled.behind, polled.until / MICROSECONDS, self._planner.outstanding())
        Metrics.gauge("source", f"{self._source}_behind").set(polled.behind)
        Metrics.gauge("source", f"{self._source}_watermark_lag_ms").set(round(lag.seconds * 1000))
        progress.lags(self._source, lag)
        return Tick([TimestampedValue(unit, self._time(since)) for unit, since in units], self._time(polled.until))

    def _time(self, micros: int) -> Timestamp:
        return Timestamp(micros=micros - self._skew)
