"""Watch drones: samples are collected in Beam's state, and a timer of event time finds the events in them.

All samples have one key, so that a silent drone is told from a silent topic; there are few of them, 200 a second of a
thousand drones. The watermark follows the times of publication: when it passes a moment, all messages that were
published until then are there, and what is settled then is settled for ever (:mod:`transforms.health.detect`).
"""

import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.coders import BooleanCoder, BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    ReadModifyWriteStateSpec,
    RuntimeState,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from schemas.lake import MICROSECONDS
from sources.units import UnitBatch
from transforms.health.detect import NEVER, detect, is_pending, settled_before
from transforms.health.samples import MESSAGE, NEEDED, NO_SAMPLES, SAMPLE, pictures_of, published_at, samples_of

KEY: Final = 0
EVERY: Final = 10 * MICROSECONDS
"""How often an unbounded run looks for events, in event time."""
SAVE_EVERY: Final = 60 * MICROSECONDS
"""How often it saves its state in the lake: after a crash it reads at most what was committed in about two minutes."""
AT_ONCE: Final = 200_000
"""Rows of a unit that wait for its end."""
SHOW_EVERY: Final = 30 * MICROSECONDS
"""How often the live statistics get the last message of each drone."""
MARGIN: Final = 60 * MICROSECONDS
"""Clocks of brokers and workers differ by less."""


class Memory(NamedTuple):
    """What was seen of the drones: the state of the watch, which the lake keeps, too."""

    until: int
    """Events were found in what was published until then, in microseconds since the epoch."""
    since: int
    """Units that were committed before then have all their samples in it; microseconds since the epoch."""
    samples: pa.Table

    def encode(self) -> bytes:
        """As Arrow IPC."""
        head = {"until": str(self.until), "since": str(self.since)}
        return _encode(self.samples.replace_schema_metadata(head))


NOTHING: Final = Memory(NEVER, NEVER, NO_SAMPLES)


class Found(NamedTuple):
    """What the watch gives."""

    events: pa.RecordBatch
    """Rows of :data:`schemas.lake.DRONE_EVENT`, without ``unit``."""
    memory: bytes | None
    """The state to save once the events are in the lake; None where it was saved a moment ago."""
    fleet: str | None
    """A line of the live statistics: the last message of each drone; None where the last line is not old."""


def decode(data: bytes) -> Memory:
    """The memory in bytes of :meth:`Memory.encode`; one that only has samples knows no times."""
    with pa.ipc.open_stream(data) as reader:
        table = reader.read_all()
    head = table.schema.metadata or {}
    until, since = (int(head.get(name, NEVER)) for name in (b"until", b"since"))
    return Memory(until, since, table.replace_schema_metadata(None).cast(SAMPLE))


_PACKED: Final = pa.ipc.IpcWriteOptions(compression="zstd")
"""Times, places and names of one drone follow one another: a fifth of the bytes."""


def _encode(samples: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, samples.schema, options=_PACKED) as writer:
        writer.write_table(samples)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def encode_samples(samples: pa.Table) -> tuple[int, bytes]:
    """Samples as an element of the graph."""
    return KEY, _encode(samples)


class Sample(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    """The samples of a unit, as one element; of a long one as several."""

    def __init__(self, with_violations: bool = False, of_pictures: bool = False) -> None:
        self._sample = pictures_of if of_pictures else partial(samples_of, with_violations=with_violations)

    def start_bundle(self) -> None:
        self._batches: list[pa.RecordBatch] = []

    def process(self, batch: UnitBatch) -> Iterator[tuple[int, bytes]]:
        names = [name for name in batch.rows.schema.names if name in NEEDED]
        self._batches.append(batch.rows.select(names))
        if batch.last or sum(rows.num_rows for rows in self._batches) >= AT_ONCE:
            rows, self._batches = pa.Table.from_batches(self._batches).unify_dictionaries(), []
            if (samples := self._sample(rows)).num_rows:
                yield encode_samples(samples)


class _Watch(beam.DoFn):  # type: ignore[misc]
    NEW = BagStateSpec("new", BytesCoder())
    MEMORY = ReadModifyWriteStateSpec("memory", BytesCoder())
    ARMED = ReadModifyWriteStateSpec("armed", BooleanCoder())
    LOOK = TimerSpec("look", TimeDomain.WATERMARK)

    def __init__(self, bounded: bool) -> None:
        self._bounded = bounded

    def process(
        self,
        element: tuple[int, bytes],
        new: BagRuntimeState = beam.DoFn.StateParam(NEW),  # noqa: B008  # how Beam injects state
        armed: RuntimeState = beam.DoFn.StateParam(ARMED),  # noqa: B008
        look: RuntimeTimer = beam.DoFn.TimerParam(LOOK),  # noqa: B008
    ) -> None:
        new.add(element[1])
        if armed.read():
            return
        armed.write(True)
        if self._bounded:  # the watermark says nothing before the input ends
            look.set(GlobalWindow().max_timestamp())
        else:
            look.set(_next(_last(decode(element[1]).samples)))

    @on_timer(LOOK)  # type: ignore[untyped-decorator]
    def look(
        self,
        timestamp: Timestamp = beam.DoFn.TimestampParam,
        new: BagRuntimeState = beam.DoFn.StateParam(NEW),  # noqa: B008
        memory: RuntimeState = beam.DoFn.StateParam(MEMORY),  # noqa: B008
        armed: RuntimeState = beam.DoFn.StateParam(ARMED),  # noqa: B008
        look: RuntimeTimer = beam.DoFn.TimerParam(LOOK),  # noqa: B008
    ) -> Iterator[Found]:
        before = merge([decode(data) for data in ([memory.read()] if memory.read() else []) + list(new.read())])
        until = max(_last(before.samples) if self._bounded else int(timestamp.micros), before.until)
        found = detect(before.samples, before.until, until)
        is_due = until - before.since - MARGIN >= SAVE_EVERY
        seen = time.time_ns() // 1000 if self._bounded else until
        since = max(seen - MARGIN, before.since) if is_due or self._bounded else before.since
        after = Memory(until, since, found.kept)
        new.clear()
        memory.write(after.encode())
        if is_pending(found.kept, until) and not self._bounded:
            look.set(_next(until))
        else:
            armed.clear()
        save = is_due or self._bounded
        show = self._bounded or until // SHOW_EVERY != before.until // SHOW_EVERY
        if found.events.num_rows or save or show:
            line = fleet_line(before.samples) if show else None
            yield Found(found.events, after.encode() if save else None, line)


def merge(parts: Iterable[Memory]) -> Memory:
    """The memory of all these: that of the latest of them, and what the others have that is not settled by then."""
    parts = list(parts)
    until, since = max(part.until for part in parts), max(part.since for part in parts)
    latest = next(part for part in parts if part.until == until)
    samples = [part.samples if part is latest else settled_before(part.samples, until) for part in parts]
    return Memory(until, since, pa.concat_tables(samples))


def fleet_line(samples: pa.Table) -> str:
    """The last message of each drone, as JSON: id, time of publication, battery, latitude, longitude and altitude."""
    messages = samples.filter(pc.equal(samples["role"], MESSAGE))
    messages = messages.append_column("published", pa.array(published_at(messages))).sort_by("published")
    names = [name for name in _SHOWN if name != "drone_id"]
    last = pa.TableGroupBy(messages, "drone_id", use_threads=False).aggregate([(name, "last") for name in names])
    rows = last.select(["drone_id", *(f"{name}_last" for name in names)]).to_pylist()
    drones = [[name, at / MICROSECONDS, *rest] for name, at, *rest in (row.values() for row in rows)]
    return json.dumps({"drones": drones}, separators=(",", ":"))


_SHOWN: Final = ("drone_id", "published", "battery_pct", "latitude", "longitude", "altitude_m")


def _last(samples: pa.Table) -> int:
    """When the last of them was published."""
    return int(published_at(samples).max(initial=NEVER))


def _next(micros: int) -> Timestamp:
    return Timestamp(micros=(micros // EVERY + 1) * EVERY)


class WatchDrones(beam.PTransform):  # type: ignore[misc]
    """Samples, and at a start what the lake remembers of them -> :class:`Found`."""

    def __init__(self, bounded: bool) -> None:
        super().__init__()
        self._bounded = bounded

    def expand(self, samples: beam.PCollection) -> beam.PCollection:
        return samples | "Find events" >> beam.ParDo(_Watch(self._bounded))
