"""What is looked at: the lake, and topics. A look that fails leaves the result of the one before, and its age."""

import io
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.changes import PUBLICATION
from lake.faults import damaged, faults
from lake.merged_ledger import kafka_stream
from lake.storage import storage
from lake.watch import Watch
from messaging.kafka import Topic
from messaging.retry import Patience
from messaging.urls import KafkaUrl
from metrics.lake.latency import Times
from metrics.lake.totals import COLUMNS, Place, Totals
from schemas.errors import FINAL, LakeDamaged, PrestaCopError
from schemas.lake import MICROSECONDS, Dataset, Source
from terminal.logs import about

_LOG: Final = logging.getLogger(__name__)
_FRESH: Final = 3
"""A look is fresh for as long as so many take, with the pauses between them."""
_READS: Final = 8
"""Files read in parallel."""
_WHOLE_BYTES: Final = 1 << 20
"""A file up to this size is read in one request; of a larger one the part that is needed."""
_TOPIC_PATIENCE: Final = 10.0
_STREAMS: Final = (Source.DRONES, Source.IMAGES)
_SAMPLED: Final = 8
"""Units of a source of which a look reads times: however many are new."""
_SAMPLED_ROWS: Final = 1000
_PUBLISHED: Final = "published_at"
_EVENT: Final = "event_time"

Clock = Callable[[], float]


class Part(ABC):
    """Something that is looked at again and again.

    Args:
        every: seconds between two looks.
        clock: seconds since the epoch.
    """

    def __init__(self, name: str, every: float, clock: Clock = time.time) -> None:
        self.name = name
        self.looks = 0
        self.failures = 0
        self.duration = 0.0
        self._every = every
        self._clock = clock
        self._good_at: float | None = None
        self._failing = ""
        self._about: dict[str, object] = {}
        """The ``extra`` of its records of the log."""

    @abstractmethod
    def look(self) -> None:
        """Read what is new. Raises PrestaCopError, and then changes nothing."""

    def attempt(self) -> PrestaCopError | None:
        """Look; a failure is logged where it is not that of the look before. Gives the error that no retry fixes of a
        look before which none has succeeded."""
        began = self._clock()
        try:
            self.look()
        except PrestaCopError as error:
            self.failures += 1
            if self._good_at is None and isinstance(error, FINAL):
                return error
            if self._failing != str(error):
                text = "the look at %s failed, and is repeated every %g s: %s"
                _LOG.warning(text, self.name, self._every, error, extra=self._about)
            self._failing = str(error)
            return None
        self._good_at = self._clock()
        self.looks += 1
        self.duration = max(self._good_at - began, 0.0)
        if self._failing:
            _LOG.warning("the look at %s succeeds again", self.name, extra=self._about)
        self._failing = ""
        return None

    @property
    def age(self) -> float | None:
        """Seconds since the last successful look; None before the first one."""
        return None if self._good_at is None else max(self._clock() - self._good_at, 0.0)

    @property
    def is_fresh(self) -> bool:
        """Whether the last successful look is so young that nothing is wrong."""
        return self.age is not None and self.age <= _FRESH * (self._every + self.duration)


class LakePart(Part):
    """A lake."""

    def __init__(self, root: str, every: float, clock: Clock = time.time) -> None:
        super().__init__("lake", every, clock)
        self.totals = Totals()
        self.watch = Watch(root)

    def look(self) -> None:
        try:
            with faults(self.watch.root):
                self._look()
        except FileNotFoundError as error:
            raise LakeDamaged(f"{error}; run prestacop reconcile, and start the exporter again") from error
        except pa.ArrowException as error:
            raise damaged(error, self.watch.root) from error

    def _look(self) -> None:
        totals, root, is_first = self.totals.copy(), self.watch.root, self.watch.is_first
        letters: list[_File] = []
        recent: list[_Recent] = []
        publications: dict[float, list[str]] = {}

        def add_units(rows: pa.Table) -> None:
            totals.add_units(rows)
            if not is_first:
                letters.extend(_letters(rows))
                recent.extend(_recent(rows))

        def add_changes(rows: pa.Table) -> None:
            totals.add_changes(rows)
            if not is_first:
                published = rows.filter(pc.equal(rows["path"], PUBLICATION)).select(["committed_at", "units"])
                publications.update({row["committed_at"].timestamp(): row["units"] for row in published.to_pylist()})

        # What a watch has given counts as given from here on.
        watch = self.watch.copy()
        watch.look(add_units, add_changes, COLUMNS if is_first else [*COLUMNS, "files"])
        if is_first:
            newest = ((source, of) for source, of in totals.newest.items() if source in _STREAMS)
            found = (_Recent(s, of.unit, of.at, _files(s, watch.files_of(of.unit, s))) for s, of in newest)
            recent = [unit for unit in found if unit.files]
        sampled = [unit for source in _STREAMS for unit in _newest(recent, source)]
        with ThreadPoolExecutor(_READS) as pool:
            reasons = list(pool.map(partial(_reasons, root), letters))
            times = list(pool.map(partial(_times, root), sampled))
        for file, column in zip(letters, reasons, strict=True):
            totals.add_letters(file.source, column)
        for unit, found_times in zip(sampled, times, strict=True):
            if found_times is not None:
                totals.published[unit.source] = max(found_times.published, totals.published.get(unit.source, 0.0))
                if not is_first:
                    totals.latencies.add_committed(unit.source, unit.unit, unit.at, found_times.events)
        totals.latencies.add_published(publications)
        self.totals, self.watch = totals, watch


class _File(NamedTuple):
    source: str
    dataset: str
    path: str
    rows: int
    bytes: int


def _files(source: str, files: list[dict[str, Any]]) -> list[_File]:
    """Those of a unit that have rows of its input."""
    return [_File(source, **file) for file in files if file["dataset"] != Dataset.STATS]


def _letters(rows: pa.Table) -> list[_File]:
    """The files of dead letters."""
    found = rows.filter(pc.greater(rows[str(Dataset.DEAD_LETTERS)], 0)).select(["source", "files"]).to_pylist()
    files = (file for row in found for file in _files(row["source"], row["files"]))
    return [file for file in files if file.dataset == Dataset.DEAD_LETTERS]


class _Recent(NamedTuple):
    """A unit of a stream that was committed since the look before."""

    source: str
    unit: str
    at: float
    """When it was committed, in seconds since the epoch."""
    files: list[_File]


def _recent(rows: pa.Table) -> list[_Recent]:
    """Those that have files."""
    streams = rows.filter(pc.is_in(rows["source"], pa.array(_STREAMS))).select(
        ["source", "unit", "committed_at", "files"]
    )
    found = (
        _Recent(row["source"], row["unit"], row["committed_at"].timestamp(), _files(row["source"], row["files"]))
        for row in streams.to_pylist()
    )
    return [unit for unit in found if unit.files]


def _newest(units: list[_Recent], source: str) -> list[_Recent]:
    """The sample of a look, the oldest unit first."""
    return sorted((unit for unit in units if unit.source == source), key=lambda unit: unit.at)[-_SAMPLED:]


@contextmanager
def _opened(root: str, file: _File) -> Iterator[pq.ParquetFile]:
    """A file of the lake: a small one is read in one request."""
    store = storage(root)
    if file.bytes <= _WHOLE_BYTES:
        yield pq.ParquetFile(io.BytesIO(store.read(file.path)))
        return
    with store.filesystem.open_input_file(store.full(file.path)) as opened:
        yield pq.ParquetFile(opened)


def _reasons(root: str, file: _File) -> pa.ChunkedArray:
    try:
        with _opened(root, file) as parquet:
            return parquet.read(["reason"])["reason"]
    except FileNotFoundError:  # a publication has replaced it since rows were forgotten, and deleted it
        return pa.chunked_array([pa.nulls(file.rows, pa.string())])


class _Times(NamedTuple):
    """Of messages, in seconds since the epoch."""

    published: float
    """When the newest of them was published."""
    events: Times
    """When events of some of them happened."""


def _times(root: str, unit: _Recent) -> _Times | None:
    """Of the largest file of a unit; None of a recording, whose messages were published to no topic."""
    try:
        with _opened(root, max(unit.files, key=lambda file: file.rows)) as parquet:
            wanted = {_PUBLISHED, _EVENT} & {*parquet.schema_arrow.names}
            rows = parquet.read(sorted(wanted))
    except FileNotFoundError:  # a compaction has replaced it, and a vacuum has removed it
        return None
    newest = pc.max(rows[_PUBLISHED]).as_py() if _PUBLISHED in wanted else None
    if newest is None:
        return None
    events = rows[_EVENT] if _EVENT in wanted else pa.chunked_array([], pa.timestamp("us", "UTC"))
    some = events.take(pa.array(range(0, len(events), max(1, len(events) // _SAMPLED_ROWS))))
    return _Times(newest.timestamp(), some.cast(pa.int64()).to_numpy() / MICROSECONDS)


class Ends(NamedTuple):
    """Of a topic, by partition."""

    stream: str
    firsts: dict[int, int]
    ends: dict[int, int]


class Stall:
    """For how long messages have waited while nothing was committed.

    It begins again after a pause without looks that succeeded, since nothing is known of that time.

    Args:
        pause: seconds.
    """

    def __init__(self, pause: float) -> None:
        self.seconds = 0.0
        self._pause = pause
        self._since = self._at = 0.0
        self._units: int | None = None
        """At the last look; None where no message waited."""

    def note(self, at: float, units: int, waits: bool) -> None:
        """What a look has found then: the number of committed units, and whether messages wait."""
        now = units if waits else None
        if now is None or now != self._units or at - self._at > self._pause:
            self._since = at
        self._at, self._units = at, now
        self.seconds = at - self._since


class TopicPart(Part):
    """The topic of a source.

    Args:
        lake: whose committed offsets are written to the consumer group after each look.
        group: its name; None for no group.
    """

    def __init__(
        self, url: KafkaUrl, source: str, lake: LakePart, group: str | None, every: float, clock: Clock = time.time
    ) -> None:
        """Raises OptionsRefused."""
        super().__init__(source, every, clock)
        self.source = source
        self._about = about(source)
        self.found = Ends("", {}, {})
        self.stall = Stall(_FRESH * every + _TOPIC_PATIENCE)
        self._lake = lake
        self._group = group
        self._written: dict[int, int] = {}
        self._topic = Topic(url, Patience(_TOPIC_PATIENCE), committed=True)

    def look(self) -> None:
        stream = kafka_stream(self.source, self._topic.identity())
        partitions = self._topic.partitions()  # once: more may be added meanwhile
        self.found = Ends(stream, self._topic.firsts(partitions), self._topic.ends(partitions))
        self.note()
        offsets = {partition: place.next for partition, place in self._places().items()}
        if self._group and offsets and offsets != self._written:
            self._topic.commit_offsets(self._group, offsets)
            self._written = offsets

    def note(self) -> None:
        """Note whether the pipeline makes progress; after each look, while what is known of the lake is fresh."""
        if self._lake.is_fresh:
            self.stall.note(self._clock(), self._lake.totals.units[self.source], any(self.behind().values()))

    def _places(self) -> dict[int, Place]:
        """By partition the committed offsets; none of a partition without units."""
        stream, places = self.found.stream, self._lake.totals.places
        found = ((partition, places.get(f"{stream}-{partition:05d}")) for partition in self.found.ends)
        return {partition: place for partition, place in found if place}

    def behind(self) -> dict[int, int]:
        """By partition, how many messages no committed unit has."""
        starts = self.found.firsts | {partition: place.next for partition, place in self._places().items()}
        # The lake may have been looked at later than the ends.
        return {partition: max(end - starts[partition], 0) for partition, end in self.found.ends.items()}
