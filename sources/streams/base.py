"""Live sources: a planner that agrees on units of work with the storage, and readers of what was planned.

Bounded, the command plans everything up to now and the graph reads it. Unbounded, the planner is one endless element
that looks for more once a second; what it plans is spread over all workers and read there. The planner reads no
payload, so one element is enough for a topic of any width, and a runner may repeat or lose its state at will: what is
planned and what is committed stands in the lake.
"""

import sys
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from lake.ledger import is_committed
from schemas.errors import InputUnusable
from schemas.lake import MICROSECONDS, Source
from sources.progress import Lag, progress
from sources.reading import Read
from sources.units import PART_BYTES, ROWS_IN, Parts, Tally, Unit, UnitBatch, UnitTally

MAX_OUTSTANDING = 16
"""Units that are planned and not committed, unless a topic has more partitions; more would only wait, and be read again
after a crash."""
TICK_SECONDS = 1.0
"""Between two looks: a shorter time makes smaller units and more files, a longer one later statistics."""
MESSAGE_BYTES = 300
"""What a message is taken for by a progress bar, before its size is known."""


class PlannedUnit(NamedTuple):
    """A unit of a stream."""

    unit: Unit
    since: int
    """No message of it was published before this time, in microseconds since the epoch; 0 if unknown."""


class Look(NamedTuple):
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
        """The units that were planned, by whomever, and are not committed."""

    @abstractmethod
    def look(self, room: int) -> Look:
        """Plan what has come meanwhile, at most ``room`` units."""

    def most(self) -> int:
        """How many may be planned and not committed."""
        return MAX_OUTSTANDING

    @abstractmethod
    def outstanding(self) -> int:
        """How many units are planned and not committed."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was taken and not planned."""


class Stream(ABC):
    """A live source of payloads."""

    source: Source

    @property
    @abstractmethod
    def path(self) -> str:
        """What people call it."""

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

        Raises FileNotFoundError where the lake does not hold it any more: another run has committed and removed it.
        """

    @abstractmethod
    def forget(self, units: Iterable[Unit], root: str) -> None:
        """Give these of :meth:`everything` no more, nor what is before them in their path."""

    def tidy(self, root: str) -> None:  # noqa: B027  # not every stream leaves something
        """Remove what the lake holds of units only until they are committed."""


def plan_until_now(stream: Stream, root: str) -> list[Unit]:
    """All units of a stream from where the lake ends up to now."""
    planner = stream.planner(root)
    now = time.time() * MICROSECONDS
    found = planner.resume()
    until = 0
    while until < now:
        look = planner.look(room=sys.maxsize)
        found += look.units
        until = look.until
    planner.close()
    return [unit for unit, _ in found]


def read_unit(unit: Unit, stream: Stream, root: str) -> Iterator[UnitBatch | UnitTally]:
    """The batches of a unit that the ledger does not have yet, then its rows in."""
    if is_committed(root, unit.source, unit.name):
        Metrics.counter("source", "units_already_there").inc()
        return
    rows, size = 0, 0
    parts, part = Parts(PART_BYTES), 0
    held: pa.RecordBatch | None = None
    try:
        for batch in stream.payloads(unit, root):
            if held is not None:
                yield UnitBatch(unit, held, last=False, part=part)
            held = batch
            payload_bytes = pc.sum(pc.binary_length(batch["payload"])).as_py() or 0
            part = parts.of(batch.num_rows, payload_bytes)
            rows += batch.num_rows
            size += payload_bytes
            progress.came(unit.source, batch.num_rows, payload_bytes)
            progress.advance(batch.num_rows * MESSAGE_BYTES)
    except FileNotFoundError as error:
        if held is None and is_committed(root, unit.source, unit.name):
            Metrics.counter("source", "units_already_there").inc()
            return
        raise InputUnusable(
            f"{unit.path}: {unit.name} is gone from the spool in {root}, and its rows are not in the lake. Somebody "
            "removed it, or a rule of the bucket (prestacop topics --keep-spool): put it back from a copy"
        ) from error
    if held is None:
        raise RuntimeError(f"{stream} gave no batch for {unit}")
    yield UnitBatch(unit, held, last=True, part=part)
    Metrics.counter("source", "bytes_in").inc(size)
    yield unit.name, Tally(ROWS_IN, rows, unit=unit)


class ReadUnits(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Units that are planned already -> ``batches`` and ``tallies``."""

    def __init__(self, units: Iterable[Unit], stream: Stream, root: str) -> None:
        super().__init__()
        self._units = list(units)
        self._reader = _Reader(stream, root)

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        return pbegin | "Plan" >> beam.Create(self._units, reshuffle=False) | "Units" >> Read(self._reader)


class FollowStream(beam.PTransform):  # type: ignore[misc]
    """A stream without end -> ``batches`` and ``tallies``.

    Args:
        skew: seconds by which the watermark stays behind the publish times: how late an event may come in time.
    """

    def __init__(self, stream: Stream, root: str, skew: float) -> None:
        super().__init__()
        self._stream = stream
        self._root = root
        self._skew = skew

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        return (
            pbegin
            | beam.Impulse()
            | "Plan" >> beam.ParDo(_Plan(self._stream, self._root, self._skew)).with_output_types(Unit)
            | "Units" >> Read(_Reader(self._stream, self._root))
        )


class _Reader:
    def __init__(self, stream: Stream, root: str) -> None:
        self._stream = stream
        self._root = root

    def __call__(self, unit: Unit) -> Iterator[UnitBatch | UnitTally]:
        return read_unit(unit, self._stream, self._root)


class Ticks(RestrictionProvider):  # type: ignore[misc]
    """An endless element: each tick is a position."""

    def initial_restriction(self, element: Any) -> OffsetRange:
        return OffsetRange(0, 2**62)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return _TickTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: Any, restriction: OffsetRange) -> None:
        return None  # drained: plan no more


class _TickTracker(OffsetRestrictionTracker):  # type: ignore[misc]
    def is_bounded(self) -> bool:
        return False

    def try_split(self, fraction: float) -> Any:
        # A runner that looks for work to share would halve the ticks, and two would plan in turns.
        return super().try_split(0) if fraction == 0 else None


class _Plan(beam.DoFn):  # type: ignore[misc]
    """Each tick is a position of the restriction: one that does not follow the last one of this process was begun anew
    from an older checkpoint, and then all that is not committed is given out again."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _planners: ClassVar[dict[str, tuple[Planner, int]]] = {}

    def __init__(self, stream: Stream, root: str, skew: float) -> None:
        self._stream = stream
        self._root = root
        self._skew = round(skew * MICROSECONDS)
        self._id = uuid.uuid4().hex  # the planner outlives the bundle, and not the pipeline

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: bytes,
        tracker: Any = beam.DoFn.RestrictionParam(Ticks()),  # noqa: B008  # how Beam injects it
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[Any]:
        tick = tracker.current_restriction().start
        if not tracker.try_claim(tick):
            return
        for unit, since in self._tick(tick, watermark):
            yield TimestampedValue(unit, Timestamp(micros=since - self._skew))
        tracker.defer_remainder(Duration(seconds=TICK_SECONDS))

    def _tick(self, tick: int, watermark: Any) -> list[PlannedUnit]:
        with self._lock:
            # A planner that failed half-way has planned what it did not give out; it is not asked again.
            planner, expected = self._planners.pop(self._id, (None, -1))
            units: list[PlannedUnit] = []
            if planner is None:
                planner = self._stream.planner(self._root)
            if tick != expected:
                units += planner.resume()
            look = planner.look(max(planner.most() - planner.outstanding(), 0))
            outstanding = planner.outstanding()
            self._planners[self._id] = planner, tick + 1
        current = watermark.current_watermark()
        until = Timestamp(micros=look.until - self._skew)
        if current is None or until > current:
            watermark.set_watermark(until)
        lag = time.time() - look.until / MICROSECONDS
        Metrics.gauge("source", f"{self._stream.source}_behind").set(look.behind)
        Metrics.gauge("source", f"{self._stream.source}_watermark_lag_ms").set(round(lag * 1000))
        progress.lags(self._stream.source, Lag(look.behind, look.until / MICROSECONDS, outstanding))
        return units + look.units
