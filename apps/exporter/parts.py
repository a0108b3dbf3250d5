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

from lake.faults import damaged, faults
from lake.merged_ledger import kafka_stream
from lake.storage import storage
from lake.watch import Watch
from messaging.kafka import Topic
from messaging.retry import Patience
from messaging.urls import KafkaUrl
from schemas.errors import FINAL, LakeDamaged, PrestaCopError
from schemas.lake import Dataset

from .totals import COLUMNS, Place, Totals, seconds

_LOG: Final = logging.getLogger(__name__)
_FRESH: Final = 3
"""A look is fresh for as long as so many take, with the pauses between them."""
_READS: Final = 8
"""Files read in parallel."""
_WHOLE_BYTES: Final = 1 << 20
"""A file up to this size is read in one request; of a larger one the part that is needed."""
_TOPIC_PATIENCE: Final = 10.0
_PUBLISHED: Final = "published_at"

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

    @abstractmethod
    def look(self) -> None:
        """Read what is new. Raises PrestaCopError, and then changes nothing."""

    def attempt(self) -> None:
        """Look; a failure is logged where it is not that of the look before.

        Raises the error of a first look that no retry fixes.
        """
        began = self._clock()
        try:
            self.look()
        except PrestaCopError as error:
            self.failures += 1
            if self._good_at is None and isinstance(error, FINAL):
                raise
            if self._failing != str(error):
                _LOG.warning("the look at %s failed, and is repeated every %g s: %s", self.name, self._every, error)
            self._failing = str(error)
            return
        self._good_at = self._clock()
        self.looks += 1
        self.duration = max(self._good_at - began, 0.0)
        if self._failing:
            _LOG.warning("the look at %s succeeds again", self.name)
        self._failing = ""

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
        totals, root = self.totals.copy(), self.watch.root
        letters: list[_File] = []
        newest: dict[str, list[_File]] = {}

        def add_units(rows: pa.Table) -> None:
            totals.add_units(rows)
            if "files" in rows.column_names:
                letters.extend(_letters(rows))
                newest.update(_newest(rows, totals))

        columns = COLUMNS if self.watch.is_first else [*COLUMNS, "files"]
        # What a watch has given counts as given from here on.
        watch = self.watch.copy()
        watch.look(add_units, totals.add_changes, columns)
        if self.watch.is_first:
            newest = {s: _files(s, watch.files_of(of.unit, s)) for s, of in totals.newest.items()}
        with ThreadPoolExecutor(_READS) as pool:
            reasons = list(pool.map(partial(_reasons, root), letters))
        for file, column in zip(letters, reasons, strict=True):
            totals.add_letters(file.source, column)
        for source, files in newest.items():
            at = _published(root, max(files, key=lambda file: file.rows)) if files else None
            totals.published[source] = max(at or 0.0, totals.published.get(source, 0.0))
        totals.published = {source: at for source, at in totals.published.items() if at}
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


def _newest(rows: pa.Table, totals: Totals) -> dict[str, list[_File]]:
    """By source the files of the last unit, if it is among these rows."""
    names = pa.array([newest.unit for newest in totals.newest.values()], pa.string())
    found = rows.filter(pc.is_in(rows["unit"], names)).select(["source", "files"]).to_pylist()
    return {row["source"]: _files(row["source"], row["files"]) for row in found}


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


def _published(root: str, file: _File) -> float | None:
    """When the newest message of a file was published: its footer has it."""
    try:
        with _opened(root, file) as parquet:
            metadata = parquet.metadata
    except FileNotFoundError:  # a compaction has replaced it, and a vacuum has removed it
        return None
    if _PUBLISHED not in metadata.schema.names:
        return None
    place = metadata.schema.names.index(_PUBLISHED)
    groups = [metadata.row_group(n).column(place).statistics for n in range(metadata.num_row_groups)]
    return max((seconds(group.max) for group in groups if group is not None and group.has_min_max), default=None)


class Ends(NamedTuple):
    """Of a topic, by partition."""

    stream: str
    firsts: dict[int, int]
    ends: dict[int, int]


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
        self.found: Ends | None = None
        self._lake = lake
        self._group = group
        self._written: dict[int, int] = {}
        self._topic = Topic(url, Patience(_TOPIC_PATIENCE), committed=True)

    def look(self) -> None:
        stream = kafka_stream(self.source, self._topic.identity())
        self.found = Ends(stream, self._topic.firsts(), self._topic.ends())
        offsets = {partition: place.next for partition, place in self._places().items()}
        if self._group and offsets and offsets != self._written:
            self._topic.commit_offsets(self._group, offsets)
            self._written = offsets

    def _places(self) -> dict[int, Place]:
        """By partition the committed offsets; none of a partition without units."""
        found = self.found or Ends("", {}, {})
        places = (
            (partition, self._lake.totals.places.get(f"{found.stream}-{partition:05d}")) for partition in found.ends
        )
        return {partition: place for partition, place in places if place}

    def behind(self) -> dict[int, int]:
        """By partition, how many messages no committed unit has."""
        found, places = self.found or Ends("", {}, {}), self._places()
        starts = found.firsts | {partition: place.next for partition, place in places.items()}
        # The lake may have been looked at later than the ends.
        return {partition: max(end - starts[partition], 0) for partition, end in found.ends.items()}
