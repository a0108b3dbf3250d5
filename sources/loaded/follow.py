"""A topic of the loader without end: each file is read when it is there to its end, and then forgotten.

One endless element looks for files that have become complete, and for those whose cells are all committed. It has no
state that must survive: where it begins anew it gives out all files again, and the readers pass over the units that the
ledger has.
"""

import threading
import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from sources.files.read import Format
from sources.loaded.file import cells_of, read_loaded
from sources.loaded.topic import Loaded, LoadedCell, LoadedTopic, landed, remember, remembered, spent
from sources.reading import Read
from sources.streams.base import Stream, Ticks

LOOK_SECONDS = 5.0
"""Between two looks: a file takes longer to come."""


class FollowLoaded(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """The files in a topic, also those to come -> ``batches`` of their units, and ``tallies``."""

    def __init__(self, stream: Stream, form: Format, root: str) -> None:
        super().__init__()
        self._find = _Find(stream, form, root)
        self._read = partial(read_loaded, stream=stream, form=form, root=root)

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        return pbegin | beam.Impulse() | "Plan" >> beam.ParDo(self._find) | "Cells" >> Read(self._read)


class _Found(NamedTuple):
    """Of a topic, up to a tick."""

    topic: LoadedTopic
    cells: Mapping[Loaded, Mapping[str, LoadedCell]] = MappingProxyType({})
    """The cells that were given out, by their keys, of the files that are there."""
    landed: frozenset[str] = frozenset()
    """Those of them whose rows are in the lake."""


class _Find(beam.DoFn):  # type: ignore[misc]
    """Gives out the cells of each complete file once, as long as one tick follows the other in this process."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _topics: ClassVar[dict[str, tuple[_Found, int]]] = {}
    """What was found, and the next tick."""

    def __init__(self, stream: Stream, form: Format, root: str) -> None:
        self._stream, self._form, self._root = stream, form, root
        self._id = uuid.uuid4().hex  # what was found outlives the bundle, and not the pipeline

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
        now = Timestamp.now()
        for cell in self._tick(tick):
            yield TimestampedValue(cell, now)
        watermark.set_watermark(now)
        tracker.defer_remainder(Duration(seconds=LOOK_SECONDS))

    def _tick(self, tick: int) -> list[LoadedCell]:
        with self._lock:
            found, expected = self._topics.pop(self._id, (None, -1))
            if found is None or tick != expected:
                found = _Found(LoadedTopic(self._stream, self._root))
            files = found.topic.look()
            cells = {file: found.cells.get(file) or self._cells(file) for file in files if file.is_complete}
            there = {key: cell for of_file in cells.values() for key, cell in of_file.items()}
            given = {key for of_file in found.cells.values() for key in of_file}
            new = [cell for key, cell in there.items() if key not in given]
            asked = [cell for key, cell in there.items() if key in given - found.landed]
            done = found.landed & there.keys() | (landed(asked, self._root) if asked else set())
            self._forget(found.topic, files, {file for file, of_file in cells.items() if of_file.keys() <= done})
            self._topics[self._id] = _Found(found.topic, cells, done), tick + 1
        return new

    def _cells(self, file: Loaded) -> dict[str, LoadedCell]:
        return {cell.key: cell for cell in cells_of(file, self._stream, self._form, self._root)}

    def _forget(self, topic: LoadedTopic, files: list[Loaded], done: set[Loaded]) -> None:
        """Let the stream forget what only files need that are in the lake."""
        if not done:
            return
        before = remembered(self._root)
        awaited = [f for f in files if f not in done and (f.is_complete or f.fingerprint not in before)]
        if units := spent(files, awaited, topic.refusals):
            remember(done, self._root)
            topic.forget(units)
