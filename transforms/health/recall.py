"""What the lake remembers of drones, for a run that starts without Beam's state, or goes back to an older one.

The memory is one file of an input in ``health/``. It is older than the lake by a minute or two: the rows of the units
that were committed since are read again. That some come twice does not matter (:mod:`transforms.health.detect`).
"""

import time
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import Final

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from lake.changes import writer_of
from lake.files import parquet_dataset
from lake.reader import Lake
from lake.storage import storage
from schemas.lake import BRANCHES, HEALTH, MICROSECONDS, UTC, Dataset, Source
from sources.ticks import PlanTicks, Tick, begin_streaming
from sources.units import TOPICS
from transforms.health.detect import NEVER
from transforms.health.samples import NEEDED, NO_SAMPLES, pictures_of, samples_of
from transforms.health.watch import KEY, Memory, decode

FIRST_SECONDS: Final = 3600
"""An unbounded run saves a memory some seconds after its first message, a bounded one at its end. A lake of an earlier
version has none: its older messages are not judged."""
_VERSION: Final = 2
"""Of what is kept in a memory; that of another version is not read."""
TICK_SECONDS: Final = 1.0
"""The watermark of the watch is at most so far behind that of the messages."""


def memory_path(name: str) -> str:
    """The path below the lake's root of what is remembered of an input."""
    return f"{HEALTH}/{blake2b(name.encode(), digest_size=16).hexdigest()}-{_VERSION}.arrow"


def recalled(root: str, name: str, with_pictures: bool) -> Memory:
    """The memory of an input, with the samples of the units that were committed since.

    Without a memory those of the last :data:`FIRST_SECONDS` count: perhaps a first run was killed.
    """
    try:
        memory = decode(storage(root).read(memory_path(name)))
    except FileNotFoundError:
        memory = Memory(NEVER, time.time_ns() // 1000 - FIRST_SECONDS * MICROSECONDS, NO_SAMPLES)
    lk = Lake(root)
    late = pc.field("committed_at") >= pa.scalar(memory.since, pa.int64()).cast(UTC)
    columns = ["unit", "source", "path"]
    units = [rows.filter(late).select(columns) for rows in (lk.pending, lk.tail)]
    units.append(lk.merged.all_units().to_table(columns=columns, filter=late))
    ours = [row["unit"] for row in pa.concat_tables(units).to_pylist() if _is_of(row, name)]
    # A change can have taken rows of these units into files of its own.
    changes = pa.concat_tables([lk.merged.changes_in_order(late), lk.recent])["unit"].to_pylist()
    samples = [memory.samples]
    for dataset in (*BRANCHES, *((Dataset.IMAGES,) if with_pictures else ())) if ours else ():
        writers = {*ours, *changes}
        paths = [path for path in lk.files(dataset) if writer_of(path) in writers]
        samples.append(_samples(root, dataset, paths, ours, with_pictures))
    return memory._replace(samples=pa.concat_tables(samples))


def _is_of(row: dict[str, str], name: str) -> bool:
    """Whether a unit is one of the input; of files, which may be given by a pattern, those of other runs are, too."""
    if row["source"] == Source.IMAGES:
        return True
    if name.startswith(TOPICS):
        return row["source"] == Source.DRONES and f"{row['path']}/".startswith(f"{name}/")
    return row["source"] == Source.DRONES and not row["path"].startswith(TOPICS)


def _samples(root: str, dataset: Dataset, paths: list[str], units: list[str], with_pictures: bool) -> pa.Table:
    rows = parquet_dataset(root, dataset, paths)
    columns = [name for name in rows.schema.names if name in NEEDED]
    table = rows.to_table(columns=columns, filter=pc.field("unit").isin(units)).unify_dictionaries()
    return pictures_of(table) if dataset == Dataset.IMAGES else samples_of(table, with_pictures)


class _Recaller:
    """A :class:`~sources.ticks.TickPlanner` that gives out the input's name where the runner has lost its state."""

    def __init__(self, name: str) -> None:
        self._name = name

    def tick(self, is_resumed: bool) -> Tick:
        now = Timestamp.now()
        return Tick([TimestampedValue(self._name, now)] if is_resumed else [], now)


class _Recall(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, root: str, with_pictures: bool) -> None:
        self._root, self._with_pictures = root, with_pictures

    def process(self, name: str) -> Iterator[tuple[int, bytes]]:
        yield KEY, recalled(self._root, name, self._with_pictures).encode()


class Recall(beam.PTransform):  # type: ignore[misc]
    """What the lake remembers of an input: an element for :class:`transforms.health.watch.WatchDrones`.

    Its watermark holds back the watch until it is there.
    """

    def __init__(self, root: str, name: str, bounded: bool, with_pictures: bool) -> None:
        super().__init__()
        self._root, self._name, self._bounded, self._with_pictures = root, name, bounded, with_pictures

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        if self._bounded:
            names = pbegin | beam.Create([self._name], reshuffle=False)
        else:
            begin_streaming(pbegin)
            ticks = PlanTicks(partial(_Recaller, self._name), TICK_SECONDS)
            names = pbegin | beam.Impulse() | "Look" >> beam.ParDo(ticks)
        return names | "Recall" >> beam.ParDo(_Recall(self._root, self._with_pictures)).with_output_types(
            tuple[int, bytes]
        )
